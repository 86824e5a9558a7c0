"""How many exchanges one upstream may have at once: a full one sheds its own requests and nobody else's."""

from __future__ import annotations

import asyncio
from collections import deque

from gateway_runtime.errors import Shed


class Bulkhead:
    """`limit` places, and a queue of `queue` callers that wait up to `seconds` for one, first come first served."""

    def __init__(self, limit: int, queue: int, seconds: float) -> None:
        self.limit = limit
        self.taken = 0
        self._queue = queue
        self._seconds = seconds
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """Callers in the queue."""
        return len(self._waiting)

    def enter(self) -> bool:
        """Takes a place when one is free at once."""
        if self.taken < self.limit:
            self.taken += 1
            return True
        return False

    async def wait(self, within: float) -> None:
        """Takes a place when one becomes free; Shed when the queue is full or the wait is over."""
        if len(self._waiting) >= self._queue:
            raise Shed("every place is taken and the queue is full", retry_after=1)
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(min(self._seconds, within)):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():  # it was given in the same moment: somebody else can have it
                self.leave()
            else:
                self._waiting.remove(place)
            if isinstance(error, TimeoutError):
                raise Shed("every place is taken", retry_after=1) from None
            raise

    def leave(self) -> None:
        """Gives a place back: to the first who waits, else to nobody."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.taken -= 1
