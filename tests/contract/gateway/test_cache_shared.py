"""Several instances, one real Valkey: one fetch for many, writes, faults, and what lies about in Redis."""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway_runtime.asgi import Request, Response
from gateway_runtime.cache.store import EVERYTHING, Collection
from gateway_runtime.errors import ClientGone, Problem
from gateway_runtime.upstream.client import Expired
from tests.helpers.cache_stage import CONTACTS, Instance, Origin, instances, says, until, valkey, x_cache
from tests.helpers.fault_proxy import FaultProxy
from tests.helpers.redis_server import RedisServer
from tests.helpers.waiting import PATIENCE

MISS_CALLS = 8
"""To Redis at most, for a miss that waits for nobody: who waits for a lock asks every few milliseconds."""
PUBLIC = b"Cache-Control: public, max-age=60"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(autouse=True)
def _empty(redis: RedisServer) -> None:
    redis.ask().flushall()


def test_two_hundred_equal_misses_on_two_instances_ask_the_upstream_once(redis: RedisServer) -> None:
    async def story() -> None:
        origin = Origin(says(PUBLIC, delay=0.15))
        async with instances(2, origin, redis.url) as (one, two):
            answers = await asyncio.gather(*((one, two)[n % 2].ask() for n in range(200)))
        assert origin.calls == 1
        assert {answer.body for answer in answers} == {b'{"n":1}'}

    asyncio.run(story())


def test_a_failure_reaches_all_who_wait_and_nobody_tries_again(redis: RedisServer) -> None:
    async def story() -> None:
        async def fails(_: Request) -> Response:
            await asyncio.sleep(1.0)  # all have come by then
            raise Problem("BAD_GATEWAY")

        origin = Origin(fails)
        async with instances(2, origin, redis.url) as (one, two):
            answers = await asyncio.gather(*((one, two)[n % 2].ask() for n in range(200)), return_exceptions=True)
            assert origin.calls == 1
            assert {getattr(answer, "code", answer) for answer in answers} == {"BAD_GATEWAY"}
            origin.play = says(PUBLIC)
            assert x_cache(await one.ask()) == "miss"  # who comes later starts anew

    asyncio.run(story())


@pytest.mark.parametrize("shared", [False, True])
def test_a_deadline_of_the_callers_own_fails_nobody_who_waits_with_them(redis: RedisServer, shared: bool) -> None:
    async def story() -> None:
        begun = asyncio.Event()

        async def late(_: Request) -> Response:
            begun.set()
            await asyncio.sleep(0.2)  # the others have come by then
            origin.play = says(PUBLIC)
            raise Expired("caller", "the caller's own budget")

        origin = Origin(late)
        async with instances(2, origin, redis.url if shared else "") as (one, two):
            hasty = asyncio.create_task(one.ask())
            await begun.wait()
            patient = [(one, two if shared else one)[n % 2].ask() for n in range(10)]
            answers = await asyncio.gather(hasty, *patient, return_exceptions=True)
        assert isinstance(answers[0], Expired)
        assert {answer.status if isinstance(answer, Response) else answer for answer in answers[1:]} == {200}
        assert origin.calls == 2

    asyncio.run(story())


