"""What a gateway tells about itself, and to whom."""

from __future__ import annotations

import math
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.helpers import tokens
from tests.helpers.gateway_process import Answer, Running, read_answer, running
from tests.helpers.raw_upstream import RawUpstream, says, status
from tests.helpers.waiting import until

TOKEN = "operator-token-of-this-test"


def ask(gateway: Running, path: str, *headers: str) -> Answer:
    """Exactly these fields: no token but the one given."""
    return gateway.raw("\r\n".join([f"GET {path} HTTP/1.1", "Host: g", "Connection: close", *headers, "", ""]).encode())


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, RawUpstream]]:
    env = {"DIAGNOSTICS": "on", "OPERATOR_TOKEN": TOKEN, "BREAKER_WINDOW": "4", "BREAKER_MIN_CALLS": "4"}
    with (
        RawUpstream(says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", then="keep")) as upstream,
        running(tmp_path_factory.mktemp("seen"), UPSTREAM_SLACK_URL=upstream.url, **env) as gateway,
    ):
        yield gateway, upstream


@pytest.mark.parametrize(
    "headers",
    [(), ("Authorization: Bearer wrong-token-of-this-test",), (f"Authorization: Basic {TOKEN}",), (f"X-Token: {TOKEN}",),
     (f"Authorization: Bearer {TOKEN}x",), (f"Authorization: Bearer {TOKEN}", f"Authorization: Bearer {TOKEN}")],
)  # fmt: skip
def test_numbers_are_for_the_operator(headers: tuple[str, ...], stage: tuple[Running, RawUpstream]) -> None:
    answer = ask(stage[0], "/metrics", *headers)
    assert answer.status in (400, 401)
    assert b"gateway_" not in answer.body


def test_without_an_operator_there_are_no_numbers(tmp_path: Path) -> None:
    with running(tmp_path) as gateway:
        assert ask(gateway, "/metrics", "Authorization: Bearer ").status == 404
        assert ask(gateway, "/metrics", f"Authorization: Bearer {TOKEN}").status == 404


def scrape(gateway: Running) -> dict[str, float]:
    answer = ask(gateway, "/metrics", f"Authorization: Bearer {TOKEN}")
    assert (answer.status, answer.header("cache-control")) == (200, "no-store")
    assert (answer.header("content-type") or "").startswith("text/plain; version=0.0.4")
    lines = [line for line in answer.body.decode().splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_requests_upstreams_and_the_breaker_are_counted(stage: tuple[Running, RawUpstream]) -> None:
    gateway, upstream = stage
    for _ in range(3):
        ask(gateway, "/diagnostics/slack/x/secret-path")
    upstream.play = status(404)
    ask(gateway, "/diagnostics/slack/x")
    before = scrape(gateway)
    assert before['gateway_upstream_requests_total{upstream="slack",outcome="ok"}'] == 3
    assert before['gateway_upstream_requests_total{upstream="slack",outcome="client_error"}'] == 1
    assert before['gateway_breaker_state{upstream="slack"}'] == 0
    assert before['gateway_requests_total{route="/diagnostics/slack/*",status="2xx"}'] == 3
    assert before["gateway_requests_in_flight"] == 1, "the one that asks"
    assert before['gateway_upstream_in_flight{upstream="slack"}'] == 0
    upstream.play = status(500)
    for _ in range(8):
        ask(gateway, "/diagnostics/slack/x")
    after = scrape(gateway)
    assert after['gateway_breaker_state{upstream="slack"}'] == 2
    assert after['gateway_breaker_opened_total{upstream="slack"}'] == 1
    assert after['gateway_upstream_shed_total{upstream="slack",reason="breaker"}'] >= 4
    text = " ".join(after)
    assert not re.search(r"secret|127\.0\.0\.1|localhost", text)


REFUSED = {
    "BAD_REQUEST": b"GET / HTTP/1.1\r\n\r\n",
    "URI_TOO_LONG": b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: g\r\n\r\n",
    "HEAD_TOO_LARGE": b"GET / HTTP/1.1\r\nHost: g\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
    "REQUEST_TIMEOUT": b"GET / HTTP/1.1\r\nHo",
    "MISDIRECTED_REQUEST": b"GET / HTTP/1.1\r\nHost: elsewhere\r\n\r\n",
    "NOT_IMPLEMENTED": b"BREW / HTTP/1.1\r\nHost: g\r\nOrigin: https://a.example\r\n\r\n",
}


def test_what_is_refused_at_the_edge_is_counted_and_says_that_it_varies(tmp_path: Path) -> None:
    env = {
        "OPERATOR_TOKEN": TOKEN,
        "SERVER_HEAD_TIMEOUT": "1",
        "SERVER_ALLOWED_HOSTS": "g",
        "SERVER_MAX_CONNECTIONS": "8",
    }
    with running(tmp_path, CORS_ALLOWED_ORIGINS="https://a.example", **env) as gateway:
        for code, sent in REFUSED.items():
            answer = gateway.raw(sent)
            assert (answer.code, answer.header("vary")) == (code, "Origin")
            assert answer.header("access-control-allow-origin") is None
        with ExitStack() as held:
            said = [held.enter_context(socket.create_connection(("127.0.0.1", gateway.port))) for _ in range(9)][-1]
            assert read_answer(said).code == "OVERLOADED"
        until(lambda: ask(gateway, "/health").status == 200)
        counted = scrape(gateway)
    for code in (*REFUSED, "OVERLOADED"):
        assert counted[f'gateway_refused_total{{code="{code}"}}'] >= 1


def test_details_of_health_are_for_the_operator_and_addresses_for_nobody(stage: tuple[Running, RawUpstream]) -> None:
    gateway, upstream = stage
    stranger = ask(gateway, "/health/deep").json()["dependencies"]["slack"]
    operator = ask(gateway, "/health/deep", f"Authorization: Bearer {TOKEN}").json()["dependencies"]["slack"]
    user = ask(gateway, "/health/deep", tokens.bearer()).json()["dependencies"]["slack"]
    assert set(user) <= {"status", "breaker", "retryAfter"}
    assert {"status", "breaker"} <= set(stranger) <= {"status", "breaker", "retryAfter"}
    assert operator["inFlight"] == {"now": 0, "waiting": 0, "limit": 100}
    assert {"failureShare", "opened"} <= set(operator)
    port = upstream.url.rpartition(":")[2]
    for headers in ((), (tokens.bearer(),), (f"Authorization: Bearer {TOKEN}",)):
        body = ask(gateway, "/health/deep", *headers).body
        assert not re.search(rb"127\.0\.0\.1|localhost|" + port.encode(), body)


def test_many_who_ask_how_it_is_cost_the_upstream_one_question(stage: tuple[Running, RawUpstream]) -> None:
    gateway, upstream = stage
    time.sleep(1.1)
    upstream.requests.clear()
    began = time.monotonic()
    for _ in range(30):
        ask(gateway, "/health/deep")
    most = 1 + math.ceil(time.monotonic() - began)  # what was heard is believed for a second
    assert 1 <= len([r for r in upstream.requests if r.startswith(b"GET /health ")]) <= most


def test_the_description_is_served(stage: tuple[Running, RawUpstream]) -> None:
    answer = ask(stage[0], "/openapi.json")
    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    assert answer.json()["openapi"] == "3.1.0"


def test_late_paths_are_off_unless_told(tmp_path: Path) -> None:
    with running(tmp_path, UPSTREAM_SLACK_URL="http://127.0.0.1:9") as gateway:
        assert gateway.ask("GET", "/diagnostics/slack/delay?ms=0").status == 404
    with running(tmp_path, ROLE="slack") as slack:
        assert slack.ask("GET", "/delay?ms=0").status == 404


def test_late_paths_are_bounded_and_say_what_they_were_told(tmp_path: Path) -> None:
    with running(tmp_path, ROLE="slack", DIAGNOSTICS="on") as slack:
        for query in ("", "?ms=", "?ms=10001", "?ms=-1", "?ms=1e3", "?x=1"):
            assert ask(slack, f"/delay{query}").status == 400
        told = ask(slack, "/ai/delay?x=/ai/&ms=5", "X-Deadline-Ms: 1234").json()
        assert told == {"delayedMs": 5, "deadlineMs": 1234}
        assert ask(slack, "/delay?ms=0").json()["deadlineMs"] is None
