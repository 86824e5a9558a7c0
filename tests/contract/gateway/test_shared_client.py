"""The one Redis client against a real Valkey, through a proxy that misbehaves."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress

import pytest

from gateway_runtime.shared.client import VALUE_LIMIT, Shared, SharedUnavailable
from gateway_runtime.shared.script import Script
from gateway_runtime.shared.wire import Wire, WireBroken
from tests.helpers.cache_stage import until as eventually
from tests.helpers.fault_proxy import FaultProxy
from tests.helpers.redis_server import RedisServer
from tests.helpers.waiting import PATIENCE

ECHO = Script("return {KEYS[1], ARGV[1]}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("valkey"))
    yield server
    server.close()


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[FaultProxy]:
    proxy = FaultProxy(server.port)
    yield proxy
    proxy.close()


@asynccontextmanager
async def connected(url: str, **options: object) -> AsyncIterator[Shared]:
    shared = Shared(url, **{"wait": 5.0, **options})  # type: ignore[arg-type]  # a busy machine is no slow Redis
    await shared.start()
    try:
        await until(shared, "ok")
        yield shared
    finally:
        await shared.close()


async def until(shared: Shared, mode: str) -> None:
    await eventually(lambda: shared.mode == mode)


def told(story: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await story()

    asyncio.run(run())


def test_values_go_in_and_out_and_nothing_stays_for_ever(server: RedisServer) -> None:
    async def story() -> None:
        async with connected(server.url) as shared:
            assert await shared.get(b"none") is None
            assert await shared.set(b"a", b"\x00\xff", ttl_ms=5000)
            assert not await shared.set(b"a", b"2", ttl_ms=5000, only_if_absent=True)
            assert await shared.get(b"a") == b"\x00\xff"
            assert [await shared.incr(b"n", 2, ttl_ms=5000) for _ in range(2)] == [2, 4]
            assert await shared.run(ECHO, [b"k"], [b"v"]) == [b"k", b"v"]
            assert await shared.run(ECHO, [b"k"], [b"v"]) == [b"k", b"v"]
            asked = server.ask()
            asked.script_flush()
            assert await shared.run(ECHO, [b"k"], [b"v"]) == [b"k", b"v"]
            assert all(asked.pttl(key) > 0 for key in asked.keys("*"))
            await shared.delete(b"a", b"n")
            assert await shared.get(b"a") is None

    told(story)


def test_a_connection_that_breaks_while_it_is_written_to_leaves_the_next_one_with_its_descriptor_alone(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With asyncio's `writelines` it does not, on Python 3.12 and 3.13. Python 3.11 has the base class's, which is harmless."""
    monkeypatch.setattr(asyncio.WriteTransport, "writelines", None)

    async def story() -> None:
        wire = await Wire.open(server.url, "breaks")
        descriptor = descriptor_of(wire)
        wire._connection._writer.transport.abort()  # as asyncio does when the other side resets it
        with pytest.raises(WireBroken):
            await wire.exchange([("PING",)])
        async with asyncio.timeout(PATIENCE):
            later = await Wire.open(server.url, "later")
            assert descriptor_of(later) == descriptor
            assert await later.exchange([("PING",)]) == [b"PONG"]
        later.close()

    told(story)


def descriptor_of(wire: Wire) -> int:
    return wire._connection._writer.get_extra_info("socket").fileno()


def test_what_is_not_a_value_is_a_miss_and_a_command_refused_is_no_outage(server: RedisServer) -> None:
    async def story() -> None:
        async with connected(server.url) as shared:
            asked = server.ask()
            asked.lpush("list", "x")
            asked.set("huge", b"x" * (VALUE_LIMIT + 1))
            assert await shared.get(b"list") is None
            assert await shared.get(b"huge") is None
            assert await shared.incr(b"list", ttl_ms=1000) == 1
            with pytest.raises(SharedUnavailable, match="ERR"):
                await shared.run(Script("return redis.call('NONSENSE')"), [])
            assert shared.mode == "ok"
            asked.flushall()

    told(story)


def test_without_an_address_it_is_off_and_says_so_at_once() -> None:
    async def story() -> None:
        shared = Shared("")
        await shared.start()
        assert shared.mode == "off"
        with pytest.raises(SharedUnavailable):
            await shared.get(b"a")
        await shared.close()

    told(story)


