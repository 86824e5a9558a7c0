"""Connections to instances that are kept for the next request."""

from __future__ import annotations

import time

from xgw.local.connection import Connection, connect

MOST_IDLE = 32
"""Idle connections kept to one instance."""


class Upstreams:
    """A pool by port. A connection that the instance closes leaves the pool by itself."""

    def __init__(self) -> None:
        self._idle: dict[int, list[tuple[Connection, float]]] = {}

    async def get(self, port: int, longest_idle_s: float) -> tuple[Connection, bool]:
        """A connection, and whether it was used before. Raises OSError when the instance does not accept one.

        A server closes idle connections when it likes. A request that may not be sent twice must not meet that moment,
        so it asks for a small `longest_idle_s`.
        """
        idle = self._idle.get(port, [])
        while idle:
            connection, since = idle.pop()
            connection.on_gone = None
            if not connection.gone and not connection.buffer and time.monotonic() - since <= longest_idle_s:
                return connection, True
            connection.close()
        return await connect("127.0.0.1", port), False

    def put(self, port: int, connection: Connection) -> None:
        """Keep a connection on which a whole answer was read."""
        idle = self._idle.setdefault(port, [])
        if connection.gone or connection.buffer or len(idle) >= MOST_IDLE:
            connection.close()
            return
        entry = (connection, time.monotonic())

        def left() -> None:
            connection.close()
            if entry in idle:
                idle.remove(entry)

        connection.on_gone = left
        idle.append(entry)

    def close(self) -> None:
        """Close all idle connections."""
        for idle in self._idle.values():
            for connection, _ in list(idle):
                connection.on_gone = None
                connection.close()
        self._idle.clear()
