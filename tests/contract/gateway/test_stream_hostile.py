"""Hostile clients of the stream: that socket is closed, and its neighbour is alive."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterator

import pytest

from tests.helpers.gateway_process import Running
from tests.helpers.stream_client import BINARY, PING, PONG, TEXT, Raw, counted, masked, raw, stated, user_token
from tests.helpers.stream_stage import neighbour_of, small_gateway

MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with small_gateway(tmp_path_factory.mktemp("gateway")) as process:
        yield process


@pytest.fixture
def neighbour(gateway: Running) -> Iterator[Raw]:
    with neighbour_of(gateway) as found:
        yield found


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
