"""One TCP connection with a buffer, backpressure both ways, and a way to notice that the other side has gone.

asyncio's streams would do but for two things the front door needs: to see the end of a connection while not reading
from it (a browser that left an event stream), and to abort one from a timer without cancelling whoever uses it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

HEAD_CAP = 64 * 1024
"""Bytes of a request's or response's head."""
READ_AHEAD = 256 * 1024
WRITE_AHEAD = 256 * 1024


class HeadTooLarge(Exception):
    """The head did not end within HEAD_CAP bytes."""


class Connection(asyncio.Protocol):
    """One connection. `gone` is true when the peer has closed it; what arrived before can still be read."""

    def __init__(
        self,
        accepted: Callable[[Connection], None] | None = None,
        ended: Callable[[Connection], None] | None = None,
    ) -> None:
        self.buffer = bytearray()
        self.gone = False
        self.lost = False
        self.on_gone: Callable[[], None] | None = None
        self.peer = ""
        self.received = 0
        self._accepted = accepted
        self._ended = ended
        self._transport: asyncio.Transport | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writers: list[asyncio.Future[None]] = []
        self._writable = True
        self._paused = False
        self._deaf = False

    # -- called by the event loop ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_AHEAD)
        # asyncio does it only for sockets that were made with the protocol spelt out. Without it an answer in two writes
        # waits 40 ms for the peer's delayed acknowledgement.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address = transport.get_extra_info("peername")
        self.peer = address[0] if address else ""
        if self._accepted is not None:
            self._accepted(self)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self.received += len(data)
        self.buffer += data
        if len(self.buffer) > READ_AHEAD and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._is_gone()
        return not self._deaf  # true: what we still have to say may be said

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._is_gone()
        self.resume_writing()
        if self._ended is not None:
            self._ended(self)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        for writer in self._writers:
            if not writer.done():
                writer.set_result(None)
        self._writers.clear()

    # -- reading --------------------------------------------------------------------------------------------------

    async def head(self) -> bytes:
        """Everything up to and with the empty line; b"" when the connection ended before one byte came.

        Raises HeadTooLarge, and EOFError when the connection ended in the middle of it.
        """
        looked = 0
        while True:
            end = self.buffer.find(b"\r\n\r\n", max(0, looked - 3))
            if 0 <= end <= HEAD_CAP - 4:
                return self.take(end + 4)
            looked = len(self.buffer)
            if end >= 0 or looked > HEAD_CAP:
                raise HeadTooLarge
            if self.gone:
                if looked:
                    raise EOFError
                return b""
            await self._more()

    async def some(self) -> bytes:
        """What has arrived, at least one byte; b"" at the end of the connection."""
        while not self.buffer:
            if self.gone:
                return b""
            await self._more()
        return self.take(len(self.buffer))

    def take(self, count: int) -> bytes:
        """The first `count` bytes of the buffer, which must be there."""
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        if self._paused and len(self.buffer) <= READ_AHEAD // 2 and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    def untake(self, data: bytes) -> None:
        """Give back bytes that belong to what comes next."""
        self.buffer[:0] = data

    # -- writing --------------------------------------------------------------------------------------------------

    async def send(self, data: bytes) -> None:
        """Write; waits while the peer is slow. Raises ConnectionResetError when the connection is lost."""
        if self.lost or self._transport is None:
            raise ConnectionResetError
        self._transport.write(data)
        if not self._writable:
            writer = asyncio.get_running_loop().create_future()
            self._writers.append(writer)
            await writer
            if self.lost:
                raise ConnectionResetError

    def close(self) -> None:
        """Close when all that was written has been sent, at once when `close_politely` is not under way."""
        if self._transport is not None and not self._deaf:
            self._transport.close()

    def abort(self) -> None:
        """Close now; the peer can tell that something is missing."""
        if self._transport is not None:
            self._transport.abort()

    def close_politely(self, linger_s: float = 0.5) -> None:
        """Close after an answer to a request that was not read to its end: a plain close would make the kernel throw
        the answer away together with the unread bytes (RFC 9112, 9.6)."""
        if self.lost or self._transport is None:
            return
        self._deaf = True
        self.buffer.clear()
        if self._paused:
            self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(linger_s, self._transport.close)

    # -- inside ---------------------------------------------------------------------------------------------------

    async def _more(self) -> None:
        self._reader = asyncio.get_running_loop().create_future()
        await self._reader

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _is_gone(self) -> None:
        self.gone = True
        self._wake()
        if self.on_gone is not None:
            on_gone, self.on_gone = self.on_gone, None
            on_gone()


async def connect(host: str, port: int) -> Connection:
    """A connection to a server. Raises OSError when there is none."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, host, port)
    return connection