@pytest.mark.parametrize("fault", ["reset", "refused", "WRONGTYPE"])
def test_a_lock_that_redis_was_away_for_is_let_go_of_when_it_is_back(
    redis: RedisServer, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway_runtime.cache.flight.LEASE", 300.0)  # two seconds, usually

    async def story(proxy: FaultProxy) -> None:
        async def lost(_: Request) -> Response:
            assert locks(redis), "the lock was taken"
            await asyncio.to_thread(proxy.set, fault)
            return await says(PUBLIC)(_)

        origin = Origin(lost)
        async with instances(1, origin, proxy.url) as (one,), instances(1, origin, redis.url) as (two,):
            assert (await one.ask()).status == 200
            assert locks(redis)
            await asyncio.to_thread(proxy.set, "")
            await until(lambda: one.shared.mode == "ok")
            origin.play = says(PUBLIC)
            assert (await asyncio.wait_for(two.ask(), PATIENCE)).status == 200
            await until(lambda: not locks(redis))

    with closing(FaultProxy(redis.port)) as proxy:
        asyncio.run(story(proxy))


def locks(redis: RedisServer) -> list[bytes]:
    return list(redis.ask().scan_iter("*:l:*"))


def test_without_redis_each_instance_asks_once(redis: RedisServer) -> None:
    async def story() -> None:
        origin = Origin(says(PUBLIC, delay=0.1))
        async with instances(2, origin) as (one, two):
            await asyncio.gather(*((one, two)[n % 2].ask() for n in range(200)))
        assert origin.calls == 2

    asyncio.run(story())


def test_when_the_one_who_fetches_leaves_another_takes_over(redis: RedisServer) -> None:
    async def story() -> None:
        first = True

        async def play(_: Request) -> Response:
            nonlocal first
            leaves, first = first, False
            await asyncio.sleep(0.05)
            if leaves:
                raise ClientGone
            return Response(200, [(b"cache-control", b"public, max-age=60")], b"{}")

        origin = Origin(play)
        async with instances(2, origin, redis.url) as (one, two):
            answers = await asyncio.gather(*((one, two)[n % 2].ask() for n in range(20)), return_exceptions=True)
        assert sum(isinstance(answer, ClientGone) for answer in answers) == 1
        assert origin.calls == 2

    asyncio.run(story())


def test_an_instance_that_dies_while_it_fetches_holds_nobody_up_longer_than_its_lease(redis: RedisServer) -> None:
    async def story() -> None:
        async def never(_: Request) -> Response:
            await asyncio.sleep(60)
            raise AssertionError

        stuck, origin = Origin(never), Origin(says(PUBLIC))
        async with instances(1, stuck, redis.url) as (dead,), instances(1, origin, redis.url) as (alive,):
            task = asyncio.create_task(dead.ask())
            await until(lambda: stuck.calls == 1)
            await dead.shared.close()  # as a dead process: it renews no lease and lets go of nothing
            began = time.monotonic()
            assert x_cache(await alive.ask()) == "miss"
            assert 1.0 < time.monotonic() - began < 8.0, "it waited as long as it ever would: ten seconds"
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())


def test_who_lost_the_lock_stores_nothing(redis: RedisServer) -> None:
    async def story() -> None:
        async def slow(_: Request) -> Response:
            for lock in redis.ask().keys("*:l:*"):
                redis.ask().set(lock, b"Lsomebody", px=5000)
            return Response(200, [(b"cache-control", b"public, max-age=60")], b"late")

        async with instances(1, Origin(slow), redis.url) as (one,):
            await one.ask()
        assert redis.ask().keys("*:e:*") == []

    asyncio.run(story())


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_after_a_write_was_answered_no_instance_gives_out_what_was_before(redis: RedisServer, method: str) -> None:
    async def story() -> None:
        state = 0

        async def play(request: Request) -> Response:
            nonlocal state
            if request.method == "GET":
                return Response(200, [(b"cache-control", b"public, max-age=60")], b"%d" % state)
            state += 1
            return Response(200)

        origin = Origin(play)
        async with instances(3, origin, redis.url) as (one, two, three):
            for round_ in range(15):
                for each in (one, two, three):
                    assert (await each.ask()).body == b"%d" % round_
                await one.ask(method=method, path=f"{CONTACTS}/c1")
                assert [(await each.ask()).body for each in (two, three, one)] == [b"%d" % (round_ + 1)] * 3

    asyncio.run(story())


