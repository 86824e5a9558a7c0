"""Hostile clients of the stream: that socket is closed, and its neighbour is alive."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.helpers.gateway_process import Running, running
from tests.helpers.stream_client import (
    BINARY,
    PATH,
    PING,
    PONG,
    TEXT,
    Ended,
    Polling,
    Raw,
    Refused,
    counted,
    masked,
    raw,
    stated,
    until,
    user_token,
)
from tests.helpers.tokens import bearer

MEBIBYTE = 1024 * 1024
ORIGIN = "https://app.example.com"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    env = {
        "CORS_ALLOWED_ORIGINS": f"{ORIGIN},https://*.example.org",
        "WS_CONNECT_TIMEOUT": "2",
        "WS_POLL_GAP": "3",
        "SERVER_WRITE_TIMEOUT": "2",
        "WS_BACKLOG_BYTES": "65536",
        "RATE_LIMIT_ADDRESS": "off",
    }
    with running(tmp_path_factory.mktemp("gateway"), **env) as process:
        yield process


@pytest.fixture
def neighbour(gateway: Running) -> Iterator[Raw]:
    """A well-behaved socket, which must be served before and after."""
    counted(gateway, 0)
    rss = psutil.Process(gateway.process.pid).memory_info().rss
    with raw(gateway) as found:
        found.connect()
        yield found
        assert found.ask("keepalive") == {"ok": True}
        assert gateway.process.poll() is None
        assert psutil.Process(gateway.process.pid).memory_info().rss - rss < 80 * MEBIBYTE
        counted(gateway, 1)
    text = gateway.out.read_text()
    assert "Traceback" not in text
    assert "eyJ" not in text


DEEP = "[" * 500_000
PACKETS: list[tuple[str, str | bytes, int]] = [
    # what                            packet                                       close code
    ("longer than allowed", "42" + json.dumps(["x", "y" * MEBIBYTE]), 1009),
    ("nested too deeply", '42["x",' + DEEP, 1008),
    ("nested just too deeply", '42["x",' + "[" * 70 + "]" * 70 + "]", 1008),
    ("not JSON", '42["x",}]', 1008),
    ("a number without end", '42["x",' + "9" * 100_000 + "]", 1008),
    ("an event without a name", "42[]", 1008),
    ("a name that is no text", "42[1]", 1008),
    ("an event that is an object", '42{"x":1}', 1008),
    ("a forged connect event", '42["connect",{}]', 0),
    ("a forged disconnect event", '42["disconnect"]', 0),
    ("an announced attachment", '451-["x",{"_placeholder":true,"num":0}]', 1008),
    ("a billion attachments", '459999999999-["x"]', 1008),
    ("a placeholder out of nowhere", '42["subscribe",{"_placeholder":true,"num":-1}]', 0),
    ("an acknowledgement nobody asked for", '431["x"]', 1008),
    ("a connect error", '44{"message":"x"}', 1008),
    ("an id without end", "42" + "1" * 200 + '["x"]', 1008),
    ("another namespace's event", '42/admin,["x"]', 1008),
    ("a second CONNECT", "40{}", 1008),
    ("an unknown type", "9", 1008),
    ("Engine.IO's OPEN", '0{"sid":"x"}', 1008),
    ("an upgrade of what is no poll", "5", 1008),
    ("nothing", "", 1008),
    ("binary data", b"\x00\x01\x02", 1008),
    ("no UTF-8", b"\xff\xfe", 1007),
    ("base64", "bAAAA", 1008),
    ("a NUL", "42[\"\x00\"]", 1008),
    ("a lone surrogate", '42["subscribe","\\ud800"]', 0),
]  # fmt: skip


@pytest.mark.parametrize(("packet", "code"), [row[1:] for row in PACKETS], ids=[row[0] for row in PACKETS])
def test_a_packet_that_is_not_allowed_ends_its_own_socket_only(
    gateway: Running, neighbour: Raw, packet: str | bytes, code: int
) -> None:
    with raw(gateway) as found:
        found.connect()
        counted(gateway, 2)
        binary = isinstance(packet, bytes) and code != 1007
        found.send(packet, BINARY if binary else TEXT)
        if code:
            assert found.end() == code
        else:  # harmless: an event that there is none of, or a room that is none
            assert found.ask("keepalive") == {"ok": True}
            assert stated(gateway)["connections"] == 2


def test_forged_events_free_no_place_and_take_none(gateway: Running, neighbour: Raw) -> None:
    token = user_token("forger")
    with raw(gateway) as found:
        found.connect(token)
        for name in ("connect", "disconnect", "connect_error", "*", "admin"):
            assert found.ask(name, {"token": token})["error"]["code"] == "UNKNOWN_EVENT"
        counted(gateway, 2)


FRAMES: list[tuple[str, bytes]] = [
    ("a frame that says it holds 2^62 bytes", b"\x81\xff\x40" + bytes(7) + bytes(4) + b"x"),
    ("reserved bits: compression was not agreed to", masked(zlib.compress(b"x" * 1000), bits=0xC0)),
    ("no mask", b"\x81\x02hi"),
    ("a reserved opcode", masked(b"x", 3)),
    ("a control frame in pieces", masked(b"x", PING, bits=0)),
    ("a ping of 200 bytes", masked(b"x" * 200, PING)),
    ("a piece of nothing begun", masked(b"x", 0)),
    ("noise", bytes(range(256)) * 40),
    ("pieces past the limit", masked(b"4" * 400_000, bits=0) + masked(b"x" * 400_000, 0, bits=0) * 2),
]


@pytest.mark.parametrize("data", [row[1] for row in FRAMES], ids=[row[0] for row in FRAMES])
def test_a_frame_that_is_none_ends_its_own_socket_only(gateway: Running, neighbour: Raw, data: bytes) -> None:
    with raw(gateway) as found:
        found.connect()
        found.wire.sendall(data)
        if data.startswith(b"\x81\xff"):
            found.wire.sendall(b"x" * 1_100_000)
        found.end()
        counted(gateway, 1)


def test_a_bomb_of_200_mebibytes_is_not_even_agreed_to(gateway: Running, neighbour: Raw) -> None:
    with raw(gateway, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits") as found:
        assert b"sec-websocket-extensions" not in found.head
        found.connect()
        packed = zlib.compressobj(9, zlib.DEFLATED, -15)
        bomb = b"".join(packed.compress(b"4" * MEBIBYTE) for _ in range(200)) + packed.flush()
        found.wire.sendall(masked(bomb, bits=0xC0))
        assert found.end() in (1002, 0)  # 0: cut off while it was still sending


FLOODS: list[tuple[str, Callable[[], bytes]]] = [
    ("20 000 heartbeat answers", lambda: masked(b"3") * 20_000),
    ("3 000 namespaces", lambda: b"".join(masked(f"40/n{number},".encode()) for number in range(3000))),
    ("20 000 events", lambda: masked(b'42["keepalive"]') * 20_000),
    ("20 000 empty frames", lambda: masked(b"", 0, bits=0) * 20_000),
    ("20 000 pings, whose answers are not read", lambda: masked(b"x" * 100, PING) * 20_000),
    ("20 000 pongs", lambda: masked(b"", PONG) * 20_000),
]


@pytest.mark.alone
@pytest.mark.parametrize("flood", [row[1] for row in FLOODS], ids=[row[0] for row in FLOODS])
def test_a_flood_does_not_hold_up_its_neighbour(gateway: Running, neighbour: Raw, flood: Callable[[], bytes]) -> None:
    with raw(gateway) as found:
        found.connect()
        found.wire.setblocking(False)
        data, worst, sent = memoryview(flood()), 0.0, 0
        end = time.monotonic() + 10
        while sent < len(data) and time.monotonic() < end:
            try:
                sent += found.wire.send(data[sent : sent + 65536])
            except BlockingIOError:
                pass
            except OSError:
                break  # closed on us, as it should be
            began = time.monotonic()
            assert neighbour.ask("keepalive") == {"ok": True}
            worst = max(worst, time.monotonic() - began)
            time.sleep(0.025)  # the neighbour's own rate
    assert worst < 1.0, worst  # 250 ms on a machine of its own; tests share theirs
    counted(gateway, 1)


def test_who_sends_too_much_is_told_so_and_closed(gateway: Running, neighbour: Raw) -> None:
    with raw(gateway) as found:
        found.connect()
        found.wire.sendall(masked(b'42["keepalive"]') * 400)
        said = json.loads(found.text().removeprefix("42"))
        assert (said[0], said[1]["code"], said[1]["reconnect"]) == ("closing", "MESSAGE_RATE_EXCEEDED", False)
        assert found.text() == "41"
        assert found.end() in (4429, 0)
    with Polling(gateway) as client:
        client.connect()
        assert client.post("\x1e".join(['42["keepalive"]'] * 180)).status_code == 200
        assert (
            client.post("\x1e".join(["3"] * 60)).status_code == 200
        )  # the poll tells it; an error would be heard first
        said = client.poll().text.split("\x1e")
        assert json.loads(said[0].removeprefix("42"))[1]["code"] == "MESSAGE_RATE_EXCEEDED"
        assert said[1] == "41"


def test_a_poll_is_answered_with_sixteen_packets_and_the_next_with_what_is_left(
    gateway: Running, neighbour: Raw
) -> None:
    with Polling(gateway) as client:
        client.connect()
        assert client.post("\x1e".join(f'42{number}["keepalive"]' for number in range(40))).status_code == 200
        polls = [client.poll().text.split("\x1e") for _ in range(3)]
        assert [len(poll) for poll in polls] == [16, 16, 8]
        assert [packet for poll in polls for packet in poll] == [f'43{number}[{{"ok":true}}]' for number in range(40)]


def test_a_poll_of_300_000_packets_ends_that_session(gateway: Running, neighbour: Raw) -> None:
    with Polling(gateway) as client:
        client.connect()
        counted(gateway, 2)
        assert client.post(b"\x1e".join([b"3"] * 300_000)).status_code == 200
        assert "MESSAGE_RATE_EXCEEDED" in client.poll().text
        counted(gateway, 1)
    with Polling(gateway) as client:  # not let in: there is nobody to tell
        assert client.post(b"\x1e".join([b"3"] * 300_000)).status_code == 429
    for body in (b"\xff", b"", b"d=4", b"42[}", b"x" * 1_000_001, b"3\x1e", b"bAAAA"):
        with Polling(gateway) as client:
            client.connect()
            assert client.post(body).status_code in (200, 400, 413), body[:10]
            counted(gateway, 1)


def test_who_never_sends_connect_holds_no_place_and_is_dropped(gateway: Running, neighbour: Raw) -> None:
    began = time.monotonic()
    with raw(gateway) as found, Polling(gateway) as client:
        assert client.sid
        assert stated(gateway)["connections"] == 1
        assert found.end() == 4408
        assert 1.9 <= time.monotonic() - began < 9, "ten seconds, usually"
        until(lambda: client.poll().status_code == 400 or "1" in client.poll().text)


@pytest.mark.parametrize("connects", [False, True])
def test_who_says_good_bye_and_stays_is_closed(gateway: Running, neighbour: Raw, connects: bool) -> None:
    with raw(gateway) as found:
        if connects:
            found.connect()
        else:
            found.text()
        found.send("1")
        assert found.end() == 1000
    counted(gateway, 1)


def test_a_reader_that_reads_nothing_is_cut_off(gateway: Running, neighbour: Raw) -> None:
    with raw(gateway) as found:
        found.connect()
        counted(gateway, 2)
        event = masked(("421" + json.dumps(["x" * 4000])).encode())
        try:
            for _ in range(4000):  # its answers fill what there is of buffers
                found.wire.sendall(event)
                time.sleep(0.0005)
        except OSError:
            pass
        counted(gateway, 1)


ORIGINS = [
    "https://evil.example", "null", "http://app.example.com", "https://app.example.com.evil.example", "https://example.org",
    "https://evil.example#.example.org", "https://app.example.com:8443", "HTTPS://APP.EXAMPLE.COM",
]  # fmt: skip


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_foreign_origin_is_refused_with_403_on_both_transports(gateway: Running, origin: str) -> None:
    with pytest.raises(Refused) as caught:
        Raw(gateway.port, f"Origin: {origin}")
    assert (caught.value.status, caught.value.code) == (403, "FORBIDDEN")
    with Polling(gateway, origin=origin) as client:
        assert client.first.status_code == 403
        error = client.first.json()["error"]
        assert set(error) == {"code", "message", "requestId", "timestamp"}
        assert "access-control-allow-origin" not in client.first.headers


def test_two_origins_are_no_origin_and_a_page_that_hides_its_own_is_foreign(gateway: Running) -> None:
    for fields in ((f"Origin: {ORIGIN}", "Origin: https://evil.example"), ("Sec-Fetch-Site: cross-site",)):
        with pytest.raises(Refused) as caught:
            Raw(gateway.port, *fields)
        assert caught.value.status == 403


@pytest.mark.parametrize("origin", [ORIGIN, "https://a.b.example.org", None])
def test_listed_pages_and_programs_get_in_with_a_token(gateway: Running, origin: str | None) -> None:
    with raw(gateway, *([f"Origin: {origin}"] if origin else [])) as found:
        found.connect()
    with Polling(gateway, **({"origin": origin} if origin else {})) as client:
        client.connect()
        assert client.first.headers.get("access-control-allow-origin") == origin
        client.post("41")


def test_the_token_comes_from_the_message_or_the_field_and_from_nowhere_else(gateway: Running) -> None:
    token, other = user_token("someone"), user_token("else")
    with raw(gateway, f"Authorization: Bearer {token}") as found:
        found.text()
        found.send("40")
        assert found.text().startswith('40{"sid"')
    with raw(gateway, f"Authorization: Bearer {token}") as found:
        assert json.loads(found.asked_to_connect(other)[2:])["data"]["code"] == "BAD_REQUEST"
    for packet in ("40", "40{}", '40{"token":1}', '40{"token":null}', '40{"userId":"ada"}'):
        with raw(gateway) as found:
            found.text()
            found.send(packet)
            assert json.loads(found.text()[2:])["data"]["code"] == "UNAUTHENTICATED"
            assert found.end() == 4403
    for query in (f"token={token}", f"access_token={token}", f"x={token}"):
        with pytest.raises(Refused) as caught:
            Raw(gateway.port, query=f"EIO=4&transport=websocket&{query}")
        assert caught.value.status == 401
        assert gateway.ask("GET", f"/api/xynergyos/v2/stream/?EIO=4&transport=polling&{query}").status == 401
    counted(gateway, 0)
    time.sleep(0.1)  # the log is written a moment later
    assert token not in gateway.out.read_text()


@pytest.mark.parametrize(
    "query",
    ["", "EIO=3&transport=polling", "EIO=4", "EIO=4&transport=websocket", "EIO=4&transport=polling&j=0",
     "EIO=4&EIO=4&transport=polling", "EIO=4&transport=polling&sid=nobody", "EIO=4&transport=jsonp",
     "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA"],
)  # fmt: skip
def test_a_question_engine_io_does_not_know_is_answered_with_400(gateway: Running, query: str) -> None:
    answer = gateway.ask("GET", f"/api/xynergyos/v2/stream/?{query}", token="")
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")
    assert gateway.ask("POST", f"/api/xynergyos/v2/stream/?{query}", token="", body=b"3").status == 400
    assert gateway.ask("DELETE", f"/api/xynergyos/v2/stream/?{query}", token="").status == 405


@pytest.mark.parametrize(
    ("host", "field"),
    [
        ("gateway.test", "Sec-WebSocket-Protocol: \xff"),
        ("gateway.test", "Sec-WebSocket-Extensions: \xff"),
        ("xn--a", "X-Nothing: 1"),
    ],
)
def test_a_handshake_that_cannot_be_read_is_answered_with_400_and_is_no_fault_of_ours(
    gateway: Running, host: str, field: str
) -> None:
    faults = sum("Traceback" in line for line in gateway.lines())
    lines = [
        f"GET {PATH}?EIO=4&transport=websocket HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", field,
    ]  # fmt: skip
    answer = gateway.raw("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")
    time.sleep(0.3)
    assert sum("Traceback" in line for line in gateway.lines()) == faults


def test_rooms_are_the_tenants_own_bounded_and_named(gateway: Running, neighbour: Raw) -> None:
    with raw(gateway) as found:
        found.connect(user_token("rooms", "acme"))
        assert found.ask("subscribe", "contacts") == {"ok": True, "rooms": ["contacts"]}
        for wrong in ("", "a" * 65, "a b", "../x", 1, None, [], [1], {"room": "x"}, ["ok", "a/b"]):
            assert found.ask("subscribe", wrong)["error"]["code"] == "INVALID_ROOM", wrong
        assert found.ask("subscribe")["error"]["code"] == "INVALID_ROOM"
        assert found.ask("subscribe", [f"r{n}" for n in range(19)])["ok"]
        assert found.ask("subscribe", "one-more")["error"]["code"] == "TOO_MANY_ROOMS"
        assert found.ask("unsubscribe", "contacts")["ok"]
        assert len(found.ask("subscribe", "one-more")["rooms"]) == 20


def test_nobody_hears_of_another_tenants_writes(tmp_path: Path, crm: Running) -> None:
    with (
        running(tmp_path, UPSTREAM_CRM_URL=f"http://127.0.0.1:{crm.port}") as gateway,
        raw(gateway) as ours,
        raw(gateway) as theirs,
    ):
        ours.connect(user_token("a", "acme"))
        theirs.connect(user_token("a", "globex"))
        for found in (ours, theirs):
            found.ask("subscribe", ["contacts", "4:acme:contacts"])
        body = b'{"type":"person","name":"Eve","email":"eve-of-the-rooms@example.com"}'
        assert (
            gateway.ask(
                "POST", "/api/v2/crm/contacts", "Content-Type: application/json", body=b"{", token=bearer()
            ).status
            == 400
        )
        answer = gateway.ask(
            "POST", "/api/v2/crm/contacts", "Content-Type: application/json", body=body, token=bearer()
        )
        assert answer.status == 201
        assert json.loads(ours.text()[2:]) == ["contacts.changed", {"change": "created", "id": None}]
        batch = json.dumps({"contacts": [{"name": "One"}, {"name": "Two"}]}).encode()
        assert (
            gateway.ask("POST", "/api/v2/crm/contacts/batch", "Content-Type: application/json", body=batch).status
            == 201
        )
        assert json.loads(ours.text()[2:]) == ["contacts.changed", {"change": "created", "id": None}]
        gone = gateway.ask("DELETE", f"/api/v2/crm/contacts/{answer.json()['id']}", token=bearer())
        assert gone.status == 204
        assert json.loads(ours.text()[2:]) == ["contacts.changed", {"change": "deleted", "id": answer.json()["id"]}]
        assert theirs.ask("keepalive") == {"ok": True}  # the next thing it hears


def test_a_stranger_who_begins_and_begins_keeps_nobody_else_out(tmp_path: Path) -> None:
    def begins(gateway: Running, address: str) -> int:
        target = f"{PATH}?EIO=4&transport=polling"
        return gateway.ask("GET", target, f"X-Forwarded-For: {address}", token="").status

    with running(tmp_path, RATE_LIMIT_TRUSTED_HOPS="1") as gateway, raw(gateway, "X-Forwarded-For: 192.0.2.1") as found:
        found.connect()
        assert [begins(gateway, "192.0.2.1") for _ in range(252)] == [200] * 250 + [503] * 2
        assert begins(gateway, "192.0.2.2") == 200
        assert found.ask("keepalive") == {"ok": True}


def test_a_polling_client_does_one_thing_of_a_kind_at_a_time(gateway: Running) -> None:
    with Polling(gateway) as client:
        client.connect()
        counted(gateway, 1)
        assert client.post("41").status_code == 200
        counted(gateway, 0)
        assert client.post("3").status_code in (200, 400)
        until(lambda: client.poll().status_code == 400)


def test_without_keys_nobody_gets_in(tmp_path: Path) -> None:
    with running(tmp_path, auth=False) as gateway, raw(gateway) as found:
        refused = json.loads(found.asked_to_connect()[2:])
        assert refused["data"]["code"] == "AUTHENTICATION_NOT_CONFIGURED"


def test_switched_off_there_is_no_stream(tmp_path: Path) -> None:
    with running(tmp_path, WS="off") as gateway:
        assert gateway.ask("GET", "/api/xynergyos/v2/stream/?EIO=4&transport=polling").status == 404
        with pytest.raises((Refused, Ended)):
            Raw(gateway.port)
        assert "websocket" not in gateway.ask("GET", "/health/deep").json()
