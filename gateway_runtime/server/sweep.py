"""The one timer behind all deadlines of the server edge."""

from __future__ import annotations

import asyncio
import fcntl
import select
import struct
import sys
import termios
from typing import Protocol

TICK = 0.25
"""Seconds between two looks; deadlines are kept to within one, and never early."""


class Watched(Protocol):
    """A connection."""

    def check(self, now: float, since: float) -> None:
        """Looks at its deadlines; `since` is the time of the last look."""
        ...


class Sweep:
    """Looks at every connection four times a second, as long as there are any.

    A timer for each wait would cost each request more than its parsing; so a request only notes `now`, which is the time of
    the last look.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._watched: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._watched)

    def add(self, connection: Watched) -> None:
        """Looks at it from now on."""
        self._watched.add(connection)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self.now = loop.time()
            self._timer = loop.call_later(TICK, self._look)

    def discard(self, connection: Watched) -> None:
        """Looks at it no more."""
        self._watched.discard(connection)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        before, self.now = self.now, loop.time()
        self._timer = loop.call_later(TICK, self._look) if self._watched else None
        for connection in tuple(self._watched):
            connection.check(self.now, before)


def unsent(transport: asyncio.Transport) -> int:
    """Bytes of an answer that its client has not taken: ours, and the kernel's where it tells."""
    count = transport.get_write_buffer_size()
    if count and sys.platform == "linux":
        descriptor = transport.get_extra_info("socket").fileno()
        if descriptor >= 0:
            count += struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0" * 4))[0]
    return count


def hung_up(transport: asyncio.Transport) -> bool:
    """Whether the client has ended its side, or all of it. Seen without reading: a paused transport hears of no end, however
    long ago it was. Always False where the system does not tell (Linux does)."""
    descriptor = transport.get_extra_info("socket").fileno()
    if descriptor < 0 or not hasattr(select, "POLLRDHUP"):
        return False
    look = select.poll()
    look.register(descriptor, select.POLLRDHUP)  # an error or a reset is told unasked
    return bool(look.poll(0))


class Taking:
    """Whether a client takes an answer that waits for it."""

    __slots__ = ("_at", "_from", "_moved", "_taken")

    def __init__(self, now: float, taken: int) -> None:
        self._at = self._moved = now
        self._from = self._taken = taken

    def stalled(self, now: float, taken: int, *, seconds: float, rate: int) -> bool:
        """True once nothing was taken for so long, or less than `rate` a second on average over as long."""
        if taken > self._taken:
            self._taken, self._moved = taken, now
        if now - self._moved > seconds:
            return True
        if now - self._at <= seconds:
            return False
        slow = self._taken - self._from < rate * (now - self._at)
        self._at, self._from = now, self._taken
        return slow