def test_what_was_fetched_before_a_write_ended_is_not_stored_after_it(redis: RedisServer) -> None:
    async def story() -> None:
        gate = asyncio.Event()

        async def play(request: Request) -> Response:
            if request.method == "GET":
                seen = b"old" if not gate.is_set() else b"new"
                await gate.wait()
                return Response(200, [(b"cache-control", b"public, max-age=60")], seen)
            return Response(200)

        origin = Origin(play)
        async with instances(2, origin, redis.url) as (one, two):
            reading = asyncio.create_task(two.ask())
            await until(lambda: origin.calls == 1)
            await one.ask(method="POST")
            gate.set()
            assert (await reading).body == b"old"  # it began before the write
            assert (await two.ask()).body == b"new"
            assert (await one.ask()).body == b"new"

    asyncio.run(story())


def test_a_write_leaves_other_tenants_and_other_collections_alone(redis: RedisServer) -> None:
    async def story() -> None:
        origin = Origin(says(PUBLIC))
        async with instances(2, origin, redis.url) as (one, two):
            others: list[dict[str, Any]] = [{"tenant": "other"}, {"path": "/api/v2/slack/channels"}]
            for other in others:
                await two.ask(**other)
            await one.ask(method="POST")
            assert [x_cache(await two.ask(**other)) for other in others] == ["hit", "hit"]
            await one.ask(method="POST", path="/api/v2/slack")  # above all collections: all the tenant's
            assert [x_cache(await two.ask(**other)) for other in others] == ["hit", "miss"]

    asyncio.run(story())


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
def test_a_write_that_was_refused_outdates_nothing(redis: RedisServer, status: int) -> None:
    async def story() -> None:
        async def play(request: Request) -> Response:
            if request.method == "GET":
                return Response(200, [(b"cache-control", b"public, max-age=60")], b"{}")
            return Response(status)

        async with instances(1, Origin(play), redis.url) as (one,):
            await one.ask()
            await one.ask(method="POST")
            assert x_cache(await one.ask()) == "hit"

    asyncio.run(story())


@pytest.mark.parametrize("fault", [Problem("GATEWAY_TIMEOUT"), Problem("BAD_GATEWAY"), ClientGone()])
def test_a_write_that_may_have_happened_outdates_its_collection(redis: RedisServer, fault: Exception) -> None:
    async def story() -> None:
        async def play(request: Request) -> Response:
            if request.method == "GET":
                return Response(200, [(b"cache-control", b"public, max-age=60")], b"{}")
            raise fault

        async with instances(1, Origin(play), redis.url) as (one,):
            await one.ask()
            with pytest.raises(type(fault)):
                await one.ask(method="POST")
            assert x_cache(await one.ask()) == "miss"

    asyncio.run(story())


@pytest.mark.parametrize(
    "what", [EVERYTHING, Collection(b"acme", ""), Collection(b"acme", CONTACTS)], ids=["all", "tenant", "collection"]
)
def test_a_purge_reaches_every_instance(redis: RedisServer, what: Collection) -> None:
    async def story() -> None:
        async with instances(3, Origin(says(PUBLIC)), redis.url) as (one, two, three):
            for each in (one, two):
                await each.ask()
            await three.store.invalidate(what)
            assert x_cache(await one.ask()) == "miss"
            assert (await two.ask()).body == b'{"n":2}'

    asyncio.run(story())


