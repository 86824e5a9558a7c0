"""Many who wait for one piece of work."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Crowd(Generic[T]):
    """Does the work in a task of its own, and gives its outcome to all who ask. Who is cancelled leaves alone.

    asyncio.shield does the same with three callbacks through the event loop for everyone who waits; this takes one, and
    a crowd is what there is when requests come fast.
    """

    __slots__ = ("_task", "_waiting")

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._waiting: list[asyncio.Future[T]] = []
        self._task = asyncio.get_running_loop().create_task(work)
        self._task.add_done_callback(self._ended)

    async def outcome(self) -> T:
        """What the work returns or raises."""
        if self._task.done():
            return self._task.result()
        place: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        return await place

    def _ended(self, task: asyncio.Task[T]) -> None:
        # With nobody waiting its failure is nobody's: it has to be looked at all the same, or asyncio complains.
        fault = None if task.cancelled() else task.exception()
        for place in self._waiting:
            if place.done():
                continue
            if task.cancelled():
                place.cancel()
            elif fault is not None:
                place.set_exception(fault)
            else:
                place.set_result(task.result())
