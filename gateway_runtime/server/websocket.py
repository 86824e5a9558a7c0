"""The WebSocket of the edge: uvicorn's protocol over wsproto, and what it lacks against hostile peers. Imported lazily.

A client that pings without reading the pongs makes uvicorn's copy of it grow for ever, and so does one that is said good-bye to
and reads nothing; both are cut off here. Compression is never agreed to, so that there is nothing to bomb. What is read at
once is little: empty frames cost more to take apart than to send, and everybody else is waiting meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Ping, Request, TextMessage
from wsproto.utilities import LocalProtocolError

from gateway_runtime.errors import Problem
from gateway_runtime.server.answers import refusal
from gateway_runtime.server.websocket_name import WIRE

READ_BYTES = 8192
CLOSE_SECONDS = 2.0
"""How long a client may take to answer a close, and to take what was written before it."""
PONG_BACKLOG = 65536
"""Bytes it may leave unread and still be answered pings."""


class Inbox:
    """What a client has said: asyncio.Queue as far as uvicorn needs it, without its three deques for each socket."""

    __slots__ = ("_messages", "_waiting")

    def __init__(self) -> None:
        self._messages: list[Any] = []
        self._waiting: asyncio.Future[None] | None = None

    def put_nowait(self, message: Any) -> None:
        self._messages.append(message)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def get(self) -> Any:
        while not self._messages:
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        return self._messages.pop(0)

    def empty(self) -> bool:
        return not self._messages


class Socket(WSProtocol):
    """One WebSocket connection: ASGI as uvicorn does it, and `write`, `end`, `abort` beside it, none of which waits."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.queue = Inbox()  # type: ignore[assignment]
        transport.max_size = READ_BYTES
        self.close_timeout = CLOSE_SECONDS

    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except UnicodeError:  # wsproto decodes the handshake's host, protocols and extensions, whatever they hold
            if self.handshake_complete or self.transport.is_closing():
                raise
            self.transport.write(refusal(Problem("BAD_REQUEST", "The handshake is not well formed"))[0])
            self.transport.close()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)  # starts the application, which runs only after us
        self.scope["extensions"][WIRE] = self  # type: ignore[assignment]

    def handle_ping(self, event: Ping) -> None:
        if self.backlog > PONG_BACKLOG:
            self.abort()
        elif not self.transport.is_closing():
            super().handle_ping(event)

    def handle_close(self, event: CloseConnection) -> None:
        # wsproto calls what cannot be read a close as well; uvicorn would just hang up, without saying why.
        if self.conn.state == ConnectionState.OPEN and not self.close_sent and not self.transport.is_closing():
            self.transport.write(self.conn.send(CloseConnection(code=event.code, reason=event.reason)))
        super().handle_close(event)

    async def run_asgi(self) -> None:
        await super().run_asgi()
        if not self.disconnected and self.close_timer is None:
            self.close_timer = self.loop.call_later(CLOSE_SECONDS, self.transport.abort)

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.accept" and self.handshake_complete:
            # Without the handshake and its parser, a third of what wsproto holds: a socket lives for long.
            self.conn = self.conn.connection  # type: ignore[assignment]

    @property
    def backlog(self) -> int:
        """Bytes that the client has not taken."""
        return self.transport.get_write_buffer_size() if not self.transport.is_closing() else 0

    def write(self, text: str) -> None:
        """Sends a text message; nothing once the connection is ending."""
        if self.handshake_complete and not self.close_sent and not self.transport.is_closing():
            try:
                self.transport.write(self.conn.send(TextMessage(data=text)))
            except LocalProtocolError:  # the client is closing
                self.transport.close()

    def end(self, code: int, reason: str) -> None:
        """Closes: with a close frame, and without the client's consent if that does not come in time."""
        if not self.handshake_complete or self.close_sent or self.transport.is_closing():
            return
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        try:
            self.transport.write(self.conn.send(CloseConnection(code=code, reason=reason)))
        except LocalProtocolError:
            self.transport.close()
        if self.read_paused and not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(CLOSE_SECONDS, self.transport.abort)

    def abort(self) -> None:
        """Ends the connection at once."""
        self.transport.abort()