def garbage(client: Any, key: bytes, kind: str) -> None:
    value = client.get(key)
    client.delete(key)
    match kind:
        case "one byte altered":
            client.set(key, value[:-1] + bytes((value[-1] ^ 1,)))
        case "head altered":
            client.set(key, value.replace(b'"status":200', b'"status":201'))
        case "cut":
            client.set(key, value[: len(value) // 2])
        case "longer":
            client.set(key, value + b"x")
        case "older version":
            client.set(key, b"xgwc\x02" + value[5:])
        case "pickled":
            client.set(key, pickle.dumps({"status": 200, "body": b"evil"}))
        case "64 MB":
            client.set(key, b"\0" * (64 << 20))
        case "empty":
            client.set(key, b"")
        case "a list":
            client.rpush(key, b"x")
        case "a hash":
            client.hset(key, "a", "b")
        case "another key's":
            client.set(key, client.get(b"spare"))


KINDS = [
    "one byte altered",
    "head altered",
    "cut",
    "longer",
    "older version",
    "pickled",
    "64 MB",
    "empty",
    "a list",
    "a hash",
]


@pytest.mark.parametrize("kind", [*KINDS, "another key's"])
def test_what_is_not_exactly_an_answer_of_ours_is_a_miss(redis: RedisServer, kind: str) -> None:
    async def story() -> None:
        origin = Origin(says(PUBLIC))
        async with instances(2, origin, redis.url) as (one, two):
            await one.ask(query=b"spare")
            (other,) = redis.ask().keys("*:e:*")
            await one.ask()
            (key,) = set(redis.ask().keys("*:e:*")) - {other}
            with redis.ask() as client:
                client.set(b"spare", client.get(other))
                garbage(client, key, kind)
                before = two.shared.counts["calls"]
                answer = await two.ask()
                assert (answer.body, x_cache(answer)) == (b'{"n":3}', "miss")
                assert two.shared.counts["calls"] - before <= MISS_CALLS, "it waited for somebody's lock"
                assert two.shared.mode == "ok"
            assert x_cache(await two.ask()) == "hit"

    asyncio.run(story())


def test_a_lock_or_a_generation_of_another_kind_stops_nobody(redis: RedisServer) -> None:
    async def story() -> None:
        async with instances(2, Origin(says(PUBLIC)), redis.url) as (one, two):
            await one.ask()
            with redis.ask() as client:
                for key in redis.ask().keys("*:g:*"):
                    client.delete(key)
                    client.rpush(key, b"x")
            assert x_cache(await two.ask()) == "miss"
            assert x_cache(await two.ask()) == "hit"

    asyncio.run(story())


def test_every_key_has_a_time_to_live(redis: RedisServer) -> None:
    async def story() -> None:
        async with instances(2, Origin(says(PUBLIC, b"Vary: X-Kind", b'ETag: "1"')), redis.url) as (one, two):
            for n in range(10):
                await one.ask(b"X-Kind: %d" % n, query=b"%d" % n)
            await two.ask(method="POST")
            with redis.ask() as client:
                keys = redis.ask().keys("*cache3*")
                assert len(keys) > 20
                assert all(client.pttl(key) > 0 for key in keys)

    asyncio.run(story())


def test_flushing_redis_loses_answers_and_brings_no_old_one_back(redis: RedisServer) -> None:
    async def story() -> None:
        async with instances(2, Origin(says(PUBLIC)), redis.url) as (one, two):
            await one.ask()
            await two.ask(method="POST")
            await two.ask()
            redis.ask().flushall()
            await asyncio.sleep(0.01)
            assert [x_cache(await one.ask()), x_cache(await two.ask())] == ["miss", "hit"]

    asyncio.run(story())


def test_losing_redis_leaves_the_memory_says_so_and_forgets_within_seconds(tmp_path: Path) -> None:
    async def story(server: RedisServer) -> None:
        origin = Origin(says(PUBLIC))
        async with instances(2, origin, server.url) as (one, two):
            await one.ask()
            server.kill()
            await asyncio.sleep(0.01)  # what it was told a moment ago it believes for 5 ms
            began = time.monotonic()
            for _ in range(20):
                answer = await one.ask()
                assert x_cache(answer) == "hit"
            assert answer.header(b"x-cache-degraded") == b"this instance only"
            assert time.monotonic() - began < 20, "each of them waited for Redis, two seconds"
            assert (await two.ask()).body == b'{"n":2}'
            await one.ask(method="POST")
            assert (await one.ask()).body == b'{"n":4}'  # its own writes it knows
            server.start()
            await until(lambda: one.shared.mode == "ok" and not one.store.alone)
            assert (await one.ask()).header(b"x-cache-degraded") is None

    with valkey(tmp_path) as server:
        asyncio.run(story(server))


def test_a_write_made_while_redis_was_frozen_is_told_when_it_is_back(tmp_path: Path) -> None:
    async def story(server: RedisServer) -> None:
        async with instances(2, Origin(says(PUBLIC)), server.url, wait=1.0) as (one, two):
            await one.ask()
            await two.ask()
            server.pause()
            await one.ask(method="POST")
            assert one.store.alone
            server.resume()
            await until(lambda: one.shared.mode == "ok" and two.shared.mode == "ok" and not one.store.alone)
            assert x_cache(await two.ask()) == "miss"

    with valkey(tmp_path) as server:
        asyncio.run(story(server))


def test_alone_nothing_is_given_out_longer_than_a_few_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(server: RedisServer) -> None:
        async with instances(1, Origin(says(PUBLIC)), server.url) as (one,):
            await one.ask()
            server.kill()
            assert x_cache(await one.ask()) == "hit"
            await asyncio.sleep(0.1)
            monkeypatch.setattr("gateway_runtime.cache.store.ALONE", 0.1)  # five seconds, usually
            assert x_cache(await one.ask()) == "miss"

    with valkey(tmp_path) as server:
        asyncio.run(story(server))


def test_stale_while_revalidate_asks_once_in_the_background(redis: RedisServer) -> None:
    async def story() -> None:
        origin = Origin(says(b"Cache-Control: public, max-age=10, stale-while-revalidate=60", b"Age: 20"))
        async with instances(2, origin, redis.url) as (one, two):
            await one.ask()
            origin.play = says(b"Cache-Control: public, max-age=10", body=b"new", delay=0.05)
            answers = await asyncio.gather(*((one, two)[n % 2].ask() for n in range(50)))
            assert {x_cache(answer) for answer in answers} == {"stale"}
            await until(lambda: not one.cache._refreshing and not two.cache._refreshing)
            assert origin.calls == 2
            assert [(await each.ask()).body for each in (one, two)] == [b"new", b"new"]

    asyncio.run(story())


def test_the_memory_is_bounded_by_bytes_and_the_least_used_goes_first() -> None:
    async def story() -> None:
        gateway = Instance(Origin(says(PUBLIC, body=b"x" * 10000)), memory=100_000)
        for n in range(100):
            await gateway.ask(query=b"%d" % n)
            await gateway.ask(query=b"0")
            assert gateway.store.memory.bytes <= 100_000
        assert gateway.store.memory.evicted > 80
        assert x_cache(await gateway.ask(query=b"0")) == "hit"
        assert x_cache(await gateway.ask(query=b"1")) == "miss"

    asyncio.run(story())


def test_the_times_of_what_was_stored_together_are_spread() -> None:
    async def story() -> None:
        gateway = Instance(Origin(says(PUBLIC)))
        for n in range(50):
            await gateway.ask(query=b"%d" % n)
        times = [entry.terms.lifetime for entry, _ in gateway.store.memory._entries.values()]
        assert all(54 <= time <= 60 for time in times)
        assert max(times) - min(times) > 2

    asyncio.run(story())


@pytest.mark.parametrize("after", [b"X-B", b"", b"X-A, X-B"])
def test_a_write_elsewhere_may_change_what_the_answers_vary_with(redis: RedisServer, after: bytes) -> None:
    fields = (b"x-a: 1", b"x-b: 1")

    async def story() -> None:
        varies = b"X-A"

        async def play(asked: Request) -> Response:
            if asked.method != "GET":
                return Response(204)
            return Response(
                200, [(b"cache-control", b"public, max-age=60"), *([(b"vary", varies)] if varies else [])], b"x"
            )

        async with instances(2, Origin(play), redis.url) as (one, two):
            await one.ask(*fields)
            assert x_cache(await two.ask(*fields)) == "hit"
            await one.ask(method="PUT")
            varies = after
            assert x_cache(await one.ask(*fields)) == "miss"
            assert x_cache(await two.ask(*fields, b"cache-control: only-if-cached")) == "hit"
            assert x_cache(await one.ask(*fields)) == "hit"

    asyncio.run(story())
