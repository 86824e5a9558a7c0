"""A TCP proxy that hands on every byte so many milliseconds later, each way: `python -m benchmarks.contacts.delay PORT MS`.

It prints the port it listens on. A process of its own, so that it takes no time from the client that is measured.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque


class Side(asyncio.Protocol):
    """One half of a connection; what it receives goes to `other` when its time has come."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.other: Side | None = None
        self._wire: asyncio.Transport | None = None
        self._waiting: deque[tuple[float, bytes | None]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._wire = transport
        transport.set_write_buffer_limits(high=1 << 30)
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._pass(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pass(None)

    def _pass(self, data: bytes | None) -> None:
        loop = asyncio.get_running_loop()
        if self.other is not None:
            self.other._waiting.append((loop.time() + self._seconds, data))
            loop.call_later(self._seconds, self.other._flush)

    def _flush(self) -> None:
        now = asyncio.get_running_loop().time() + 0.0002
        while self._wire is not None and self._waiting and self._waiting[0][0] <= now:
            data = self._waiting.popleft()[1]
            if data is None:
                self._wire.close()
            else:
                self._wire.write(data)


async def serve(upstream: int, seconds: float) -> None:
    """Listens until it is killed."""
    loop = asyncio.get_running_loop()

    def made() -> Side:
        near, far = Side(seconds), Side(seconds)
        near.other, far.other = far, near
        far_task = loop.create_task(loop.create_connection(lambda: far, "127.0.0.1", upstream))
        tasks.add(far_task)
        far_task.add_done_callback(tasks.discard)
        return near

    tasks: set[asyncio.Task[object]] = set()
    server = await loop.create_server(made, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1000))
