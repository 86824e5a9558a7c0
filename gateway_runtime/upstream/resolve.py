"""The addresses of an upstream's host: looked up off the loop, by one thread, and never waited for without end."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

FRESH_SECONDS = 30.0
KEPT_SECONDS = 300.0
"""How long old addresses do when the name server does not answer."""

Found = Sequence[tuple[Any, ...]]
"""Rows as `socket.getaddrinfo` returns them."""


class Resolver:
    """One host. asyncio's own look-ups share a few threads per process, so that one dead name server would stop the
    look-ups of every upstream; here each host has at most one thread, and callers share its answer.
    """

    def __init__(self, host: str, port: int, *, lookup: Callable[[str, int], Found] | None = None) -> None:
        self._host, self._port = host, port
        self._lookup = lookup or _lookup
        self._flight: asyncio.Future[None] | None = None
        self._addresses: list[str] = []
        self._at = 0.0
        self._error: Exception | None = None
        try:
            ipaddress.ip_address(host)
            self._literal = True
            self._addresses = [host]
        except ValueError:
            self._literal = False

    async def addresses(self) -> list[str]:
        """IP addresses in the order to try them. OSError or UnicodeError when the name has none.

        Waits only when nothing usable is known. Old addresses are used while new ones are looked up.
        """
        if self._literal:
            return self._addresses
        loop = asyncio.get_running_loop()
        age = loop.time() - self._at
        if not self._addresses or age > FRESH_SECONDS:
            flight = self._start(loop)
            if not self._addresses or age > KEPT_SECONDS:
                await asyncio.shield(flight)
                if self._error is not None:
                    raise OSError(f"{self._host}: {self._error}") from self._error
        return self._addresses

    def prefer(self, address: str) -> None:
        """This one answered: it is tried first from now on."""
        if self._addresses and self._addresses[0] != address and address in self._addresses:
            self._addresses = [address, *(each for each in self._addresses if each != address)]

    def _start(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        if self._flight is None or self._flight.done():
            self._flight = loop.create_future()
            threading.Thread(target=self._run, args=(loop,), name=f"dns {self._host}", daemon=True).start()
        return self._flight

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        found: Found = ()
        error: Exception | None = None
        try:
            found = self._lookup(self._host, self._port)
        except (OSError, UnicodeError) as fault:
            error = fault
        try:
            loop.call_soon_threadsafe(self._arrived, loop, found, error)
        except RuntimeError:  # the loop has ended meanwhile
            return

    def _arrived(self, loop: asyncio.AbstractEventLoop, found: Found, error: Exception | None) -> None:
        addresses = list(dict.fromkeys(str(row[4][0]) for row in found))
        self._error = error or (None if addresses else OSError("no address"))
        if addresses:
            self._addresses, self._at = addresses, loop.time()
        if self._flight is not None and not self._flight.done():
            self._flight.set_result(None)


def _lookup(host: str, port: int) -> Found:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
