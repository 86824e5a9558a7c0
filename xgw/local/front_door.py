"""The address of each service: one loopback port a service and one a tag; requests go to revisions by weight.

Each request is given to a revision by itself, also those that share a connection; a WebSocket stays where it was
opened. New routes hold for the next request; requests in flight end where they are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from xgw.local.connection import Connection, HeadTooLarge
from xgw.local.exchange import Exchange, refusal
from xgw.local.http_wire import Malformed, Request, parse_request
from xgw.local.in_flight import InFlight
from xgw.local.instances import Route
from xgw.local.promised_ports import PromisedPorts
from xgw.local.slot import Place
from xgw.local.stores import MetricStore
from xgw.local.upstreams import Upstreams
from xgw.local.weights import Weights

IDLE_S = 75.0
"""A client's connection without a whole request head is closed after this time."""


@dataclass(frozen=True)
class Routing:
    """Where the requests of one service go."""

    routes: tuple[Route, ...]
    weights: Weights
    tags: Mapping[str, str]


def _routing(routes: Sequence[Route]) -> Routing:
    weights = Weights([(route.revision, route.percent) for route in routes])
    return Routing(tuple(routes), weights, {route.tag: route.revision for route in routes if route.tag})


Key = tuple[str, str]
"""Service and tag; the tag is empty for the service's own address."""


class FrontDoor:
    """Implements xgw.local.instances.FrontDoor. Lives on one event loop."""

    def __init__(
        self, ports_file: Path, place: Callable[[str], Place | None], in_flight: InFlight, metrics: MetricStore
    ) -> None:
        self._ports = PromisedPorts(ports_file)
        self._place = place
        self._in_flight = in_flight
        self._metrics = metrics
        self._pool = Upstreams()
        self._routing: dict[str, Routing] = {}
        self._servers: dict[Key, asyncio.Server] = {}
        self._connections: set[Connection] = set()
        self._serving: set[asyncio.Task[None]] = set()

    def claim(self) -> None:
        """Take every port promised before. Raises XgwError, which names the port, when one cannot be had."""
        self._ports.hold_all()

    async def set_routes(self, service: str, routes: Sequence[Route]) -> None:
        """See the protocol."""
        routing = _routing(routes)
        wanted = {(service, ""), *((service, tag) for tag in routing.tags)}
        for key in wanted:
            await self._open(key)
        self._routing[service] = routing
        for key in [key for key in self._servers if key[0] == service and key not in wanted]:
            self._close(key)

    async def remove(self, service: str) -> None:
        """See the protocol."""
        self._routing.pop(service, None)
        for key in [key for key in self._servers if key[0] == service]:
            self._close(key)
        self._ports.withdraw(service)

    def service_url(self, service: str) -> str:
        """See the protocol. Raises XgwError when the port that was promised before is taken by somebody else."""
        return f"http://127.0.0.1:{self._ports.port(service)}"

    def tag_url(self, service: str, tag: str) -> str:
        """See the protocol."""
        return f"http://127.0.0.1:{self._ports.port(service, tag)}"

    def routes(self) -> Mapping[str, Sequence[Route]]:
        """The routes of every service now, for `xgw local status`."""
        return {service: routing.routes for service, routing in self._routing.items()}

    async def close(self) -> None:
        """Stop listening and cut all connections."""
        for key in list(self._servers):
            self._servers.pop(key).close()
        for connection in list(self._connections):
            connection.abort()
        if self._serving:
            await asyncio.wait(self._serving, timeout=2)
        self._pool.close()
        self._ports.close()

    async def _open(self, key: Key) -> None:
        if key in self._servers:
            return
        sock = self._ports.listening(*key)
        loop = asyncio.get_running_loop()
        self._servers[key] = await loop.create_server(
            lambda: Connection(lambda connection: self._accepted(connection, key), self._connections.discard),
            sock=sock,
            backlog=512,
        )

    def _close(self, key: Key) -> None:
        self._servers.pop(key).close()
        self._ports.release(*key)

    def _accepted(self, connection: Connection, key: Key) -> None:
        self._connections.add(connection)
        task = asyncio.create_task(self._serve(connection, key))
        self._serving.add(task)
        task.add_done_callback(partial(self._served, connection))

    def _served(self, connection: Connection, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        connection.close()
        if not task.cancelled() and (error := task.exception()) is not None:
            task.get_loop().call_exception_handler({"message": "front door connection failed", "exception": error})

    async def _serve(self, connection: Connection, key: Key) -> None:
        """All requests of one connection, one after the other."""
        loop = asyncio.get_running_loop()
        keep = True
        while keep:
            timer = loop.call_later(IDLE_S, connection.abort)
            try:
                head = await connection.head()
                request = parse_request(head) if head else None
            except (Malformed, HeadTooLarge) as problem:
                await _refuse(connection, 431 if isinstance(problem, HeadTooLarge) else 400)
                return
            except EOFError:
                return
            finally:
                timer.cancel()
            if request is None:
                return
            keep = await self._one(connection, key, request)

    async def _one(self, connection: Connection, key: Key, request: Request) -> bool:
        service, tag = key
        routing = self._routing.get(service)
        # From the pick to the count there is no await: a revision that loses its routes has all its requests counted.
        revision = None if routing is None else routing.tags.get(tag) if tag else routing.weights.pick()
        if revision is None:
            await _refuse(connection, 404)
            return False
        place = self._place(revision)
        if place is None:
            self._metrics.add_request(service, revision, "5xx", 0.0)
            await _refuse(connection, 503)
            return False
        self._in_flight.enter(revision)
        began = time.monotonic()
        try:
            ended = await Exchange(connection, request, place, self._pool).run()
        finally:
            self._in_flight.leave(revision)
        self._metrics.add_request(service, revision, f"{ended.status // 100}xx", (time.monotonic() - began) * 1000)
        return ended.keep


async def _refuse(connection: Connection, status: int) -> None:
    try:
        await connection.send(refusal(status))
    except OSError:
        return
    connection.close_politely()
