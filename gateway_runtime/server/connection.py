"""One client's connection: reads heads, gives them to the application one at a time, keeps the order, closes.

Four states. HEAD: waiting for a head, or inside one. BODY: a request is with the application and its body is arriving. BUSY:
its body is here, the answer is not out; what arrives belongs to the next request and is kept, up to HIGH_WATER. CLOSING: the
last answer is out; what still arrives is dropped for LINGER_SECONDS, so that the client can read it (RFC 9112 9.6).
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from gateway_runtime.errors import Problem
from gateway_runtime.server.answers import refusal
from gateway_runtime.server.body import Framing, framing
from gateway_runtime.server.exchange import Exchange
from gateway_runtime.server.head import Head
from gateway_runtime.server.limits import DRAIN_GRACE, HIGH_WATER, LINGER_HEAD, LINGER_SECONDS, LINGER_UPLOAD
from gateway_runtime.server.sweep import TICK, Taking, hung_up, unsent

if TYPE_CHECKING:
    from gateway_runtime.server.front import Front

NEVER = float("inf")
_CR = 13
HEAD, BODY, BUSY, CLOSING = range(4)


class Connection(asyncio.Protocol):
    """What asyncio, uvicorn and the sweep call; and what an Exchange needs of its connection."""

    __slots__ = (
        "_body",
        "_buffer",
        "_deadline",
        "_exchange",
        "_fresh",
        "_head_bytes",
        "_heard",
        "_idle",
        "_paused",
        "_state",
        "_taking",
        "_to_drop",
        "_upload_clock",
        "_uploaded",
        "_writable",
        "client",
        "front",
        "server",
        "transport",
        "written",
    )  # fmt: skip

    def __init__(self, front: Front) -> None:
        self.front = front
        self.transport: asyncio.Transport
        self.client: tuple[str, int] | None = None
        self.server: tuple[str, int] | None = None
        self.written = 0
        self._state = HEAD
        self._buffer = b""
        self._exchange: Exchange | None = None
        self._body: Framing | None = None
        self._deadline = NEVER
        self._fresh = True
        """Whether nothing of a request has arrived since the last answer, or since the start."""
        self._idle = False
        """Whether an answer has gone out on it: then waiting for a head is being idle."""
        self._head_bytes = front.limits.head_bytes
        self._paused = False
        self._writable: asyncio.Event | None = None
        self._taking: Taking | None = None
        self._heard = 0.0
        self._uploaded = 0
        self._upload_clock = 0.0
        self._to_drop = 0

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        # Bytes a read may bring: asyncio's own 256 KiB would be copied once for every small request in them.
        transport.max_size = HIGH_WATER  # type: ignore[attr-defined]
        front = self.front
        peer, here = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        self.client = tuple(peer[:2]) if peer else None
        self.server = tuple(here[:2]) if here else None
        front.sweep.add(self)
        if front.full():
            self.refuse(Problem("OVERLOADED", headers=[(b"retry-after", b"1")]))
            if front.crowded():  # no descriptors to spare for waiting until each has read why
                self.transport.close()
            return
        front.connections.add(self)
        self._deadline = front.sweep.now + front.limits.head_seconds + TICK

    def data_received(self, data: bytes) -> None:
        if self._state == HEAD:
            size = len(data)
            # The usual case: one read, one whole head.
            if not self._buffer and 3 < size == data.find(b"\r\n\r\n") + 4 <= self._head_bytes and data[0] != _CR:
                self._begin(data)
            else:
                self._buffer += data
                self._look_for_head()
        elif self._state == BODY:
            rest = self._take_body(data)
            if rest:
                self._keep(rest)
        elif self._state == BUSY:
            self._keep(data)
        else:
            self._to_drop -= len(data)
            if self._to_drop < 0:
                self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.front.sweep.discard(self)
        self.front.connections.discard(self)
        self._state, self._buffer = CLOSING, b""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.leave()
        self.resume_writing()

    def pause_writing(self) -> None:
        self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    # uvicorn

    def shutdown(self) -> None:
        """The process stops: the request in flight is answered, then the connection ends."""
        self.front.draining = True
        if self._exchange is not None:
            self._exchange.keep_alive = False
        else:
            self._deadline = min(self._deadline, self.front.sweep.now + TICK + DRAIN_GRACE)

    # the sweep

    def check(self, now: float, since: float) -> None:
        """Looks at the deadlines of this connection, and for its client's end where nobody reads."""
        limits = self.front.limits
        if self._paused and not self.transport.is_closing() and hung_up(self.transport):
            self.transport.close()  # what asyncio does at an end that it reads: what was written still goes out
        waiting = unsent(self.transport)
        if not waiting:
            self._taking = None
        elif self._taking is None:
            self._taking = Taking(now, self.written - waiting)
        elif self._taking.stalled(
            now, self.written - waiting, seconds=limits.write_seconds + TICK, rate=limits.write_rate
        ):
            self.transport.abort()
            return
        if now >= self._deadline:
            self._expire()
        elif self._state == BODY and not self._paused and self._exchange is not None and not self._exchange.expects:
            self._upload_clock += now - since
            beyond = self._upload_clock - limits.body_seconds - TICK
            if now - self._heard > limits.body_seconds + TICK or self._uploaded < beyond * limits.body_rate:
                self._break(Problem("REQUEST_TIMEOUT", "The body of the request did not arrive in time"))

    def _expire(self) -> None:
        if self._state == CLOSING:
            self.transport.abort()
        elif self._fresh:
            self.transport.close()  # silent from the start, or idle: there is no request to answer
            self._state, self._deadline = CLOSING, NEVER
        else:
            self.refuse(Problem("REQUEST_TIMEOUT", "The head of the request did not arrive in time"))

    # requests

    def _look_for_head(self) -> None:
        """Begins the next request if its head is in the buffer; refuses it if it can only be refused."""
        if self._fresh:
            if self._buffer[:2] == b"\r\n":  # one stray line break after a body is forgiven (RFC 9112 2.2)
                self._buffer = self._buffer[2:]
            if self._buffer in (b"", b"\r"):
                return
            self._fresh = False
            if self._idle:
                self._deadline = self.front.sweep.now + self.front.limits.head_seconds + TICK
        data = self._buffer
        end = data.find(b"\r\n\r\n") + 4
        if 4 <= end <= self._head_bytes:
            self._buffer = data[end:]
            self._begin(data if end == len(data) else data[:end])
            return
        try:
            self.front.heads.check_part(data if end < 4 else data[:end])
        except Problem as problem:
            self.refuse(problem)

    def _begin(self, data: bytes) -> None:
        front = self.front
        self._fresh = False
        try:
            head = front.heads.read(data)
        except Problem as problem:
            self.refuse(problem)
            return
        if head.upgrade and front.switches(head):
            self._switch(data)
            return
        self._deadline = NEVER
        self._exchange = exchange = Exchange(self, head)
        if front.draining:
            exchange.keep_alive = False
        if head.length == 0:
            self._state = BUSY
        else:
            self._expect_body(head)
        # What loop.create_task does, without a name that nobody reads.
        exchange.task = task = asyncio.Task(exchange.run(), loop=front.loop)
        front.tasks.add(task)

    def _expect_body(self, head: Head) -> None:
        self._state = BODY
        self._body = framing(head.length, self.front.limits)
        self._heard, self._uploaded, self._upload_clock = self.front.sweep.now, 0, 0.0
        if self._buffer:
            self._buffer = self._take_body(self._buffer)

    def _take_body(self, data: bytes) -> bytes:
        """Passes body bytes on; returns what follows the body."""
        assert self._body is not None
        assert self._exchange is not None
        self._heard = self.front.sweep.now
        try:
            piece, rest = self._body.feed(data)
        except Problem as problem:
            self._break(problem)
            return b""
        self._uploaded += len(piece)
        if self._body.done:
            self._state, self._body = BUSY, None
        # A body that is whole can grow no more: reading goes on, and so a client that leaves is heard at once.
        if self._exchange.arrived(piece, self._state == BUSY) > HIGH_WATER and self._state == BODY:
            self.pause_reading()
        return rest

    def _break(self, problem: Problem) -> None:
        """The body will never be whole: the application hears why when it reads on, and the connection ends."""
        assert self._exchange is not None
        self.pause_reading()
        self._exchange.fail(problem)

    def _keep(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > HIGH_WATER:
            self.pause_reading()

    def _switch(self, data: bytes) -> None:
        """Hands the connection to a WebSocket protocol, which reads the checked head once more."""
        front, rest = self.front, self._buffer
        if not front.loaded:
            self._state, self._deadline = BUSY, NEVER
            self.pause_reading()
            task = front.loop.create_task(front.load())
            front.tasks.add(task)
            task.add_done_callback(partial(self._loaded, data))
            return
        self.resume_reading()
        front.sweep.discard(self)
        front.connections.discard(self)
        self._buffer, self._deadline = b"", NEVER
        websocket = front.websocket()
        websocket.connection_made(self.transport)
        self.transport.set_protocol(websocket)
        websocket.data_received(data + rest)

    def _loaded(self, data: bytes, task: asyncio.Task[None]) -> None:
        self.front.tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self.front.logger.error("The WebSocket protocol cannot be loaded", exc_info=fault)
        if self._state != BUSY:  # it was lost meanwhile
            return
        if self.front.loaded:
            self._switch(data)
        else:
            self.refuse(Problem("SERVICE_UNAVAILABLE"))

    # what an exchange needs

    async def writable(self) -> None:
        """Waits until the client has taken enough of what was written."""
        while self._writable is not None:
            await self._writable.wait()

    @property
    def blocked(self) -> bool:
        """Whether `writable` would wait."""
        return self._writable is not None

    def write(self, data: bytes) -> None:
        self.written += len(data)
        self.transport.write(data)

    def pause_reading(self) -> None:
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def listen(self, first: bytes) -> None:
        """The application reads on; `first` is what the client waits for before it sends."""
        if first:
            self._heard = self.front.sweep.now
            self.write(first)
        self.resume_reading()

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._heard = self.front.sweep.now
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def answered(self, exchange: Exchange) -> None:
        """The answer is out: the next request, or the end."""
        if exchange is not self._exchange:
            return
        front = self.front
        front.server_state.total_requests += 1
        self._exchange = None
        if exchange.keep_alive and self._state == BUSY:
            self._state, self._fresh, self._idle = HEAD, True, True
            self._deadline = front.sweep.now + front.limits.idle_seconds + TICK
            if self._buffer:
                self._look_for_head()
            # Only now: what is still in the buffer is bounded, however many requests the client sends ahead.
            if self._paused and len(self._buffer) <= HIGH_WATER:
                self.resume_reading()
        elif self._state == BUSY and not self._buffer and not front.draining:
            self._state, self._deadline = CLOSING, NEVER
            self.transport.close()
        else:
            self._close_gently(LINGER_UPLOAD)

    def cut_short(self, exchange: Exchange, *, framed: bool) -> None:
        """The answer cannot be finished: the connection's end says so, a reset where nothing else would."""
        self._exchange = None
        self._state, self._deadline = CLOSING, NEVER
        if framed:
            self.transport.close()
        else:
            self.transport.abort()

    def refuse(self, problem: Problem) -> None:
        """Answers a request that the application never saw, or did not answer, and ends the connection."""
        data, request_id = refusal(problem)
        self.front.refused(problem, request_id, self.client[0] if self.client else "")
        self.write(data)
        self._close_gently(LINGER_UPLOAD if self._exchange is not None else LINGER_HEAD)

    def _close_gently(self, most: int) -> None:
        """Ends the connection after what was written, without cutting off a client that is still sending."""
        self._state, self._buffer, self._body, self._exchange = CLOSING, b"", None, None
        self._to_drop = most
        self._deadline = self.front.sweep.now + TICK + (DRAIN_GRACE if self.front.draining else LINGER_SECONDS)
        self.transport.write_eof()
        self.resume_reading()