@pytest.mark.alone
@pytest.mark.parametrize("fault", ["blackhole", "slow", "trickle"])
def test_the_first_call_waits_fifty_milliseconds_and_the_next_ones_not_at_all(fault: str, proxy: FaultProxy) -> None:
    async def story() -> None:
        async with connected(proxy.url, wait=0.05) as shared:
            proxy.set(fault)
            began = time.monotonic()
            calls = [shared.get(b"a") for _ in range(50)]
            failed = await asyncio.gather(*calls, return_exceptions=True)
            first = time.monotonic() - began
            assert all(isinstance(each, SharedUnavailable) for each in failed)
            assert shared.mode == "degraded"
            for _ in range(100):
                with pytest.raises(SharedUnavailable):
                    shared.get(b"a").send(None)  # it does not even let the loop go on
            assert 0.045 < first < 0.3
            proxy.set("")
            await until(shared, "ok")

    told(story)


def test_cancelled_commands_never_answer_the_next_caller(proxy: FaultProxy) -> None:
    async def story() -> None:
        random.seed(8)
        counts = {"answered": 0, "given up": 0, "unavailable": 0}

        async def caller(shared: Shared, name: int) -> None:
            for turn in range(60):
                word = b"%d-%d" % (name, turn)
                call = asyncio.create_task(shared.run(ECHO, [word], [b"x" * random.randrange(2000)]))
                if random.random() < 0.4:
                    await asyncio.sleep(random.choice((0, 0, 0.0005, 0.002)))
                    call.cancel()
                try:
                    assert (await call)[0] == word
                    counts["answered"] += 1
                except asyncio.CancelledError:
                    counts["given up"] += 1
                except SharedUnavailable:
                    counts["unavailable"] += 1
                    await asyncio.sleep(0.01)

        async def disturb() -> None:
            while True:
                await asyncio.sleep(random.uniform(0.1, 0.2))
                proxy.set(random.choice(("slow", "reset", "drop", "garbage")))
                await asyncio.sleep(0.06)
                proxy.set("")

        async with connected(proxy.url, pool=3, wait=0.3) as shared:
            disturbing = asyncio.create_task(disturb())
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(caller(shared, name) for name in range(60)))
            disturbing.cancel()
            with suppress(asyncio.CancelledError):
                await disturbing
        print("CANCELLED", counts)
        assert counts["answered"] > 500
        assert counts["given up"] > 300

    told(story)


def test_one_process_opens_no_more_connections_than_it_may(server: RedisServer) -> None:
    async def story() -> None:
        name = f"counted-{random.getrandbits(32):x}"
        async with connected(server.url, pool=3, name=name, wait=PATIENCE) as shared:
            busy = Script("local n = 0 for i = 1, 300000 do n = n + i end return n")
            await asyncio.gather(*(shared.run(busy, [b"%d" % n]) for n in range(20) for _ in range(3)))
            names = [row["name"] for row in server.ask().client_list()]
            assert 1 <= sum(each.startswith(name) for each in names) <= 3

    told(story)


def test_listeners_hear_what_is_published_and_that_they_may_have_missed_something(proxy: FaultProxy) -> None:
    async def story() -> None:
        heard: list[bytes | None] = []
        shared = Shared(proxy.url, pool=2, wait=5.0)
        shared.subscribe(b"news", heard.append)
        await shared.start()
        try:
            await until(shared, "ok")
            await eventually(lambda: heard == [None])
            await shared.publish(b"news", b"one")
            await eventually(lambda: heard == [None, b"one"])
            proxy.set("reset")
            with suppress(SharedUnavailable):
                await shared.get(b"a")
            proxy.set("")
            await until(shared, "ok")
            await eventually(lambda: heard == [None, b"one", None])
            await shared.publish(b"news", b"two")
            await eventually(lambda: len(heard) > 3)
        finally:
            await shared.close()
        assert heard == [None, b"one", None, b"two"]

    told(story)


def test_instances_are_counted_while_they_live(server: RedisServer) -> None:
    async def story() -> None:
        async with connected(server.url, service="counted") as one:
            assert one.instances == 1
            async with connected(server.url, service="counted") as two:
                assert two.instances == 2
            async with connected(server.url, service="counted") as three:
                assert three.instances == 2  # the second has said good-bye

    told(story)


def test_a_pause_of_our_own_is_not_taken_for_a_slow_redis(server: RedisServer) -> None:
    async def story() -> None:
        async with connected(server.url, wait=0.4) as shared:
            for _ in range(3):
                call = asyncio.create_task(shared.get(b"a"))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                time.sleep(0.6)  # noqa: ASYNC251  the loop stands still, longer than a call may wait
                await call
            assert shared.counts["lost"] == 0

    told(story)
