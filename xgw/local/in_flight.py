"""How many requests each revision is answering now; what draining waits for."""

from __future__ import annotations

import asyncio
from collections import Counter


class InFlight:
    """Counted by the front door, waited for by the supervisor."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    def enter(self, revision: str) -> None:
        """A request was given to the revision."""
        self._counts[revision] += 1

    def leave(self, revision: str) -> None:
        """A request given to the revision has ended, however it ended."""
        self._counts[revision] -= 1
        if self._counts[revision] <= 0:
            del self._counts[revision]
            for waiter in self._waiting.pop(revision, []):
                if not waiter.done():
                    waiter.set_result(None)

    def count(self, revision: str) -> int:
        """Requests that the revision is answering now."""
        return self._counts.get(revision, 0)

    async def drained(self, revision: str, timeout_s: float) -> bool:
        """Wait until the revision answers no request; False when some are left after `timeout_s`."""
        if not self.count(revision):
            return True
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(revision, []).append(waiter)
        await asyncio.wait([waiter], timeout=timeout_s)
        return not self.count(revision)
