"""How fast a store that has just begun may be written to: Firestore's 500/50/5 as a token bucket.

Google's advice for a collection that grows: begin with 500 operations a second and add 50 % every 5 minutes, so that the
ranges can be split before the load is there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

FIRST, GROWTH, EVERY_S = 500.0, 1.5, 300.0


class Ramp:
    """Lets at most `rate` operations a second pass, `GROWTH` times as many after each `EVERY_S` seconds. `rate` 0: all.

    One second's worth may pass at once. Callers are served in the order they came.
    """

    def __init__(
        self,
        rate: float,
        *,
        growth: float = GROWTH,
        every: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rate, self._growth, self._every, self._clock, self._sleep = rate, growth, every, clock, sleep
        self._since = self._at = clock()
        self._tokens = rate
        self._turn = asyncio.Lock()

    def rate(self) -> float:
        """Operations a second that may pass now; 0 means any number."""
        return float(self._rate * self._growth ** ((self._clock() - self._since) // self._every))

    async def take(self, count: int) -> None:
        """Returns when `count` more operations may go. More than a second's worth waits for its whole share."""
        if not self._rate:
            return
        async with self._turn:
            while True:
                rate, at = self.rate(), self._clock()
                self._tokens = min(self._tokens + (at - self._at) * rate, max(rate, float(count)))
                self._at = at
                if self._tokens >= count:
                    self._tokens -= count
                    return
                await self._sleep((count - self._tokens) / rate)
