"""A deadline that does not blame the other side for a pause of our own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

STALL_SECONDS = 0.005
GRACE_SECONDS = 0.01


class Limit:
    """Calls `then` after some seconds unless cancelled.

    When the event loop itself was late, answers may lie unread in the socket: it gets GRACE_SECONDS to read them, once.
    """

    __slots__ = ("_args", "_due", "_graced", "_handle", "_then")

    def __init__(self, seconds: float, then: Callable[..., None], *args: Any) -> None:
        loop = asyncio.get_running_loop()
        self._then, self._args = then, args
        self._due = loop.time() + seconds
        self._graced = False
        self._handle = loop.call_at(self._due, self._fire)

    def _fire(self) -> None:
        loop = asyncio.get_running_loop()
        if not self._graced and loop.time() - self._due > STALL_SECONDS:
            self._graced = True
            self._handle = loop.call_later(GRACE_SECONDS, self._fire)
        else:
            self._then(*self._args)

    def cancel(self) -> None:
        """Nothing will be called."""
        self._handle.cancel()
