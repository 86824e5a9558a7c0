"""Places among instances, against a real Valkey: the limit holds whatever is under way at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gateway_runtime.shared.client import Script, Shared
from gateway_runtime.stream.leases import Leases
from gateway_runtime.stream.reasons import MAX_CONNECTIONS
from tests.helpers.redis_server import RedisServer
from tests.helpers.waiting import PATIENCE

LIMIT = 5


class Held(Shared):
    """A Shared whose `take` goes off only when it is let go, as one does that waits for a connection."""

    def hold_back(self) -> None:
        self.let_go, self.done = asyncio.Event(), list[str]()

    async def run(self, script: Script, keys: Sequence[bytes], args: Sequence[Any] = ()) -> Any:
        if args[0] == "take":
            await self.let_go.wait()
        answer = await super().run(script, keys, args)
        self.done.append(args[0])
        return answer


async def reached(state: Callable[[], bool]) -> None:
    while not state():  # noqa: ASYNC110  nobody tells
        await asyncio.sleep(0.01)


def leases(shared: Shared) -> Leases:
    return Leases(shared, per_user=LIMIT, total=100, lease=9, instances=2)


@pytest.mark.parametrize("taken", [LIMIT, LIMIT - 1])
def test_a_place_that_is_only_asked_for_is_not_held(server: RedisServer, taken: int) -> None:
    user = b"user-%d" % taken

    async def story() -> None:
        slow, other = (kind(server.url, instance=name, wait=PATIENCE) for kind, name in ((Held, "a"), (Shared, "b")))
        assert isinstance(slow, Held)
        slow.hold_back()
        here, there = leases(slow), leases(other)
        keeping = asyncio.create_task(here.keep())
        try:
            for shared in (slow, other):
                await shared.start()
                await reached(lambda shared=shared: shared.mode == "ok")  # type: ignore[misc]
            assert [await there.take(user, f"b{number}") for number in range(taken)] == [None] * taken
            taking = asyncio.create_task(here.take(user, "a0"))
            await asyncio.sleep(0)
            slow.done.clear()
            here._say.set()  # as when Redis is back, or when a third of the lease is over
            await reached(lambda: "hold" in slow.done)
            slow.let_go.set()
            assert await taking == (MAX_CONNECTIONS if taken == LIMIT else None)
            assert here.open + there.open == LIMIT
            slow.done.clear()
            here._say.set()  # granted, it is held like any other
            await reached(lambda: "hold" in slow.done)
            assert await there.take(user, "one more") == MAX_CONNECTIONS
        finally:
            keeping.cancel()
            for shared in (slow, other):
                await shared.close()

    asyncio.run(asyncio.wait_for(story(), PATIENCE))
