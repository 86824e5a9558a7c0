"""The connections kept open to one upstream, and how many there may be."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque

from gateway_runtime.errors import Problem
from gateway_runtime.setting_types import UpstreamUrl
from gateway_runtime.upstream.connection import Connection

SIZE = 100
CONNECT_SECONDS = 5.0
WAIT_SECONDS = 1.0
IDLE_SECONDS = 30.0


class Pool:
    """At most `size` exchanges at once; a caller past that waits `WAIT_SECONDS` and gets 503.

    One pool per upstream, so that a slow one cannot use up what another needs. The last used connection is taken first.
    """

    def __init__(self, url: UpstreamUrl, *, size: int = SIZE) -> None:
        self._url = url
        self._slots = asyncio.Semaphore(size)
        self._idle: deque[Connection] = deque()
        self._tls: ssl.SSLContext | None = ssl.create_default_context() if url.tls else None

    async def take(self, *, idle: float = IDLE_SECONDS, within: float = CONNECT_SECONDS) -> Connection:
        """A connection idle for at most `idle` seconds, or a new one made `within` seconds; Problem 503 when there is
        none.
        """
        try:
            if self._slots.locked():
                async with asyncio.timeout(min(WAIT_SECONDS, within)):
                    await self._slots.acquire()
            else:
                await self._slots.acquire()
        except TimeoutError:
            raise Problem("SERVICE_UNAVAILABLE", headers=RETRY, reason="every connection is busy") from None
        try:
            return self._kept(idle) or await self._connect(min(CONNECT_SECONDS, within))
        except BaseException:
            self._slots.release()
            raise

    def give(self, connection: Connection) -> None:
        """Takes a connection back; it is kept only if its answer was whole and it can carry another."""
        self._slots.release()
        if connection.reset():
            self._idle.append(connection)

    def close(self) -> None:
        """Closes what is idle."""
        while self._idle:
            self._idle.pop().close()

    def _kept(self, idle: float) -> Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle and (not self._idle[0].open or now - self._idle[0].idle_since > IDLE_SECONDS):
            self._idle.popleft().close()
        while self._idle:
            if not self._idle[-1].open:
                self._idle.pop()
            elif now - self._idle[-1].idle_since > idle:
                return None
            else:
                return self._idle.pop()
        return None

    async def _connect(self, seconds: float) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                _, connection = await loop.create_connection(Connection, self._url.host, self._url.port, ssl=self._tls)
        except TimeoutError:
            raise Problem("SERVICE_UNAVAILABLE", headers=RETRY, reason="no connection in time") from None
        except (OSError, UnicodeError) as error:
            raise Problem("SERVICE_UNAVAILABLE", headers=RETRY, reason=f"no connection: {error}") from error
        return connection


RETRY = ((b"retry-after", b"1"),)
