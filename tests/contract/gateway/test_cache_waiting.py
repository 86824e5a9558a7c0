"""Who waits in the cache, or for a place at an upstream, does it in their own time, and costs nobody else theirs."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.helpers.cache_stage import Origin, instances, says, x_cache
from tests.helpers.cache_stage import until as eventually
from tests.helpers.gateway_process import Running, running
from tests.helpers.raw_upstream import RawUpstream
from tests.helpers.redis_server import RedisServer
from tests.helpers.waiting import until

LISTS = "/api/v2/slack/lists"
OPERATOR = "operator-token-0123456789"


class Held:
    """An upstream that answers nothing until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.upstream = RawUpstream(self.play)

    def play(self, wire: socket.socket, _number: int) -> None:
        self.go.wait()
        wire.sendall(b"HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60\r\nContent-Length: 2\r\n\r\nok")

    def asked(self, path: str) -> int:
        return sum(request.split()[1].endswith(path.encode()) for request in self.upstream.requests)


@contextmanager
def held() -> Iterator[Held]:
    made = Held()
    with made.upstream:
        try:
            yield made
        finally:
            made.go.set()


def gateways(stack: ExitStack, folder: Path, number: int, upstream: RawUpstream, **env: str) -> list[Running]:
    """Gateways that all know of their Redis, if they have one."""
    usual = {"CACHE_ROUTES": f"{LISTS} ttl=60 scope=tenant", "REDIS_TIMEOUT": "5", "OPERATOR_TOKEN": OPERATOR}
    made = [
        stack.enter_context(running(folder, UPSTREAM_SLACK_URL=upstream.url, **usual, **env)) for _ in range(number)
    ]
    for each in made:
        until(lambda each=each: told(each, "gateway_redis_mode ") == ("1" if "REDIS_URL" in env else "0"))  # type: ignore[misc]
    return made


def told(gateway: Running, name: str) -> str:
    """A number of /metrics."""
    text = gateway.ask("GET", "/metrics", token=f"Authorization: Bearer {OPERATOR}").body.decode()
    return next((line.split()[-1] for line in text.splitlines() if line.startswith(name)), "")


@pytest.mark.parametrize("number", [1, 2])
def test_who_waits_for_anothers_fetch_waits_no_longer_than_they_said(
    number: int, tmp_path: Path, server: RedisServer
) -> None:
    with held() as slow, ExitStack() as stack, ThreadPoolExecutor() as pool:
        found = gateways(stack, tmp_path, number, slow.upstream, REDIS_URL=server.url)
        path = f"{LISTS}?of={number}"
        patient = pool.submit(found[0].ask, "GET", path)
        until(lambda: slow.upstream.requests)
        hasty = found[-1].ask("GET", path, "X-Deadline-Ms: 300")
        assert (hasty.status, hasty.code) == (504, "GATEWAY_TIMEOUT")
        slow.go.set()
        assert patient.result().status == 200
        assert len(slow.upstream.requests) == 1


def test_a_fetch_that_ran_out_of_its_callers_time_before_it_had_a_place_fails_nobody_else(tmp_path: Path) -> None:
    env = {"UPSTREAM_MAX_IN_FLIGHT": "1", "UPSTREAM_QUEUE_TIMEOUT": "25"}
    with held() as slow, ExitStack() as stack, ThreadPoolExecutor() as pool:
        (gateway,) = gateways(stack, tmp_path, 1, slow.upstream, **env)
        busy = pool.submit(gateway.ask, "GET", "/api/v2/slack/busy")
        until(lambda: slow.upstream.requests)
        hasty = pool.submit(gateway.ask, "GET", LISTS, "X-Deadline-Ms: 1500")
        until(lambda: hasty.done() or told(gateway, 'gateway_upstream_waiting{upstream="slack"}') == "1")
        patient = [pool.submit(gateway.ask, "GET", LISTS) for _ in range(3)]
        assert (hasty.result().status, hasty.result().code) == (504, "GATEWAY_TIMEOUT")
        slow.go.set()
        assert [each.result().status for each in (busy, *patient)] == [200] * 4
        assert slow.asked("/lists") == 1


def test_a_refresh_is_not_bound_by_the_time_of_whoever_began_it() -> None:
    async def story() -> None:
        origin = Origin(says(b"Cache-Control: public, max-age=1, stale-while-revalidate=60", b"Age: 5"))
        async with instances(1, origin) as (one,):
            await one.ask()
            assert x_cache(await one.ask(b"X-Deadline-Ms: 50")) == "stale"
            await eventually(lambda: origin.calls == 2)
        assert b"x-deadline-ms" not in origin.headers[1]

    asyncio.run(story())
