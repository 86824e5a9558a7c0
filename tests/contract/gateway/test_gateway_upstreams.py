"""Slow, failing, hanging and vanishing services behind a real gateway process, with its times scaled down."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.certificates import Authority
from tests.helpers.gateway_process import Answer, Running, read_answer, running
from tests.helpers.raw_upstream import OK, Play, RawUpstream, blackhole, late, mute, says, status
from tests.helpers.waiting import PATIENCE, until

SLACK = "/diagnostics/slack"
"""A route without a token: what is tested here is what comes after it."""
SMALL = {"BREAKER_WINDOW": "4", "BREAKER_MIN_CALLS": "4", "BREAKER_HALF_OPEN_CALLS": "2", "BREAKER_OPEN_SECONDS": "3"}


@contextmanager
def between(folder: Path, play: Play, **env: str) -> Iterator[tuple[Running, RawUpstream]]:
    """A gateway in front of an upstream that does this."""
    with RawUpstream(play) as upstream, running(folder, **gateway_to(upstream), **env) as gateway:
        yield gateway, upstream


def gateway_to(slack: RawUpstream) -> dict[str, str]:
    return {"UPSTREAM_SLACK_URL": slack.url, "DIAGNOSTICS": "on", "UPSTREAM_RETRIES": "0"}


def ask(gateway: Running, path: str = "/x", *headers: str, method: str = "GET") -> Answer:
    return gateway.raw(
        "\r\n".join([f"{method} {SLACK}{path} HTTP/1.1", "Host: g", "Connection: close", *headers, "", ""]).encode()
    )


def timed(act: Callable[[], Answer]) -> tuple[Answer, float]:
    began = time.monotonic()
    return act(), time.monotonic() - began


def at_once(count: int, act: Callable[[], Answer]) -> list[tuple[Answer, float]]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: timed(act), range(count)))


def breaker_of(gateway: Running, name: str = "slack") -> str:
    return str(gateway.ask("GET", "/health/deep").json()["dependencies"][name]["breaker"])


# Deadlines. The plan's 30 s and 120 s are 1.5 s and 4.5 s here.


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, RawUpstream]]:
    env = {"UPSTREAM_TIMEOUT": "1.5", "UPSTREAM_TIMEOUT_LONG": "4.5", "BREAKER": "off", "UPSTREAM_STREAM_IDLE": "2"}
    with between(tmp_path_factory.mktemp("scaled"), says(OK), **env) as stage:
        yield stage


DEADLINES = [
    # path, what the upstream takes, what comes of it, not before and before
    ("/x", 0.2, 200, 0.2, 1.5), ("/x", 9, 504, 1.5, 4.4), ("/ai/x", 2.5, 200, 2.5, 4.5), ("/generate", 2.5, 200, 2.5, 4.5),
    ("/ai/x", 9, 504, 4.5, 9), ("/x?x=/ai/", 9, 504, 1.5, 4.4), ("/x?/generate", 9, 504, 1.5, 4.4),
    ("/generate-report", 9, 504, 1.5, 4.4), ("/email", 9, 504, 1.5, 4.4),
]  # fmt: skip


@pytest.mark.parametrize(("path", "takes", "expected", "after", "before"), DEADLINES)
def test_the_deadline_goes_by_the_segment(
    path: str, takes: float, expected: int, after: float, before: float, scaled: tuple[Running, RawUpstream]
) -> None:
    gateway, upstream = scaled
    upstream.play = late(takes)
    answer, took = timed(lambda: ask(gateway, path))
    assert answer.status == expected
    assert after - 0.02 <= took < before


@pytest.mark.parametrize(
    ("path", "asked", "low", "high"),
    [
        ("/x", None, 300, 1500), ("/ai/x", None, 3100, 4500), ("/x?x=/ai/", None, 300, 1500), ("/x", "1200", 100, 1200),
        ("/x", "100000", 300, 1500), ("/x", "nonsense", 300, 1500), ("/ai/x", "3000", 1600, 3000),
    ],
)  # fmt: skip
def test_what_is_left_of_the_deadline_goes_on(
    path: str, asked: str | None, low: int, high: int, scaled: tuple[Running, RawUpstream]
) -> None:
    gateway, upstream = scaled
    upstream.play = says(OK)
    upstream.requests.clear()
    assert ask(gateway, path, *([f"X-Deadline-Ms: {asked}"] if asked else [])).status == 200
    told = [line for line in upstream.requests[0].lower().split(b"\r\n") if line.startswith(b"x-deadline-ms:")]
    assert len(told) == 1
    assert low <= int(told[0].partition(b":")[2]) <= high


def test_a_callers_smaller_budget_ends_its_request_and_is_not_even_begun_when_used_up(
    scaled: tuple[Running, RawUpstream],
) -> None:
    gateway, upstream = scaled
    upstream.play = late(9)
    answer, took = timed(lambda: ask(gateway, "/ai/x", "X-Deadline-Ms: 150"))
    assert (answer.status, answer.code) == (504, "GATEWAY_TIMEOUT")
    assert 0.14 < took < 4.4
    upstream.requests.clear()
    assert ask(gateway, "/x", "X-Deadline-Ms: 0").status == 504
    assert upstream.requests == []


def test_a_body_that_drips_is_cut_at_the_deadline(scaled: tuple[Running, RawUpstream]) -> None:
    gateway, upstream = scaled
    upstream.play = says(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", *[b"x"] * 99, pause=0.1)
    answer, took = timed(lambda: ask(gateway))
    assert not answer.complete
    assert took < 9


EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"9\r\ndata: 1\n\n\r\n"


def test_a_stream_outlives_the_deadline_while_it_speaks(scaled: tuple[Running, RawUpstream]) -> None:
    gateway, upstream = scaled
    upstream.play = says(EVENTS, *[EVENT] * 8, b"0\r\n\r\n", pause=0.25)
    answer, took = timed(lambda: ask(gateway))
    assert answer.complete
    assert answer.body == b"data: 1\n\n" * 8
    assert took > 2


def test_a_stream_that_falls_silent_is_cut(scaled: tuple[Running, RawUpstream]) -> None:
    gateway, upstream = scaled
    upstream.play = lambda wire, _: (wire.sendall(EVENTS + EVENT), time.sleep(9))[0]
    answer, took = timed(lambda: ask(gateway))
    assert not answer.complete
    assert 1.9 < took < 9


def test_a_head_that_does_not_come_is_504_for_a_stream_too(scaled: tuple[Running, RawUpstream]) -> None:
    gateway, upstream = scaled
    upstream.play = says(b"", EVENTS, pause=4)
    assert ask(gateway, "/x", "Accept: text/event-stream").status == 504


def test_off_is_the_plans_current_state(tmp_path: Path) -> None:
    with between(tmp_path, late(0.8), UPSTREAM_TIMEOUT="off", BREAKER="off") as (gateway, upstream):
        assert ask(gateway, "/x", "X-Deadline-Ms: 100").status == 200
        assert b"deadline" not in upstream.requests[0].lower()
        said = gateway.ask("GET", "/health/deep").json()
        assert said["deadlines"] == {"usual": None, "long": None, "segments": []}
        assert said["dependencies"]["slack"]["breaker"] == "off"


def test_a_route_has_its_own_deadline_and_paths_are_settings(tmp_path: Path) -> None:
    env = {"ROUTES": "gmail:/mail:/v1@0.3"}
    with mute() as mail, running(tmp_path, UPSTREAM_GMAIL_URL=mail.url, **env) as gateway:
        answer, took = timed(lambda: gateway.ask("GET", "/mail/v1/x"))
        assert answer.status == 504
        assert 0.28 < took < 20
        assert mail.requests[0].startswith(b"GET /v1/x ")
        assert gateway.ask("GET", "/api/v2/gmail/x").status == 404


# Connecting.


def test_a_black_hole_ends_within_the_connect_timeout(tmp_path: Path) -> None:
    with (
        blackhole() as nowhere,
        running(tmp_path, UPSTREAM_SLACK_URL=nowhere, DIAGNOSTICS="on", UPSTREAM_CONNECT_TIMEOUT="0.3") as gateway,
    ):
        for method in ("POST", "GET"):  # a GET is tried twice
            answer, took = timed(lambda method=method: ask(gateway, method=method))  # type: ignore[misc]
            assert (answer.status, answer.header("retry-after")) == (503, "1")
            assert 0.28 < took < 4.5, "five seconds, usually"


def test_a_name_that_is_not_there_is_bounded_and_harms_nobody(tmp_path: Path) -> None:
    env = {"UPSTREAM_SLACK_URL": "http://no-such-host.invalid", "DIAGNOSTICS": "on", "UPSTREAM_CONNECT_TIMEOUT": "1"}
    with running(tmp_path, **env) as gateway, ThreadPoolExecutor(8) as pool:
        began = time.monotonic()
        asked = [pool.submit(ask, gateway) for _ in range(8)]
        assert gateway.ask("GET", "/health").status == 200
        assert {answer.result().status for answer in asked} == {503}
        assert time.monotonic() - began < 15, "half of a request's deadline"
        assert b"no-such-host" not in asked[0].result().body


@pytest.mark.parametrize(
    ("name", "expired", "trusted", "expected"),
    [
        ("localhost", False, True, 200),
        ("localhost", False, False, 503),
        ("other.test", False, True, 503),
        ("localhost", True, True, 503),
    ],
)
def test_over_tls_authority_name_and_date_must_be_right(
    name: str, expired: bool, trusted: bool, expected: int, tmp_path: Path
) -> None:
    ours, theirs = Authority(tmp_path), Authority(tmp_path, "somebody else")
    with RawUpstream(says(OK), tls=ours.server(name, expired=expired)) as upstream:
        url = upstream.url.replace("http://127.0.0.1", "https://localhost")
        file = str((ours if trusted else theirs).file)
        with running(tmp_path, UPSTREAM_SLACK_URL=url, DIAGNOSTICS="on", UPSTREAM_CA_FILE=file) as gateway:
            answer = ask(gateway)
            assert answer.status == expected
            assert b"certificate" not in answer.body.lower()
            assert (len(upstream.requests) > 0) is (expected == 200)


# The breaker.


def test_it_opens_answers_at_once_and_closes_again(tmp_path: Path) -> None:
    with between(tmp_path, status(500), **SMALL) as (gateway, upstream):
        for _ in range(3):
            ask(gateway)
        assert breaker_of(gateway) == "closed"
        assert ask(gateway).status == 502
        assert breaker_of(gateway) == "open"
        upstream.requests.clear()
        answer = ask(gateway)
        assert (answer.status, answer.code) == (503, "SERVICE_UNAVAILABLE")
        assert answer.header("retry-after") in ("1", "2", "3")
        waiting = ask(gateway, "/x", "Content-Length: 1000", method="POST")
        assert waiting.status == 503, "before the body has come"
        assert [request for request in upstream.requests if b"/health" not in request] == []
        upstream.play = says(OK, then="keep")
        until(lambda: ask(gateway).status == 200)
        assert ask(gateway).status == 200
        assert breaker_of(gateway) == "closed"


def test_half_open_lets_only_its_calls_through(tmp_path: Path) -> None:
    with between(tmp_path, status(500), **{**SMALL, "BREAKER_OPEN_SECONDS": "1"}) as (gateway, upstream):
        for _ in range(4):
            ask(gateway)
        time.sleep(1.1)
        upstream.requests.clear()
        with answering_when_told(upstream) as go_on, ThreadPoolExecutor(12) as pool:
            asked = [pool.submit(ask, gateway) for _ in range(12)]
            until(lambda: sum(one.done() for one in asked) == 10)  # the others are under way all the while
            go_on()
            assert sorted(one.result().status for one in asked) == [200] * 2 + [503] * 10
        assert len(upstream.requests) == 2
        assert ask(gateway).status == 200


@contextmanager
def answering_when_told(upstream: RawUpstream) -> Iterator[Callable[[], None]]:
    """The upstream answers nobody until the function is called, then everybody with OK."""
    told = threading.Event()

    def play(wire: socket.socket, _number: int) -> None:
        told.wait(PATIENCE)
        wire.sendall(OK)

    upstream.play = play
    try:
        yield told.set
    finally:
        told.set()


def leave_early(gateway: Running) -> None:
    for _ in range(8):
        with socket.create_connection(("127.0.0.1", gateway.port)) as wire:
            wire.sendall(f"GET {SLACK}/x HTTP/1.1\r\nHost: g\r\n\r\n".encode())
            time.sleep(0.1)
    time.sleep(0.2)


COUNTED = {
    "500": (status(500), True), "503": (status(503), True), "cut off": (says(b""), True),
    "reset": (says(b"", then="reset"), True), "not HTTP": (says(b"SSH-2.0-x\r\n\r\n"), True),
    "half a body": (says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), True),
    "too late": (late(3.5), True), "slow": (late(1.8), True), "400": (status(400), False), "401": (status(401), False),
    "404": (status(404), False), "429": (status(429), False), "302": (status(302), False), "good": (says(OK), False),
}  # fmt: skip


@pytest.fixture(scope="module")
def touchy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, RawUpstream]]:
    env = {**SMALL, "BREAKER_OPEN_SECONDS": "0.1", "UPSTREAM_TIMEOUT": "3"}
    with between(tmp_path_factory.mktemp("touchy"), says(OK), **env) as stage:
        yield stage


@pytest.mark.parametrize("kind", COUNTED)
def test_what_counts_and_what_does_not(kind: str, touchy: tuple[Running, RawUpstream]) -> None:
    gateway, upstream = touchy
    upstream.play = says(OK)
    time.sleep(0.15)
    assert [ask(gateway).status for _ in range(5)] == [200] * 5
    upstream.play, opens = COUNTED[kind]
    at_once(8, lambda: ask(gateway))
    assert breaker_of(gateway) == ("open" if opens else "closed")


def test_clients_that_leave_and_callers_in_a_hurry_open_nothing(tmp_path: Path) -> None:
    with between(tmp_path, late(1.0), **SMALL) as (gateway, upstream):
        leave_early(gateway)
        at_once(8, lambda: ask(gateway, "/x", "X-Deadline-Ms: 50"))
        assert breaker_of(gateway) == "closed"
        upstream.play = says(OK)
        assert ask(gateway).status == 200


def test_a_client_that_uploads_slowly_is_not_the_upstreams_fault(tmp_path: Path) -> None:
    with between(tmp_path, says(OK), UPSTREAM_TIMEOUT="0.5", **SMALL) as (gateway, _):

        def drip() -> Answer:
            with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE) as wire:
                wire.sendall(f"POST {SLACK}/x HTTP/1.1\r\nHost: g\r\nContent-Length: 9\r\n\r\nx".encode())
                return read_answer(wire)

        assert {answer.status for answer, _ in at_once(6, drip)} == {408}
        assert breaker_of(gateway) == "closed"


def test_one_services_breaker_is_nobody_elses(tmp_path: Path) -> None:
    with (
        RawUpstream(says(OK)) as mail,
        between(tmp_path, status(500), UPSTREAM_GMAIL_URL=mail.url, **SMALL) as (gateway, _),
    ):
        for _ in range(8):
            ask(gateway)
        assert (breaker_of(gateway, "slack"), breaker_of(gateway, "gmail")) == ("open", "closed")
        assert gateway.ask("GET", "/api/v2/gmail/x").status == 200


# Places.


def test_places_run_out_for_one_service_only_and_come_back(tmp_path: Path) -> None:
    env = {"UPSTREAM_MAX_IN_FLIGHT": "3", "UPSTREAM_QUEUE": "2", "UPSTREAM_QUEUE_TIMEOUT": "0.2"}
    with (
        RawUpstream(says(OK)) as mail,
        between(tmp_path, says(OK), UPSTREAM_GMAIL_URL=mail.url, **env) as (gateway, slack),
    ):
        with answering_when_told(slack) as go_on, ThreadPoolExecutor(10) as pool:
            asked = [pool.submit(ask, gateway) for _ in range(10)]
            until(lambda: sum(one.done() for one in asked) == 7)  # though nobody gives a place back
            assert gateway.ask("GET", "/api/v2/gmail/x").status == 200
            go_on()
            answers = [one.result() for one in asked]
        assert sorted(answer.status for answer in answers) == [200] * 3 + [503] * 7
        assert {answer.header("retry-after") for answer in answers if answer.status == 503} == {"1"}
        assert breaker_of(gateway) == "closed"
        slack.play = says(OK)
        assert {answer.status for answer, _ in at_once(3, lambda: ask(gateway))} == {200}


def test_whoever_waits_for_a_place_gets_it_when_one_is_free(tmp_path: Path) -> None:
    with between(tmp_path, late(0.2), UPSTREAM_MAX_IN_FLIGHT="2", UPSTREAM_QUEUE_TIMEOUT="5") as (gateway, _):
        assert {answer.status for answer, _ in at_once(8, lambda: ask(gateway))} == {200}


# Trying again.


def once(play: Play) -> Play:
    """Closes the first connection without a byte, then plays."""
    first = threading.Event()

    def act(wire: socket.socket, number: int) -> None:
        if first.is_set():
            play(wire, number)
        else:
            first.set()
            wire.close()

    return act


@pytest.mark.parametrize(
    ("method", "expected", "requests"),
    [("GET", 200, 2), ("HEAD", 200, 2), ("PUT", 200, 2), ("DELETE", 200, 2), ("POST", 502, 1), ("PATCH", 502, 1)],
)
def test_only_what_may_be_sent_twice_is(method: str, expected: int, requests: int, tmp_path: Path) -> None:
    with RawUpstream(once(says(OK))) as upstream:
        env = {"UPSTREAM_GMAIL_URL": upstream.url}
        with running(tmp_path, **env) as gateway:
            assert gateway.ask(method, "/api/v2/gmail/x").status == expected
            assert len(upstream.requests) == requests


@pytest.mark.parametrize(
    "first", [b"H", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"]
)
def test_after_a_byte_of_an_answer_nothing_is_sent_again(first: bytes, tmp_path: Path) -> None:
    with RawUpstream(says(first)) as upstream, running(tmp_path, UPSTREAM_GMAIL_URL=upstream.url) as gateway:
        gateway.ask("GET", "/api/v2/gmail/x")
        time.sleep(0.2)
        assert len(upstream.requests) == 1


def test_retries_stay_within_their_budget(tmp_path: Path) -> None:
    env = {"DIAGNOSTICS": "on", "BREAKER": "off", "UPSTREAM_RETRY_PAUSE": "0"}
    with RawUpstream(says(b"")) as upstream, running(tmp_path, UPSTREAM_SLACK_URL=upstream.url, **env) as gateway:
        for _ in range(100):
            assert ask(gateway).status == 502
        assert 105 <= len(upstream.requests) <= 121, "a tenth, and ten more after quiet times"
