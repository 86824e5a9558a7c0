"""One exchange with an upstream: ask, wait within one deadline, hand the answer on while it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from gateway_runtime.errors import Problem
from gateway_runtime.setting_types import UpstreamUrl
from gateway_runtime.upstream.connection import Connection, Stale
from gateway_runtime.upstream.pool import IDLE_SECONDS, Pool

IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))
FRESH_SECONDS = 2.0
"""How long a connection may have been idle for a request that cannot be sent twice."""
NEW = -1.0
"""No kept connection is this fresh: a new one is made."""


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

    def head(self) -> bytes:
        """The head as it goes over the wire."""
        return f"{self.method} {self.target} HTTP/1.1\r\n".encode("ascii") + self.fields + b"\r\n"


class Answer:
    """What an upstream answered. `close` must be called, and may be called often: it gives the connection back."""

    def __init__(self, connection: Connection, finish: Callable[[Connection], None]) -> None:
        self.status = connection.status
        self.headers = connection.headers
        self._connection: Connection | None = connection
        self._finish = finish

    @property
    def whole(self) -> bool:
        """Whether all of the body is here already."""
        return self._connection is None or self._connection.whole

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
            self._finish(connection)


class Client:
    """The way to one upstream. `timeout` bounds an exchange from the first connect to the last byte."""

    def __init__(self, url: UpstreamUrl, *, timeout: float) -> None:
        self.url = url
        self._timeout = timeout
        self._pool: Pool | None = None

    async def ask(self, ask: Ask, *, within: float = 0, watch: Callable[[Connection], None] | None = None) -> Answer:
        """The answer, its head at least. Problem: 502 malformed or cut off, 503 no connection, 504 too late.

        A request that may be sent twice (RFC 9110 9.2.2) is sent again, once, when a kept connection turns out to have
        been closed before a byte came back. `watch` gets the connection as soon as there is one.
        """
        self._pool = self._pool or Pool(self.url)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (within or self._timeout)
        idempotent = ask.method in IDEMPOTENT and ask.rest is None
        try:
            return await self._once(self._pool, ask, deadline, watch, IDLE_SECONDS if idempotent else FRESH_SECONDS)
        except Stale:
            if not idempotent:
                raise Problem("BAD_GATEWAY", reason="closed before it answered") from None
        try:
            return await self._once(self._pool, ask, deadline, watch, NEW)
        except Stale:
            raise Problem("BAD_GATEWAY", reason="closed before it answered") from None

    def close(self) -> None:
        """Closes the idle connections."""
        if self._pool is not None:
            self._pool.close()

    async def _once(
        self, pool: Pool, ask: Ask, deadline: float, watch: Callable[[Connection], None] | None, idle: float
    ) -> Answer:
        loop = asyncio.get_running_loop()
        connection = await pool.take(idle=idle, within=max(deadline - loop.time(), 0.001))
        expiry = loop.call_at(deadline, connection.break_off, Problem("GATEWAY_TIMEOUT", reason="deadline"))
        pump: asyncio.Task[None] | None = None

        def finish(connection: Connection) -> None:
            expiry.cancel()
            if pump is not None and not pump.done():
                pump.cancel()
                connection.close()
            pool.give(connection)

        try:
            if watch is not None:
                watch(connection)
            connection.send(ask.method.encode("ascii"), ask.head() + ask.body)
            if ask.rest is not None:
                pump = loop.create_task(_pump(connection, ask.rest))
            await connection.answer()
        except BaseException:
            connection.close()
            finish(connection)
            raise
        return Answer(connection, finish)


async def _pump(connection: Connection, rest: AsyncIterator[bytes]) -> None:
    """Sends the body's remaining pieces. A fault of the client's ends the exchange with that fault."""
    try:
        async for piece in rest:
            connection.write(piece)
            await connection.drain()
            if not connection.open:
                return
    except Exception as fault:  # noqa: BLE001  it reaches the waiting exchange, which answers for it
        connection.break_off(fault)
