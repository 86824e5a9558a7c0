from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway_runtime.errors import Problem
from gateway_runtime.logs import TRACE
from gateway_runtime.paths import canonical_path
from tests.helpers.gateway_process import Running, proven, read_answer, running
from tests.helpers.raw_upstream import OK, Play, RawUpstream, mute, says
from tests.helpers.waiting import PATIENCE, connections, free_port, until


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RawUpstream, Running]]:
    """One gateway in front of an upstream each test tells what to do. Most of it misbehaves, so the breaker would soon be
    open."""
    with RawUpstream(says(OK)) as upstream:
        url = upstream.url
        with running(
            tmp_path_factory.mktemp("gateway"),
            UPSTREAM_SLACK_URL=f"{url}/base",
            UPSTREAM_CRM_URL=url,
            BREAKER="off",
            UPSTREAM_GMAIL_URL=f"http://127.0.0.1:{free_port()}",
        ) as gateway:
            yield upstream, gateway


def let_go(stage: tuple[RawUpstream, Running]) -> bool:
    """Whether the gateway has no connection to the upstream."""
    return connections(stage[1].process.pid, int(stage[0].url.rpartition(":")[2])) == 0


@pytest.fixture
def upstream(stage: tuple[RawUpstream, Running]) -> RawUpstream:
    stage[0].play = says(OK)
    stage[0].hang_up()
    until(lambda: let_go(stage))
    stage[0].requests.clear()
    return stage[0]


@pytest.fixture
def gateway(stage: tuple[RawUpstream, Running]) -> Running:
    return stage[1]


