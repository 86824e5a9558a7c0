"""The connections kept open to one upstream."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from functools import cache
from time import monotonic

from gateway_runtime.setting_types import UpstreamUrl
from gateway_runtime.upstream.connection import Connection, Unanswered
from gateway_runtime.upstream.resolve import Resolver

CONNECT_SECONDS = 5.0
IDLE_SECONDS = 30.0
RETRY = ((b"retry-after", b"1"),)


class Pool:
    """The last used connection is taken first. How many exchanges there may be is the bulkhead's business.

    `ca_file` names the only authorities trusted over TLS; without it, the system's.
    """

    def __init__(self, url: UpstreamUrl, *, connect: float = CONNECT_SECONDS, ca_file: str = "") -> None:
        self._url = url
        self._connect_seconds = connect
        self._idle: deque[Connection] = deque()
        self._resolver = Resolver(url.host, url.port)
        self._ca_file = ca_file

    def kept(self, idle: float) -> Connection | None:
        """A connection that has been idle for at most `idle` seconds, when there is one."""
        now = monotonic()
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

    async def connect(self, within: float) -> Connection:
        """A new connection; Unanswered (503) when none is there in time, name look-up and TLS included."""
        try:
            async with asyncio.timeout(min(self._connect_seconds, within)):
                return await self._any(await self._resolver.addresses())
        except TimeoutError:
            raise Unanswered("SERVICE_UNAVAILABLE", headers=RETRY, reason="no connection in time") from None
        except (OSError, UnicodeError) as error:
            raise Unanswered("SERVICE_UNAVAILABLE", headers=RETRY, reason=f"no connection: {error}") from error

    def give(self, connection: Connection) -> None:
        """Takes a connection back; it is kept only if its answer was whole and it can carry another."""
        if connection.reset():
            self._idle.append(connection)

    def close(self) -> None:
        """Closes what is idle."""
        while self._idle:
            self._idle.pop().close()

    async def _any(self, addresses: list[str]) -> Connection:
        """The first address that takes a connection; each but the last gets its share of the time."""
        share = self._connect_seconds / len(addresses)
        for number, address in enumerate(addresses, start=1):
            try:
                async with asyncio.timeout(share if number < len(addresses) else None):
                    connection = await self._one(address)
            except (OSError, TimeoutError):
                if number == len(addresses):
                    raise
            else:
                self._resolver.prefer(address)
                return connection
        raise OSError("no address")

    async def _one(self, address: str) -> Connection:
        tls, name = (tls_to(self._ca_file), self._url.host) if self._url.tls else (None, None)
        _, connection = await asyncio.get_running_loop().create_connection(
            Connection, address, self._url.port, ssl=tls, server_hostname=name
        )
        return connection


@cache
def tls_to(ca_file: str) -> ssl.SSLContext:
    """What a TLS connection must show. Made once, when it is first needed: reading the system's authorities takes as long
    as a good part of a start. OSError (ssl.SSLError among them) when the file holds no certificate.
    """
    context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
