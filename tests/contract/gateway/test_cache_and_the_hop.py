"""What a cache must know of the message beside it: fields for one hop, the upstream's Date, streams, a 304 nobody asked for.

From outside, with real processes: what the upstream is told and what an answer is looked up by are decided in different
places, and only together are they right.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate

import pytest

from tests.helpers.gateway_process import Answer, Running, running
from tests.helpers.raw_upstream import Play, RawUpstream
from tests.helpers.raw_upstream import says as says_raw
from tests.helpers.tokens import bearer
from tests.helpers.waiting import PATIENCE

TENANTS = "/api/v2/slack/shared"
PUBLIC = b"Cache-Control: public, max-age=60"
LONG = b"x" * 4000


@pytest.fixture(scope="module")
def upstream() -> Iterator[RawUpstream]:
    with RawUpstream(says()) as made:
        yield made


def gateways(**settings: str):
    @pytest.fixture(scope="module")
    def started(upstream: RawUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
        row = f"{TENANTS} ttl=60 scope=tenant"
        with running(
            tmp_path_factory.mktemp("gateway"), UPSTREAM_SLACK_URL=upstream.url, CACHE_ROUTES=row, **settings
        ) as gateway:
            yield gateway

    return started


gateway = gateways()
without_cache = gateways(CACHE="off")


def says(*lines: bytes, status: int = 200, body: bytes = b"ok") -> Play:
    """Answers with these fields, and says in X-Read which language it was asked for."""

    def play(wire: socket.socket, number: int) -> None:
        framed = [] if status == 304 else [b"Content-Length: %d" % len(body)]
        says_raw(
            b"\r\n".join([b"HTTP/1.1 %d X" % status, *framed, *lines, b"", b""]) + (b"" if status == 304 else body)
        )(wire, number)

    return play


def word(text: str) -> str:
    return "".join(filter(str.isalpha, text))


def speaks_french(upstream: RawUpstream) -> Play:
    """Answers in the language that it is told, English otherwise."""

    def play(wire: socket.socket, number: int) -> None:
        french = b"accept-language: fr" in upstream.requests[-1].lower()
        says(body=b"bonjour" if french else b"hello")(wire, number)

    return play


def twice(gateway: Running, path: str, *lines: str) -> tuple[Answer, Answer]:
    return gateway.ask("GET", path, *lines), gateway.ask("GET", path, *lines)


@pytest.mark.parametrize("listed", ["accept-language", "Accept-Language , close", "x-other", "authorization"])
def test_an_answer_the_upstream_gave_without_a_field_is_given_to_nobody_who_sent_it(
    gateway: Running, upstream: RawUpstream, listed: str
) -> None:
    """Fields that Connection lists end at the gateway: the upstream answers as if they had not been there."""
    upstream.play = speaks_french(upstream)
    path = f"{TENANTS}/{word(listed)}-{len(listed)}"
    mallory = ["GET " + path + " HTTP/1.1", "Host: gateway.test", bearer(user="mallory"), "Accept-Language: fr"]
    first = gateway.raw("\r\n".join([*mallory, f"Connection: {listed}", "", ""]).encode())
    assert (first.body == b"hello") == ("anguage" in listed)
    assert first.header("x-cache") == "bypass"
    ada = gateway.ask("GET", path, bearer(user="ada"), "Accept-Language: fr", token="")
    assert (ada.body, ada.header("x-cache")) == (b"bonjour", "miss")


@pytest.mark.parametrize("usual", ["keep-alive", "close", "Keep-Alive, TE", "close,"])
def test_what_every_client_says_of_its_connection_changes_nothing(
    gateway: Running, upstream: RawUpstream, usual: str
) -> None:
    upstream.play = says(PUBLIC)
    path = f"/api/v2/slack/{word(usual)}-{len(usual)}"
    request = "\r\n".join([f"GET {path} HTTP/1.1", "Host: gateway.test", bearer(), f"Connection: {usual}", "", ""])
    assert [gateway.raw(request.encode()).header("x-cache") for _ in range(2)] == ["miss", "hit"]


def test_a_date_long_ago_counts_as_age(gateway: Running, upstream: RawUpstream) -> None:
    upstream.play = says(PUBLIC, b"Date: " + formatdate(time.time() - 30, usegmt=True).encode())
    first, second = twice(gateway, "/api/v2/slack/half-a-minute")
    assert [first.header("x-cache"), second.header("x-cache")] == ["miss", "hit"]
    assert 29 <= int(second.header("age") or 0) <= 59
    upstream.play = says(PUBLIC, b"Date: " + formatdate(time.time() - 600, usegmt=True).encode())
    assert [each.header("x-cache") for each in twice(gateway, "/api/v2/slack/ten-minutes")] == ["miss", "miss"]


def test_expires_counts_from_the_upstreams_clock_and_the_answer_goes_out_with_ours(
    gateway: Running, upstream: RawUpstream
) -> None:
    ahead = time.time() + 3600
    upstream.play = says(
        b"Cache-Control: public",
        b"Date: " + formatdate(ahead, usegmt=True).encode(),
        b"Expires: " + formatdate(ahead, usegmt=True).encode(),
    )
    first, second = twice(gateway, "/api/v2/slack/an-hour-ahead")
    assert "hit" not in (first.header("x-cache"), second.header("x-cache"))
    assert len(first.all("date")) == 1
    assert first.header("date") != formatdate(ahead, usegmt=True)


@pytest.mark.parametrize("hidden", [b"no-store", b"private", b"no-cache"])
def test_an_upstream_cannot_take_away_what_it_says_to_every_cache(
    gateway: Running, upstream: RawUpstream, hidden: bytes
) -> None:
    upstream.play = says(
        b"Connection: cache-control, set-cookie, close", b"Cache-Control: " + hidden, b"Set-Cookie: a=1"
    )
    first, second = twice(gateway, f"{TENANTS}/{hidden.decode()}")
    assert [first.header("x-cache"), second.header("x-cache")] == ["miss", "bypass"]
    assert first.header("set-cookie") == "a=1"


@pytest.mark.parametrize("kind", [b"application/x-ndjson", b"Text/Event-Stream; charset=utf-8", b"application/jsonl"])
def test_each_line_of_a_stream_arrives_before_the_next_is_sent_on_a_path_that_is_cached(
    gateway: Running, upstream: RawUpstream, kind: bytes
) -> None:
    heard = threading.Event()

    def play(wire: socket.socket, _number: int) -> None:
        wire.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n" % kind)
        assert heard.wait(PATIENCE), "nobody heard the first line"
        wire.sendall(b"4\r\ntwo\n\r\n0\r\n\r\n")
        wire.close()

    upstream.play = play
    request = f"GET {TENANTS}/lines HTTP/1.1\r\nHost: gateway.test\r\n{bearer()}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE) as wire:
        wire.sendall(request.encode())
        seen = b""
        while b"one\n" not in seen:
            seen += wire.recv(4096) or pytest.fail("closed before the first line")
        heard.set()
        while piece := wire.recv(4096):
            seen += piece
    assert b"two\n" in seen


@pytest.mark.parametrize("line", ["X: 1", "Cache-Control: no-store", "Connection: x"])
def test_a_304_to_a_question_without_a_condition_is_a_bad_gateway(
    gateway: Running, without_cache: Running, upstream: RawUpstream, line: str
) -> None:
    upstream.play = says(status=304)
    for each in (gateway, without_cache):
        answer = each.ask("GET", f"{TENANTS}/304", line)
        assert (answer.status, answer.code) == (502, "BAD_GATEWAY")


def test_an_answer_that_nothing_can_be_asked_about_is_not_confirmed(gateway: Running, upstream: RawUpstream) -> None:
    upstream.play = says(PUBLIC)
    assert gateway.ask("GET", f"{TENANTS}/plain").status == 200
    upstream.play = says(status=304)
    assert gateway.ask("GET", f"{TENANTS}/plain", "Cache-Control: no-cache").status == 502


def test_without_a_cache_an_authorised_answer_is_private_all_the_same(
    without_cache: Running, upstream: RawUpstream
) -> None:
    upstream.play = says(b"Cache-Control: public, max-age=600")
    answer = without_cache.ask("GET", "/api/v2/slack/x")
    assert answer.header("cache-control") == "private, max-age=600"
    assert "Authorization" in ", ".join(answer.all("vary"))
    assert answer.header("x-cache") is None


def test_a_client_that_wants_no_transformation_gets_none(gateway: Running, upstream: RawUpstream) -> None:
    upstream.play = says(b"Content-Type: text/plain", body=LONG)
    plain = gateway.ask("GET", "/api/v2/slack/t", "Accept-Encoding: gzip", "Cache-Control: No-Transform")
    coded = gateway.ask("GET", "/api/v2/slack/t", "Accept-Encoding: gzip")
    assert (plain.header("content-encoding"), plain.body) == (None, LONG)
    assert coded.header("content-encoding") == "gzip"