def fields(request: bytes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(": ")
        found.setdefault(name.lower(), []).append(value)
    return found


def test_what_the_client_may_not_say_never_arrives(gateway: Running, upstream: RawUpstream) -> None:
    forged = [
        "X-User-Id: root", "X_User_Id: root", "X-Tenant-Id: other", "x_tenant_id: other", "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-Host: evil", "X_Forwarded_Proto: gopher", "Forwarded: for=1.2.3.4", "X-Real-IP: 1.2.3.4",
        "X-Original-URL: /admin", "X-HTTP-Method-Override: DELETE", "Keep-Alive: 5", "TE: trailers", "Trailer: X",
        "Proxy-Authorization: x", "Upgrade: h2c", "X-Secret: 1", "Connection: X-Secret, close", "Via: 1.0 before",
        "X-Forwarded: 1.2.3.4", "Forwarded_: for=1.2.3.4", "X.User.Id: root", "X-Tenant_Id: other", "_X-User-Id: root",
        "Authori_zation: x", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE", "X_HTTP_Method_Override: DELETE",
        "X-Goog-Authenticated-User-Email: root", "X-Goog-Authenticated-User-Id: 1", "X-Goog-IAP-JWT-Assertion: x",
        "True-Client-IP: 1.2.3.4", "CF-Connecting-IP: 1.2.3.4", "X-Client-IP: 1.2.3.4", "X-Cluster-Client-IP: 1.2.3.4",
        "X-ProxyUser-Ip: 1.2.3.4", "X-Envoy-External-Address: 1.2.3.4", "X-Rewrite-URL: /admin", "X-Original-Host: evil",
        "X-Host: evil", "Proxy: http://evil", "X-Serverless-Authorization: x", "HTTP2-Settings: x", "X-Remote-User: root",
        "Remote-User: root", "Client-IP: 1.2.3.4", "Fastly-Client-IP: 1.2.3.4", "CF-Connecting-IPv6: ::1", "X-Deadline-Ms: x",
        "X-Cloud-Trace-Context: 1/2;o=1", "tracestate: v=1", "Proxy-Authenticate: x", "Proxy-Connection: x",
        "Expect: 100-continue", "X-HTTP-Host-Override: evil",
    ]  # fmt: skip
    assert gateway.ask("GET", "/api/v2/slack/x?a=1", *forged, "X-Kept: yes").status == 200
    (request,) = upstream.requests
    assert request.startswith(b"GET /base/x?a=1 HTTP/1.1\r\n")
    seen = fields(request)
    assert set(seen) == {
        "host",
        "x-kept",
        "authorization",
        "x-request-id",
        "traceparent",
        "x-forwarded-for",
        "x-forwarded-proto",
        "via",
        "x-deadline-ms",
    }
    assert (seen["x-forwarded-for"], seen["x-forwarded-proto"]) == (["127.0.0.1"], ["http"])
    assert seen["via"] == ["1.0 before, 1.1 gateway"]
    assert all(len(values) == 1 for values in seen.values())


def test_behind_a_trusted_proxy_the_client_it_names_is_passed_on(tmp_path: Path, upstream: RawUpstream) -> None:
    with running(tmp_path, UPSTREAM_SLACK_URL=upstream.url, RATE_LIMIT_TRUSTED_HOPS="1") as gateway:
        gateway.ask("GET", "/api/v2/slack/x", "X-Forwarded-For: 6.6.6.6, 198.51.100.7", "X-Forwarded-Proto: https")
        seen = fields(upstream.requests[0])
        assert (seen["x-forwarded-for"], seen["x-forwarded-proto"]) == (["198.51.100.7"], ["https"])
        gateway.await_log("/api/v2/slack/x")
        assert not any("198.51.100.7" in line for line in gateway.lines())


def test_the_trace_and_the_request_id_go_on(gateway: Running, upstream: RawUpstream) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    gateway.ask("GET", "/api/v2/slack/x", f"traceparent: {parent}", "tracestate: v=1", "X-Request-Id: r-9")
    seen = fields(upstream.requests[0])
    assert seen["x-request-id"] == ["r-9"]
    assert seen["tracestate"] == ["v=1"]
    assert seen["traceparent"][0][:36] == parent[:36]
    assert seen["traceparent"][0][36:52] != parent[36:52]
    assert seen["traceparent"][0][52:] == "-01"


def test_fields_for_one_hop_end_here_on_the_way_back(gateway: Running, upstream: RawUpstream) -> None:
    upstream.play = says(
        b"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 9\r\nServer: secret/1\r\n"
        b"TE: x\r\nTrailer: X\r\nProxy-Connection: x\r\nProxy-Authenticate: x\r\nProxy-Authorization: x\r\nVia: 1.1 secret\r\n"
        b"X-Served-By: crm-1\r\nX-Server: x\r\nX-Backend: x\r\nX-Upstream: x\r\nX-PHP-Version: 5\r\nX-Drupal-Cache: HIT\r\n"
        b"X-Powered-By: x\r\nX-AspNet-Version: 4\r\nX-AspNetMvc-Version: 5\r\nX-Generator: x\r\nX-Runtime: 0.1\r\n"
        b"X-User-Id: ada\r\nX-Tenant-Id: acme\r\nForwarded: for=10.0.0.3\r\nX-Forwarded-For: 10.0.0.3\r\nX-Real-IP: 10.0.0.3\r\n"
        b'X-Backend-Server: crm-1\r\nX-Envoy-Upstream-Service-Time: 3\r\nAlt-Svc: h3=":443"\r\nX-Deadline-Ms: 9\r\n'
        b"Upgrade: h2c\r\nX-RateLimit-Limit: 5\r\nX-RateLimit-Remaining: 0\r\n"
        b"Access-Control-Allow-Origin: *\r\nX-Request-Id: other\r\nDate: x\r\nX-Kept: yes\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
        b"Content-Length: 2\r\n\r\nok"
    )
    answer = gateway.ask("GET", "/api/v2/slack/x")
    names = {name for name, _ in answer.headers if "ratelimit" not in name}
    ours = {"via", "vary", "x-request-id", "content-length", "date", "connection", "cache-control", "x-cache"}
    assert names == {"x-kept", "set-cookie", *ours}
    assert answer.all("set-cookie") == ["a", "b"]
    assert answer.all("via") == ["1.1 gateway"]
    assert len(answer.all("date")) == len(answer.all("x-request-id")) == 1
    assert answer.header("x-request-id") != "other"
    assert len(answer.all("x-ratelimit-limit")) == 1, "it can state one limit: the caller's here"
    assert answer.header("x-ratelimit-limit") != "5"


def test_a_trailer_is_never_merged_into_the_fields(gateway: Running, upstream: RawUpstream) -> None:
    upstream.play = says(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-User-Id: root\r\n\r\n"
    )
    answer = gateway.ask("GET", "/api/v2/slack/x", "Trailer: X-User-Id")
    assert (answer.status, answer.body, answer.header("x-user-id")) == (200, b"ok", None)


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("/things/1", "/api/v2/crm/things/1"),
        ("{url}/things/1", "/api/v2/crm/things/1"),
        ("http://169.254.169.254/", "http://169.254.169.254/"),
        ("//elsewhere/x", "//elsewhere/x"),
    ],
)
def test_a_redirect_is_passed_on_never_followed(
    location: str, shown: str, gateway: Running, upstream: RawUpstream
) -> None:
    where = location.format(url=upstream.url)
    upstream.play = says(f"HTTP/1.1 302 Found\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode())
    answer = gateway.ask("GET", "/api/v2/crm/contacts")
    assert (answer.status, answer.header("location")) == (302, shown)
    assert len(upstream.requests) == 1


def test_head_has_the_fields_of_get_and_no_body(gateway: Running, upstream: RawUpstream) -> None:
    upstream.play = says(b"HTTP/1.1 200 OK\r\nContent-Length: 70\r\nETag: x\r\n\r\n", then="keep")
    for _ in range(2):
        answer = gateway.ask("HEAD", "/api/v2/slack/x")
        assert (answer.status, answer.header("content-length"), answer.body) == (200, "70", b"")


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_stays_without(status: int, gateway: Running, upstream: RawUpstream) -> None:
    upstream.play = says(f"HTTP/1.1 {status} X\r\nETag: x\r\n\r\n".encode())
    answer = gateway.ask("GET", "/api/v2/slack/x", 'If-None-Match: "x"')
    assert (answer.status, answer.header("etag"), answer.body) == (status, "x", b"")


BODY = bytes(range(256)) * 8192


@pytest.mark.parametrize("size", [0, 1, 70_000, len(BODY)])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_goes_up_unchanged(size: int, chunked: bool, gateway: Running, upstream: RawUpstream) -> None:
    body = BODY[:size]
    if chunked:
        head = b"POST /api/v2/slack/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        wire = b"%x\r\n%b\r\n" % (size, body) if size else b""
        answer = gateway.raw(proven(head + wire + b"0\r\n\r\n"))
    else:
        answer = gateway.raw(
            proven(b"POST /api/v2/slack/x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + body)
        )
    assert answer.status == 200
    sent = upstream.requests[0].partition(b"\r\n\r\n")[2]
    assert (unchunk(sent) if chunked else sent) == body
    framed = {name: fields(upstream.requests[0]).get(name) for name in ("content-length", "transfer-encoding")}
    assert framed == {
        "content-length": None if chunked else [str(size)],
        "transfer-encoding": ["chunked"] if chunked else None,
    }


def unchunk(data: bytes) -> bytes:
    whole = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        whole, data = whole + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return whole


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_body_comes_back_unchanged(framing: str, gateway: Running, upstream: RawUpstream) -> None:
    head = {
        "length": b"Content-Length: %d\r\n" % len(BODY),
        "chunked": b"Transfer-Encoding: chunked\r\n",
        "close": b"",
    }[framing]
    wire = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY) if framing == "chunked" else BODY
    upstream.play = says(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + wire)
    answer = gateway.ask("GET", "/api/v2/slack/x")
    assert answer.complete
    assert answer.body == BODY


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_10_mb_is_413_before_the_upstream_has_it_all(
    chunked: bool, gateway: Running, upstream: RawUpstream
) -> None:
    head = b"POST /api/v2/slack/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Content-Length: 10485761\r\n\r\n"
    piece = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE) as wire:
        wire.sendall(proven(head))
        if chunked:
            for _ in range(11):
                try:
                    wire.sendall(piece)
                except OSError:
                    break
        answer = read_answer(wire)
    assert (answer.status, answer.code) == (413, "PAYLOAD_TOO_LARGE")
    assert upstream.requests == []
    assert gateway.ask("GET", "/api/v2/slack/x").status == 200


