"""The cache and compression from outside: real gateways, a real Valkey, a real upstream, sockets between them."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import brotli
import pytest

from tests.helpers.cache_stage import valkey
from tests.helpers.gateway_process import ROOT, Answer, Running, read_answer, running
from tests.helpers.raw_upstream import RawUpstream
from tests.helpers.redis_server import RedisServer
from tests.helpers.tokens import bearer
from tests.helpers.waiting import PATIENCE, until

CHANNELS = "/api/v2/slack/channels"
ITEMS = json.dumps({"items": [{"id": n, "name": "general"} for n in range(300)]}).encode()


class Upstream(RawUpstream):
    """Answers by path: who asked, counted, slowly, coded, as events."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.status = 200
        self.heard = threading.Semaphore(0)
        """Released for every event that has arrived: the next is not sent before."""

    def _answer(self, wire: socket.socket, _number: int) -> None:
        request = self.requests[-1]
        method, target, _ = request.split(b"\r\n", 1)[0].split(b" ")
        path = target.split(b"?")[0]
        token = next((line for line in request.split(b"\r\n") if line.lower().startswith(b"authorization:")), b"")
        if path == b"/events":
            self._events(wire)
            return
        body, fields = b'{"for":"' + token[-20:] + b'"}', [b"content-type: application/json"]
        if path == b"/slow":
            time.sleep(0.3)
        if path == b"/fails":
            time.sleep(2)  # all have come by then
            wire.sendall(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")
            return
        if path == b"/coded":
            body = gzip.compress(ITEMS)
            fields += [b"content-encoding: gzip", b"vary: Accept-Encoding"]
        if path == b"/items":
            body = ITEMS
            fields.append(b'etag: "v1"')
        if path not in (b"/plain", b"/mine"):
            fields.append(b"cache-control: public, max-age=60")
        self._say(wire, method, body, fields)

    def _say(self, wire: socket.socket, method: bytes, body: bytes, fields: list[bytes]) -> None:
        fields.append(b"content-length: %d" % len(body))
        head = b"HTTP/1.1 %d OK\r\n" % self.status + b"\r\n".join(fields) + b"\r\n\r\n"
        wire.sendall(head if method == b"HEAD" else head + body)

    def _events(self, wire: socket.socket) -> None:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for n in range(4):
            event = b"data: %d %b\n\n" % (n, b"x" * 40)
            wire.sendall(b"%x\r\n%b\r\n" % (len(event), event))
            assert self.heard.acquire(timeout=PATIENCE), "nobody heard the last one"
        wire.sendall(b"0\r\n\r\n")

    def asked(self, path: bytes) -> int:
        return sum(request.split(b" ", 2)[1].split(b"?")[0] == path for request in list(self.requests))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Upstream, Running, Running, RedisServer]]:
    folder: Path = tmp_path_factory.mktemp("cache")
    with Upstream() as upstream, valkey(folder) as redis:
        env = {
            "UPSTREAM_SLACK_URL": upstream.url, "REDIS_URL": redis.url, "REDIS_TIMEOUT": "1",
            "RATE_LIMIT_USER": "off", "RATE_LIMIT_ADDRESS": "off",
            "CACHE_ROUTES": "/api/v2/slack/mine ttl=60 scope=tenant",
        }  # fmt: skip
        with running(folder, **env) as one, running(folder, **env) as two:
            for each in (one, two):
                _until_shared(each)
            yield upstream, one, two, redis


def _until_shared(gateway: Running) -> None:
    until(lambda: gateway.ask("GET", "/health/deep").json()["cache"] == {"mode": "shared"})


Stage = tuple[Upstream, Running, Running, RedisServer]


def test_nobody_gets_a_stored_answer_before_the_token_was_checked(stage: Stage) -> None:
    upstream, one, _, _ = stage
    target = "/api/v2/slack/order"
    assert [one.ask("GET", target).header("x-cache") for _ in range(2)] == ["miss", "hit"]
    for token in ("", "Authorization: Bearer x.y.z", "Authorization: Basic YTpi", bearer() + "x"):
        answer = one.ask("GET", target, token=token) if token else one.ask("GET", target, token="X-Nobody: 1")
        assert answer.status == 401
        assert answer.header("x-cache") is None
        assert answer.header("age") is None
        assert answer.header("cache-control") == "no-store"
    assert upstream.asked(b"/order") == 1


