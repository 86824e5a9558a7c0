"""One exchange with an upstream: ask, wait within one deadline, hand the answer on while it arrives."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from time import monotonic
from typing import Literal

from gateway_runtime.errors import Problem
from gateway_runtime.media import is_stream
from gateway_runtime.setting_types import UpstreamUrl
from gateway_runtime.upstream.connection import Connection, Stale, Unanswered
from gateway_runtime.upstream.deadlines import Deadline
from gateway_runtime.upstream.pool import CONNECT_SECONDS, IDLE_SECONDS, Pool

IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))
FRESH_SECONDS = 2.0
"""How long a connection may have been idle for a request that cannot be sent twice."""
NEW = -1.0
"""No kept connection is this fresh: a new one is made."""
STREAM_IDLE_SECONDS = 60.0
"""Of a stream (`media`): after the head, the deadline counts from piece to piece."""

NO_DEADLINE = Deadline(math.inf, math.inf)

Watcher = Callable[[Connection | None], None]


class Expired(Problem):
    """The budget is used up: 504, or 408 while the request's own body was waited for. `blame` says whose time it was."""

    def __init__(self, blame: Literal["upstream", "caller"], reason: str, *, code: str = "GATEWAY_TIMEOUT") -> None:
        super().__init__(code, reason=reason)
        self.blame = blame
        self.callers = blame == "caller"


class Ask:
    """A request to an upstream. `body` is what is at hand, `rest` what is still coming from the client."""

    __slots__ = ("body", "fields", "method", "rest", "target")

    def __init__(
        self, method: str, target: str, fields: bytes, body: bytes = b"", rest: AsyncIterator[bytes] | None = None
    ) -> None:
        self.method = method
        self.target = target
        self.fields = fields
        self.body = body
        self.rest = rest

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent twice (RFC 9110 9.2.2), and could be."""
        return self.rest is None and self.method in IDEMPOTENT

    def head(self, budget: bytes = b"") -> bytes:
        """The head as it goes over the wire; `budget` is the field line of what is left of the deadline."""
        return f"{self.method} {self.target} HTTP/1.1\r\n".encode("ascii") + self.fields + budget + b"\r\n"


class Answer:
    """What an upstream answered. `close` must be called, and may be called often: it gives the connection back."""

    __slots__ = ("_connection", "_finish", "ended", "headers", "sent_at", "status")

    def __init__(self, connection: Connection, finish: Callable[[Connection], None]) -> None:
        self.status = connection.status
        self.headers = connection.headers
        self.sent_at = connection.sent_at
        self._connection: Connection | None = connection
        self._finish = finish
        self.ended: Callable[[Connection], None] | None = None
        """Hears once, just before the connection goes back, how the exchange ended."""

    @property
    def whole(self) -> bool:
        """Whether all of the body is here already."""
        return self._connection is None or self._connection.whole

    @property
    def is_stream(self) -> bool:
        """Whether its media type says that it has no end by design."""
        return any(name == b"content-type" and is_stream(value) for name, value in self.headers)

    async def read(self) -> bytes:
        """The whole body."""
        return b"".join([piece async for piece in self.stream()])

    async def stream(self) -> AsyncIterator[bytes]:
        """The body, piece by piece; Problem when it ends early."""
        try:
            while self._connection is not None:
                piece = await self._connection.piece()
                if piece:
                    yield piece
                if self._connection.whole and not self._connection.pieces:
                    return
        finally:
            self.close()

    def take(self) -> bytes:
        """The body of an answer that is whole."""
        body = b"".join(self._connection.pieces) if self._connection else b""
        self.close()
        return body

    def close(self) -> None:
        """Gives the connection back, or closes it when the answer was not read to its end."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            if self.ended is not None:
                self.ended(connection)
            self._finish(connection)