MALFORMED = {
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "two different lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "length list": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
    "signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    "length and coding": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "coding and length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "other coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding without chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
    "two codings": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "line feed in a field": b"HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "carriage return in a field": b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok",
    "NUL in a field": b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\nok",
    "folded field": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
    "space before the colon": b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 2\r\n\r\nok",
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "no status": b"HTTP/1.1 OK\r\nContent-Length: 2\r\n\r\nok",
    "status 999": b"HTTP/1.1 999 X\r\nContent-Length: 2\r\n\r\nok",
    "switch": b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxx",
    "interim flood": b"HTTP/1.1 100 Continue\r\n\r\n" * 1000 + OK,
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 70_000 + b"\r\n\r\n",
    "many fields": b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 300 + b"Content-Length: 2\r\n\r\nok",
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
    "64 MB announced": b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\nok",
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
}  # fmt: skip


@pytest.mark.parametrize("kind", MALFORMED)
def test_an_answer_that_is_not_clear_is_502_and_the_next_request_is_clean(
    kind: str, gateway: Running, upstream: RawUpstream
) -> None:
    upstream.play = says(MALFORMED[kind])
    answer = gateway.ask("GET", "/api/v2/slack/x")
    assert (answer.status, answer.code) == (502, "BAD_GATEWAY")
    assert answer.json()["error"]["message"] == "A service behind this one gave no valid answer"
    assert len(upstream.requests) == (2 if kind == "nothing" else 1), "sent again only when not a byte had come"
    upstream.play = says(OK, then="keep")
    assert gateway.ask("GET", "/api/v2/slack/x").body == b"ok"


