"""Connections to instances that are kept for the next request."""

from __future__ import annotations

import time

from xgw.local.wire import Wire, connect

MOST_IDLE = 32
"""Idle connections kept to one instance."""


class Upstreams:
    """A pool by port. A connection that the instance closes leaves the pool by itself."""

    def __init__(self) -> None:
        self._idle: dict[int, list[tuple[Wire, float]]] = {}

    async def get(self, port: int, longest_idle_s: float) -> tuple[Wire, bool]:
        """A connection, and whether it was used before. Raises OSError when the instance does not accept one.

        A server closes idle connections when it likes. A request that may not be sent twice must not meet that moment,
        so it asks for a small `longest_idle_s`.
        """
        idle = self._idle.get(port, [])
        while idle:
            wire, since = idle.pop()
            wire.on_gone = None
            if not wire.gone and not wire.buffer and time.monotonic() - since <= longest_idle_s:
                return wire, True
            wire.close()
        return await connect("127.0.0.1", port), False

    def put(self, port: int, wire: Wire) -> None:
        """Keep a connection on which a whole answer was read."""
        idle = self._idle.setdefault(port, [])
        if wire.gone or wire.buffer or len(idle) >= MOST_IDLE:
            wire.close()
            return
        entry = (wire, time.monotonic())

        def left() -> None:
            wire.close()
            if entry in idle:
                idle.remove(entry)

        wire.on_gone = left
        idle.append(entry)

    def close(self) -> None:
        """Close all idle connections."""
        for idle in self._idle.values():
            for wire, _ in list(idle):
                wire.on_gone = None
                wire.close()
        self._idle.clear()