class Expiry:
    """Breaks an exchange off when its time is over: at the deadline, or for a stream after `idle` seconds of silence.

    One per connection. Its timer outlives the exchange it was set for and is set anew only when it would come too late:
    when it comes too early it sets itself again, so that a busy connection has one timer in 30 s and not one per request.
    """

    __slots__ = ("_connection", "_deadline", "_due", "_handle", "_idle", "_loop", "_streams")

    def __init__(self, connection: Connection, idle: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._deadline = NO_DEADLINE
        self._idle = idle
        self._due = math.inf
        self._streams = False
        self._handle: asyncio.TimerHandle | None = None

    def begin(self, deadline: Deadline) -> None:
        """An exchange starts that may take so long."""
        self._deadline, self._streams = deadline, False
        self._ring(deadline.at)

    def stream(self) -> None:
        """The head of a stream has come: from now on silence counts, not the total."""
        if self._due < math.inf:
            self._streams = True
            self._ring(monotonic() + self._idle)

    def end(self) -> None:
        """The exchange has ended."""
        self._due = math.inf
        if self._handle is not None and not self._connection.open:
            self._handle.cancel()
            self._handle = None

    def _ring(self, due: float) -> None:
        self._due = due
        if due < math.inf and (self._handle is None or self._handle.when() > due):
            if self._handle is not None:
                self._handle.cancel()
            self._handle = self._loop.call_at(due, self._rung)

    def _rung(self) -> None:
        self._handle = None
        if monotonic() < self._due:
            if self._due < math.inf:
                self._ring(self._due)
        elif self._streams:
            self._silent()
        else:
            self._over()

    def _over(self) -> None:
        connection = self._connection
        if connection.paused:
            connection.break_off(Expired("caller", "the client read too slowly"))
        elif connection.uploading:
            connection.break_off(Expired("caller", "the client sent too slowly", code="REQUEST_TIMEOUT"))
        elif self._deadline.callers:
            connection.break_off(Expired("caller", "the caller's own budget"))
        else:
            connection.break_off(Expired("upstream", "deadline"))

    def _silent(self) -> None:
        now = monotonic()
        due = now + self._idle if self._connection.paused else self._connection.heard_at + self._idle
        if due <= now:
            self._connection.break_off(Expired("upstream", "a stream fell silent"))
        else:
            self._ring(due)


class Client:
    """The way to one upstream. `timeout` bounds an exchange that is asked for without a deadline."""

    def __init__(
        self,
        url: UpstreamUrl,
        *,
        timeout: float,
        connect: float = CONNECT_SECONDS,
        stream_idle: float = STREAM_IDLE_SECONDS,
        ca_file: str = "",
    ) -> None:
        self.url = url
        self._timeout = timeout
        self._stream_idle = stream_idle
        self._pool = Pool(url, connect=connect, ca_file=ca_file)

    async def ask(self, ask: Ask, *, deadline: Deadline | None = None, watch: Watcher | None = None) -> Answer:
        """The answer, its head at least. Problem: 502 malformed or cut off, 503 no connection, 504 too late; Unanswered
        among them when not a byte had come.

        A request that may be sent twice is sent again, once, when a kept connection turns out to have been closed before
        a byte came back: that says nothing about the upstream. `watch` gets the connection as soon as there is one, and None
        when it is given back: from then on it may be another request's.
        """
        if deadline is None:
            deadline = Deadline(monotonic() + self._timeout, self._timeout)
        try:
            return await self._once(ask, deadline, watch, IDLE_SECONDS if ask.repeatable else FRESH_SECONDS)
        except Stale:
            if not ask.repeatable:
                raise Problem("BAD_GATEWAY", reason="closed before it answered") from None
        try:
            return await self._once(ask, deadline, watch, NEW)
        except Stale:
            raise Unanswered("BAD_GATEWAY", reason="closed before it answered") from None

    def close(self) -> None:
        """Closes the idle connections."""
        self._pool.close()

    async def _once(self, ask: Ask, deadline: Deadline, watch: Watcher | None, idle: float) -> Answer:
        loop = asyncio.get_running_loop()
        pool = self._pool
        connection = pool.kept(idle) or await self._connect(deadline)
        now = monotonic()
        expiry = connection.expiry
        if expiry is None:
            expiry = connection.expiry = Expiry(connection, self._stream_idle)
        expiry.begin(deadline)
        pump: asyncio.Task[None] | None = None

        def finish(connection: Connection) -> None:
            expiry.end()
            if pump is not None and not pump.done():
                pump.cancel()
                connection.close()
            if watch is not None:
                watch(None)
            pool.give(connection)

        try:
            if watch is not None:
                watch(connection)
            connection.send(ask.method.encode("ascii"), ask.head(deadline.field(now)) + ask.body)
            if ask.rest is not None:
                pump = loop.create_task(_pump(connection, ask.rest))
            await connection.answer()
        except BaseException:
            connection.close()
            finish(connection)
            raise
        answer = Answer(connection, finish)
        if not connection.whole and answer.is_stream:
            expiry.stream()
        return answer

    async def _connect(self, deadline: Deadline) -> Connection:
        left = deadline.left(monotonic())
        if left <= 0:
            raise Expired("caller" if deadline.callers else "upstream", "deadline")
        try:
            return await self._pool.connect(left)
        except Unanswered:
            if deadline.callers and deadline.left(monotonic()) <= 0:
                raise Expired("caller", "the caller's own budget") from None
            raise


async def _pump(connection: Connection, rest: AsyncIterator[bytes]) -> None:
    """Sends the body's remaining pieces. A fault of the client's ends the exchange with that fault."""
    try:
        connection.uploading = True
        async for piece in rest:
            connection.uploading = False
            connection.write(piece)
            await connection.drain()
            if not connection.open:
                return
            connection.uploading = True
        connection.uploading = False
        connection.sent_at = monotonic()
    except Exception as fault:  # noqa: BLE001  it reaches the waiting exchange, which answers for it
        connection.break_off(fault)