def test_tenants_and_users_never_share_and_one_tenants_users_do_where_the_row_says_so(stage: Stage) -> None:
    _, one, two, _ = stage
    people = [bearer(tenant, user) for tenant in ("acme", "globex") for user in ("ada", "bob")]
    for gateway in (one, two):
        for person in people:
            assert gateway.ask("GET", "/api/v2/slack/whose", token=person).json()["for"] == person[-20:]
    assert one.ask("GET", "/api/v2/slack/mine", token=people[0]).header("x-cache") == "miss"
    assert two.ask("GET", "/api/v2/slack/mine", token=people[1]).header("x-cache") == "hit"
    assert two.ask("GET", "/api/v2/slack/mine", token=people[2]).header("x-cache") == "miss"


def test_two_thousand_requests_of_two_tenants_from_48_threads_are_never_mixed_up(stage: Stage) -> None:
    _, one, two, _ = stage
    people = [bearer("acme", "ada"), bearer("globex", "ada")]

    def check(n: int) -> bool:
        answer = (one, two)[n % 3 == 0].ask("GET", f"/api/v2/slack/same?page={n % 5}", token=people[n % 2])
        return bool(answer.json()["for"] == people[n % 2][-20:])

    with ThreadPoolExecutor(48) as pool:
        assert sum(not right for right in pool.map(check, range(2000))) == 0


def test_a_write_is_seen_on_the_other_instance_as_soon_as_it_is_answered(stage: Stage) -> None:
    _, one, two, _ = stage
    for _ in range(10):
        two.ask("GET", CHANNELS)
        assert two.ask("GET", CHANNELS).header("x-cache") == "hit"
        assert one.ask("POST", CHANNELS, body=b"{}").header("x-cache") == "bypass"
        assert two.ask("GET", CHANNELS).header("x-cache") == "miss"


def _together(gateways: tuple[Running, Running], target: str, number: int) -> list[Answer]:
    """Equal requests that are all sent before the first is answered."""
    wires = [socket.create_connection(("127.0.0.1", gateways[n % 2].port), timeout=PATIENCE) for n in range(number)]
    data = f"GET {target} HTTP/1.1\r\nHost: gateway.test\r\n{bearer()}\r\nConnection: close\r\n\r\n".encode()
    for wire in wires:
        wire.sendall(data)
    answers = [read_answer(wire) for wire in wires]
    for wire in wires:
        wire.close()
    return answers


def test_two_hundred_equal_requests_at_two_processes_reach_the_upstream_once(stage: Stage) -> None:
    upstream, one, two, _ = stage
    answers = _together((one, two), "/api/v2/slack/slow", 200)
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert upstream.asked(b"/slow") == 1


def test_two_hundred_equal_requests_that_fail_reach_the_upstream_once(stage: Stage) -> None:
    upstream, one, two, _ = stage
    answers = _together((one, two), "/api/v2/slack/fails", 200)
    assert {answer.status for answer in answers} == {502}
    assert upstream.asked(b"/fails") == 1


def test_a_head_is_answered_with_the_fields_of_the_stored_get(stage: Stage) -> None:
    _, one, _, _ = stage
    one.ask("GET", "/api/v2/slack/items", "Accept-Encoding: br")
    get = one.ask("GET", "/api/v2/slack/items", "Accept-Encoding: br")
    head = one.ask("HEAD", "/api/v2/slack/items", "Accept-Encoding: br")
    changing = ("date", "age", "x-request-id")
    assert [item for item in head.headers if item[0] not in changing] == [
        item for item in get.headers if item[0] not in changing
    ]
    assert head.header("x-cache") == "hit"
    assert head.header("content-length") == str(len(get.body))
    assert brotli.decompress(get.body) == ITEMS


def test_a_stored_answer_is_given_in_every_coding_and_as_304(stage: Stage) -> None:
    upstream, one, _, _ = stage
    before = upstream.asked(b"/items")
    plain = one.ask("GET", "/api/v2/slack/items")
    zipped = one.ask("GET", "/api/v2/slack/items", "Accept-Encoding: gzip")
    assert (plain.body, gzip.decompress(zipped.body)) == (ITEMS, ITEMS)
    assert plain.header("etag") == '"v1"'
    assert zipped.header("etag") == 'W/"v1"'
    unchanged = one.ask("GET", "/api/v2/slack/items", "Accept-Encoding: gzip", 'If-None-Match: W/"v1"')
    assert (unchanged.status, unchanged.body, unchanged.header("etag")) == (304, b"", 'W/"v1"')
    assert upstream.asked(b"/items") - before <= 1
    assert "private" in str(plain.header("cache-control"))
    assert any("Authorization" in value for value in plain.all("vary"))


