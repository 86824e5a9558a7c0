"""Who gets into the stream: origins, tokens, and handshakes that are none."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.gateway_process import Running, running
from tests.helpers.stream_client import PATH, Ended, Polling, Raw, Refused, counted, raw, user_token
from tests.helpers.stream_stage import ORIGIN, small_gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with small_gateway(tmp_path_factory.mktemp("gateway")) as process:
        yield process


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


def test_a_stranger_who_begins_and_begins_keeps_nobody_else_out(tmp_path: Path) -> None:
    def begins(gateway: Running, address: str) -> int:
        target = f"{PATH}?EIO=4&transport=polling"
        return gateway.ask("GET", target, f"X-Forwarded-For: {address}", token="").status

    with running(tmp_path, RATE_LIMIT_TRUSTED_HOPS="1") as gateway, raw(gateway, "X-Forwarded-For: 192.0.2.1") as found:
        found.connect()
        assert [begins(gateway, "192.0.2.1") for _ in range(252)] == [200] * 250 + [503] * 2
        assert begins(gateway, "192.0.2.2") == 200
        assert found.ask("keepalive") == {"ok": True}


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