def test_a_reset_is_502(gateway: Running, upstream: RawUpstream) -> None:
    upstream.play = says(b"", then="reset")
    assert gateway.ask("GET", "/api/v2/slack/x").status == 502


def test_a_refused_connection_is_503_and_says_when_to_come_back(gateway: Running) -> None:
    answer = gateway.ask("GET", "/api/v2/gmail/x")
    assert (answer.status, answer.code, answer.header("retry-after")) == (503, "SERVICE_UNAVAILABLE", "1")
    assert b"127.0.0.1" not in answer.body


FAULTS: dict[str, tuple[str, Play, str]] = {
    "refused": ("gmail", says(b""), "SERVICE_UNAVAILABLE: gmail: no connection: "),
    "reset": ("slack", says(b"", then="reset"), "BAD_GATEWAY: slack: closed before the answer was whole"),
    "no HTTP": ("slack", says(b"SSH-2.0-x\r\n"), "BAD_GATEWAY: slack: not HTTP/1.1: "),
    "500": ("slack", says(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"), "BAD_GATEWAY: slack: answered 500"),
    "cut short": (
        "slack",
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", pause=0.3),
        "ANSWER_CUT_SHORT: slack: closed before the answer was whole",
    ),
    "a stream cut short": (
        "slack",
        says(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 10\r\n\r\nhalf", pause=0.3),
        "ANSWER_CUT_SHORT: slack: closed before the answer was whole",
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_an_upstreams_fault_is_one_line_that_names_it_and_no_stack(
    kind: str, gateway: Running, upstream: RawUpstream
) -> None:
    name, upstream.play, message = FAULTS[kind]
    trace = f"{list(FAULTS).index(kind) + 1:032x}"
    gateway.ask("GET", f"/api/v2/{name}/x", f"traceparent: 00-{trace}-00f067aa0ba902b7-01")

    def told() -> list[dict[str, object]]:
        return [entry for entry in gateway.log() if str(entry.get(TRACE)).endswith(trace)]

    until(lambda: len(told()) == 2)
    (entry,) = [entry for entry in told() if "httpRequest" not in entry]
    assert (entry["severity"], str(entry["message"]).startswith(message)) == ("ERROR", True), entry["message"]
    assert "stack_trace" not in entry
    assert len(json.dumps(entry)) < 1000


EXTRA: dict[str, Play] = {
    "at once": says(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", then="keep"),
    "an empty answer": says(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", then="keep"),
    "garbage": says(OK + b"garbage", then="keep"),
    "a little later": says(OK, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", pause=0.1, then="keep"),
    "a body for HEAD": says(b"HTTP/1.1 204 X\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", then="keep"),
}


@pytest.mark.parametrize("kind", EXTRA)
def test_bytes_past_the_promised_end_never_answer_the_next_request(
    kind: str, gateway: Running, upstream: RawUpstream
) -> None:
    upstream.play = EXTRA[kind]
    assert gateway.ask("GET", "/api/v2/slack/x").body in (b"ok", b"")
    before = upstream.connections
    until(lambda: let_go((upstream, gateway)))
    upstream.play = says(OK, then="keep")
    assert gateway.ask("GET", "/api/v2/slack/x").body == b"ok"
    assert upstream.connections == before + 1


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("framing", [b"Content-Length: 10\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\na\r\nhalf"])
def test_a_body_cut_short_is_never_passed_off_as_whole(
    then: str, framing: bytes, gateway: Running, upstream: RawUpstream
) -> None:
    upstream.play = says(b"HTTP/1.1 200 OK\r\n" + framing, pause=0.1, then=then)
    answer = gateway.ask("GET", "/api/v2/slack/x")
    assert answer.status == 502 or not answer.complete
    lines = gateway.await_log("ANSWER_CUT_SHORT")
    assert not any("ASGI callable" in line for line in lines)


@contextmanager
def hasty(folder: Path, upstream: RawUpstream) -> Iterator[Running]:
    """A gateway with a total deadline of one second."""
    with running(folder, UPSTREAM_SLACK_URL=upstream.url, UPSTREAM_TIMEOUT="1") as gateway:
        yield gateway


def test_silence_ends_in_504_at_the_deadline(tmp_path: Path) -> None:
    with mute() as upstream, hasty(tmp_path, upstream) as gateway:
        began = time.monotonic()
        answer = gateway.ask("GET", "/api/v2/slack/x")
        assert (answer.status, answer.code) == (504, "GATEWAY_TIMEOUT")
        assert 0.9 < time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("drips", "status"),
    [
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n", *[b"x"] * 300], 200),
        ([b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 60], 504),
    ],
    ids=["a body", "a head"],
)
def test_a_drip_does_not_stretch_the_deadline(drips: list[bytes], status: int, tmp_path: Path) -> None:
    with RawUpstream(says(*drips, pause=0.1)) as upstream, hasty(tmp_path, upstream) as gateway:
        answer = gateway.ask("GET", "/api/v2/slack/x")
        assert answer.status == status
        assert answer.complete is (status == 504)
        assert len(upstream.requests) == 1


def test_a_connection_is_kept_and_used_again(gateway: Running, upstream: RawUpstream) -> None:
    upstream.play = says(OK, then="keep")
    gateway.ask("GET", "/api/v2/slack/x")
    before = upstream.connections
    for _ in range(5):
        gateway.ask("GET", "/api/v2/slack/x")
    assert upstream.connections == before


def hangs_up_on_the_second(wire: socket.socket, number: int) -> None:
    if number == 1:
        wire.sendall(OK)
    else:
        wire.close()


@pytest.mark.parametrize(("method", "status", "asked"), [("GET", 200, 3), ("PUT", 200, 3), ("POST", 502, 2)])
def test_a_stale_connection_is_tried_again_once_when_that_is_safe(
    method: str, status: int, asked: int, gateway: Running, upstream: RawUpstream
) -> None:
    upstream.play = hangs_up_on_the_second
    assert gateway.ask("GET", "/api/v2/slack/x").status == 200
    assert gateway.ask(method, "/api/v2/slack/x", body=b"{}" if method != "GET" else b"").status == status
    assert len(upstream.requests) == asked


def test_a_post_is_never_sent_twice(gateway: Running, upstream: RawUpstream) -> None:
    upstream.play = says(b"", then="close")
    assert gateway.ask("POST", "/api/v2/slack/x", body=b"{}").status == 502
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("status", [500, 501, 502, 503, 504, 599])
def test_what_an_upstream_says_about_its_own_faults_stays_inside(
    status: int, gateway: Running, upstream: RawUpstream
) -> None:
    upstream.play = says(
        f"HTTP/1.1 {status} X\r\nRetry-After: 7\r\nContent-Length: 21\r\n\r\nTraceback at 10.0.0.3".encode()
    )
    answer = gateway.ask("GET", "/api/v2/slack/x")
    assert answer.status in (501, 502, 503, 504)
    assert b"10.0.0.3" not in answer.body
    assert answer.header("retry-after") == "7"


def test_what_an_upstream_says_about_the_callers_fault_is_passed_on(gateway: Running, upstream: RawUpstream) -> None:
    upstream.play = says(b"HTTP/1.1 409 X\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
    answer = gateway.ask("GET", "/api/v2/slack/x")
    assert (answer.status, answer.body, answer.header("content-type")) == (409, b"{}", "application/json")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_upstream_hears_at_once_that_the_client_has_left(method: str, tmp_path: Path) -> None:
    left = threading.Event()

    def wait(wire: socket.socket, _number: int) -> None:
        wire.settimeout(PATIENCE)
        if wire.recv(1) == b"":
            left.set()

    with RawUpstream(wait) as silent, running(tmp_path, UPSTREAM_SLACK_URL=silent.url) as gateway:
        body = b"Content-Length: 2\r\n\r\n{}" if method == "POST" else b"\r\n"
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:
            client.sendall(proven(f"{method} /api/v2/slack/x HTTP/1.1\r\nHost: a\r\n".encode() + body))
            until(lambda: silent.requests)
        assert left.wait(20), "before the deadline of 30 seconds"
        gateway.await_log("499")
        assert gateway.stop() == 0


def test_an_upstream_hears_that_the_client_left_in_the_middle_of_a_stream(tmp_path: Path) -> None:
    broken = threading.Event()

    def pour(wire: socket.socket, _number: int) -> None:
        wire.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(400):
                wire.sendall(b"1\r\nx\r\n")
                time.sleep(0.05)
        except OSError:
            broken.set()
            raise

    with RawUpstream(pour) as stream, running(tmp_path, UPSTREAM_SLACK_URL=stream.url) as gateway:
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:
            client.sendall(proven(b"GET /api/v2/slack/x HTTP/1.1\r\nHost: a\r\n\r\n"))
            client.recv(1000)
        assert broken.wait(15), "while it still had something to say"
        assert gateway.ask("GET", "/health").status == 200


def test_an_upload_that_is_given_up_is_not_sent_on_as_whole(gateway: Running, upstream: RawUpstream) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(proven(b"POST /api/v2/slack/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf"))
        until(lambda: not let_go((upstream, gateway)))
    until(lambda: let_go((upstream, gateway)), 20)  # before the deadline of 30 seconds
    assert upstream.requests == []


def test_an_early_answer_to_an_upload_is_passed_on(gateway: Running, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with (
            running(tmp_path, UPSTREAM_SLACK_URL=url) as early,
            socket.create_connection(("127.0.0.1", early.port), timeout=PATIENCE) as client,
        ):
            head = b"POST /api/v2/slack/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n"
            client.sendall(proven(head + b"half"))
            wire, _ = listener.accept()
            wire.recv(65536)
            wire.sendall(b"HTTP/1.1 401 X\r\nContent-Length: 2\r\n\r\nno")
            answer = read_answer(client)
            assert (answer.status, answer.body) == (401, b"no")
            wire.close()


def test_slow_readers_do_not_make_the_gateway_hold_whole_answers(tmp_path: Path) -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 10_000_000
    with (
        RawUpstream(says(whole)) as big,
        running(tmp_path, UPSTREAM_SLACK_URL=big.url) as gateway,
        ExitStack() as opened,
    ):
        gateway.ask("GET", "/health")
        before = psutil.Process(gateway.process.pid).memory_info().rss
        clients = [opened.enter_context(socket.create_connection(("127.0.0.1", gateway.port))) for _ in range(10)]
        for client in clients:
            client.sendall(proven(b"GET /api/v2/slack/x HTTP/1.1\r\nHost: a\r\n\r\n"))
        time.sleep(1)
        assert psutil.Process(gateway.process.pid).memory_info().rss - before < 15_000_000
        assert gateway.ask("GET", "/health").status == 200


def test_busy_connections_run_out_in_bounded_time_and_harm_no_other_upstream(tmp_path: Path, slack: Running) -> None:
    with (
        mute() as silent,
        running(tmp_path, UPSTREAM_CRM_URL=silent.url, UPSTREAM_SLACK_URL=f"http://127.0.0.1:{slack.port}") as gateway,
    ):
        clients = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(100)]
        for number, client in enumerate(clients):  # each another URL: equal ones would wait for one answer together
            client.sendall(proven(b"GET /api/v2/crm/contacts?n=%d HTTP/1.1\r\nHost: a\r\n\r\n" % number))
        until(lambda: len(silent.requests) == len(clients))
        began = time.monotonic()
        assert gateway.ask("GET", "/api/v2/crm/contacts").status == 503
        assert time.monotonic() - began < 20, "long before the deadline of 30 seconds"
        assert gateway.ask("GET", "/api/v2/slack/channels").status == 200
        for client in clients:
            client.close()


PIECES = st.sampled_from(
    ["/", "a", "..", ".", "%2e", "%2f", "%41", "%20", "%3F", "\\", ";", "~", "%c3", "//", "@evil", ":1"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PIECES, max_size=6).map("".join))
def test_the_path_that_is_judged_is_the_path_that_is_forwarded(
    gateway: Running, upstream: RawUpstream, tail: str
) -> None:
    upstream.requests.clear()
    upstream.play = says(OK, then="keep")
    raw = f"/api/v2/slack/{tail}"
    answer = gateway.ask("GET", raw)
    try:
        path = canonical_path(raw.encode())
    except Problem:
        assert answer.status == 400
        assert upstream.requests == []
        return
    assert answer.status == 200
    assert upstream.requests[0].split(b" ")[1].decode() == "/base" + path.removeprefix("/api/v2/slack")