def test_what_the_upstream_coded_is_stored_and_given_as_it_is_to_who_can_read_it(stage: Stage) -> None:
    upstream, one, _, _ = stage
    first = one.ask("GET", "/api/v2/slack/coded", "Accept-Encoding: gzip, br")
    again = one.ask("GET", "/api/v2/slack/coded", "Accept-Encoding: br,gzip")
    assert (first.header("content-encoding"), again.header("x-cache")) == ("gzip", "hit")
    assert first.body == again.body == gzip.compress(ITEMS)[:4] + first.body[4:]
    assert gzip.decompress(first.body) == ITEMS
    assert b"accept-encoding: gzip, br" in upstream.requests[-1].lower()
    assert one.ask("GET", "/api/v2/slack/coded", "Accept-Encoding: br").header("x-cache") == "miss"


def events_in_turn(gateway: Running, upstream: Upstream, *headers: str) -> tuple[int, str]:
    """How many events came, each before the next was sent, and the answer's coding."""
    lines = ["GET /api/v2/slack/events HTTP/1.1", "Host: gateway.test", bearer(), *headers, "Connection: close"]
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE / 2) as wire:
        wire.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        data, seen = b"", 0
        while piece := wire.recv(65536):
            data += piece
            while seen < data.count(b"\n\n"):
                seen += 1
                upstream.heard.release()
    coding = data.lower().partition(b"content-encoding: ")[2].partition(b"\r\n")[0].decode()
    return seen, coding


@pytest.mark.parametrize("codings", [(), ("Accept-Encoding: gzip, br, zstd",)], ids=["plain", "able to read codings"])
def test_an_event_arrives_before_the_next_is_sent(stage: Stage, codings: tuple[str, ...]) -> None:
    upstream, one, _, _ = stage
    assert events_in_turn(one, upstream, *codings) == (4, "")


def test_the_cache_counts_and_says_how_it_is(stage: Stage) -> None:
    _, one, _, _ = stage
    one.ask("GET", CHANNELS)
    one.ask("GET", CHANNELS)
    health = one.ask("GET", "/health/deep").json()
    assert "shared" in json.dumps(health)


def test_many_threads_of_one_process_share_what_it_has_in_memory(stage: Stage) -> None:
    upstream, one, _, redis = stage
    one.ask("GET", "/api/v2/slack/memory")
    redis.pause()
    try:
        began = time.monotonic()
        answers: list[Answer] = []
        threads = [
            threading.Thread(target=lambda: answers.append(one.ask("GET", "/api/v2/slack/memory"))) for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {answer.header("x-cache") for answer in answers} == {"hit"}
        assert time.monotonic() - began < 15, "each of them waited for Redis, a second"
    finally:
        redis.resume()
        _until_shared(one)  # what is stored in between belongs to one instance alone, and the next test would miss it
    assert upstream.asked(b"/memory") == 1


def test_the_purge_command_empties_what_it_is_told_to_on_every_instance(stage: Stage) -> None:
    _, one, two, redis = stage
    mine, theirs = bearer("acme", "ada"), bearer("globex", "ada")

    def states() -> list[str | None]:
        asked = [(one, mine), (two, mine), (one, theirs)]
        return [each.ask("GET", "/api/v2/slack/purged", token=who).header("x-cache") for each, who in asked]

    def purge(*arguments: str) -> int:
        command = [sys.executable, "-m", "gateway_runtime.cache.purge", *arguments]
        env = {"PATH": os.environ["PATH"], "REDIS_URL": redis.url}
        return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, timeout=PATIENCE, check=False).returncode

    states()
    assert states() == ["hit", "hit", "hit"]
    assert purge("--tenant", "acme", "--collection", "/api/v2/slack/purged") == 0
    assert states() == ["miss", "hit", "hit"]
    assert purge("--tenant", "acme") == 0
    assert states() == ["miss", "hit", "hit"]
    assert purge("--all") == 0
    assert states() == ["miss", "hit", "miss"]
    assert [purge(), purge("--tenant", ""), purge("--collection", "/x")] == [2, 2, 2]
