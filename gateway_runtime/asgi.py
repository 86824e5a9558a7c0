"""The types of the gateway, and the one place that speaks ASGI.

A **handler** takes a Request and returns a Response; a **layer** is a handler around a handler. `Edge` is the ASGI
application: it makes the Request, asks the outermost handler, and sends what came back. So an answer is a value until
its first byte leaves, and a layer can never half-send one.

Rules that hold here:
- The path is `raw_path`, made canonical once (`canonical_path`); the decoded `path` of ASGI and the Host field are
  never read. What is routed and authorised is byte for byte what is forwarded.
- A body is counted while it is read; more than BODY_LIMIT is refused, whatever Content-Length said.
- After the first byte of an answer only two things can follow: the rest of it, or the connection's end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway_runtime.errors import ClientGone, Problem, forget
from gateway_runtime.paths import canonical_path

if TYPE_CHECKING:
    from gateway_runtime.auth.identity import Identity
    from gateway_runtime.routes import Route

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

BODY_LIMIT = 10 * 1024 * 1024
"""Bytes of a request's body (plan 1.5: maxBodyLength)."""
JSON = b"application/json"
CONDITIONS = frozenset((b"if-none-match", b"if-modified-since"))
"""Fields of a request that say what its sender has already: 304 answers nothing else."""


class Request:
    """One request, and what the layers found out about it. Names of header fields are lower-case bytes."""

    __slots__ = (
        "_named", "_of", "_path", "_twice", "answer_fields", "at_end", "client", "debug", "error", "headers", "id", "identity",
        "joins", "kept", "method", "on_leave", "params", "problem", "query", "raw_path", "receive", "routes",
        "scheme", "sent", "started", "status", "switch", "trace", "trace_flags", "uploaded",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.raw_path: bytes = scope["raw_path"]
        self.query: bytes = scope["query_string"]
        self.headers: Headers = scope["headers"]
        self.scheme: str = scope["scheme"]
        self.client: str = (scope.get("client") or ("",))[0]
        self.receive = receive
        self.started = time.monotonic()
        self.answer_fields: list[tuple[bytes, bytes]] = []
        """What goes out with its answer, whatever that will be. So a layer that only adds fields need not wait for it."""
        self.at_end: list[Callable[[], None]] = []
        """Called once each, the innermost layer's first, when the answer has been sent or given up."""
        self.params: dict[str, str] = {}
        """What the route's placeholders stood for."""
        self.routes: Sequence[Route] | None = None
        """The routes of its path, once the router was asked."""
        self.identity: Identity | None = None
        """Who sent it, by a verified token; None only on a public route."""
        self.id = ""
        self.trace = ""
        """The trace it belongs to: 32 hex digits."""
        self.trace_flags = "00"
        self.kept = True
        """Whether the lines of this request are kept when it ends below 400."""
        self.debug: list[tuple[float, str, dict[str, Any]]] | None = None
        """Debug lines, held back until the request ends; None when nobody wants them."""
        self.status = 0
        self.sent = 0
        """Bytes of body sent."""
        self.error: Exception | None = None
        self.problem: Problem | None = None
        """What it was refused for (4xx): said in its one access line."""
        self.uploaded = False
        """Whether all of the body has been read."""
        self.joins = "gateway.whole" in scope.get("extensions", ())
        """Whether the server takes a body together with its head, in one message (server/exchange.py)."""
        self.on_leave: Callable[[Callable[[], None]], None] | None = scope.get("on_leave")
        """Of our own server: whom it is to tell at once when the client leaves."""
        self.switch: Switch | None = None
        """Of a WebSocket's handshake: its own end of ASGI. An answer of 101 with `run` accepts it."""
        self._path: str | None = None
        self._named: dict[bytes, bytes] = {}
        self._twice: tuple[bytes, ...] = ()
        self._of: Headers = ()

    @property
    def path(self) -> str:
        """The canonical path; Problem when the request has none."""
        if self._path is None:
            self._path = canonical_path(self.raw_path, self.query)
        return self._path

    def header(self, name: bytes) -> bytes | None:
        """The value of a field, None when it is absent or there more than once (nobody can say which one counts)."""
        if self._of is not self.headers:  # looked through once, however many layers ask
            self._look()
        return None if name in self._twice else self._named.get(name)

    def joined(self, name: bytes) -> bytes | None:
        """The values of a field in their order with commas between them (RFC 9110 5.3); None when it is absent."""
        if self._of is not self.headers:
            self._look()
        return self._named.get(name)

    def _look(self) -> None:
        self._of = headers = self.headers
        self._named, self._twice = by_name(headers)

    @property
    def has_body(self) -> bool:
        """Whether its framing announces a body (RFC 9112 6.3)."""
        return self.header(b"transfer-encoding") is not None or self.header(b"content-length") not in (None, b"0")

    def note(self, message: str, **fields: Any) -> None:
        """Adds a debug line to the request's story."""
        if self.debug is not None:
            self.debug.append((time.time(), message, fields))

    async def stream(self) -> AsyncIterator[bytes]:
        """The body, piece by piece; Problem past BODY_LIMIT, ClientGone when the client leaves."""
        length = self.header(b"content-length")
        if length is not None and length.isdigit() and int(length[:19]) > BODY_LIMIT:
            raise Problem("PAYLOAD_TOO_LARGE", f"The body may hold {BODY_LIMIT} bytes")
        seen, more = 0, True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            piece = message.get("body", b"")
            more = message.get("more_body", False)
            seen += len(piece)
            if seen > BODY_LIMIT:
                raise Problem("PAYLOAD_TOO_LARGE", f"The body may hold {BODY_LIMIT} bytes")
            self.uploaded = not more
            if piece:
                yield piece

    def finish(self) -> None:
        """Calls what waited `at_end`, and holds it no longer: it mostly holds the request, and the two would keep each other,
        body and token included, until a cycle collector comes by."""
        while self.at_end:
            self.at_end.pop()()

    async def disconnected(self) -> None:
        """Returns when the client has left, or its answer is out. Only after the body has been read."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def body(self) -> bytes:
        """The whole body."""
        return b"".join([piece async for piece in self.stream()])


class Switch:
    """A WebSocket connection that waits for the answer to its handshake: its ASGI scope, and both ends."""

    __slots__ = ("receive", "scope", "send")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send


def by_name(headers: Headers) -> tuple[dict[bytes, bytes], tuple[bytes, ...]]:
    """(Name -> value, the values of a repeated field joined by commas; the names that are there more than once)."""
    named = dict(headers)
    if len(named) == len(headers):
        return named, ()
    named.clear()
    twice = set()
    for name, value in headers:
        if name in named:
            twice.add(name)
            value = named[name] + b", " + value
        named[name] = value
    return named, tuple(twice)


class Response:
    """One answer: a body in memory, or one that is still arriving. Names of header fields are lower-case bytes."""

    __slots__ = ("body", "dated", "headers", "run", "status", "variants")

    def __init__(self, status: int, headers: Headers = (), body: bytes | AsyncIterator[bytes] = b"") -> None:
        self.status = status
        self.headers = list(headers)
        self.body = body
        self.variants: MutableMapping[str, bytes] | None = None
        """Where a coded form of this body may be kept for the next answer with the same bytes (the cache's)."""
        self.dated: bytes | None = None
        """The Date an upstream gave it. What goes out bears the time of its going out; how old it was, the cache has to know."""
        self.run: Callable[[Headers], Awaitable[None]] | None = None
        """With status 101: the life of the WebSocket, told the fields to accept it with."""

    def header(self, name: bytes) -> bytes | None:
        """The first value of a field."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


Handler = Callable[[Request], Awaitable[Response]]


def add_vary(response: Response, name: bytes, field: tuple[bytes, bytes]) -> None:
    """Adds the Vary `field` unless the answer says already that it depends on `name` (lower case), or on everything."""
    for key, value in response.headers:
        if key == b"vary" and (name in value.lower() or value.strip() == b"*"):
            return
    response.headers.append(field)


class Edge:
    """The ASGI application around the outermost handler.

    `last_resort` makes the answer when a layer outside of Problems itself fails; `broken` hears of an answer that could
    not be finished. `start` and `stop` run with the server's life cycle.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        last_resort: Callable[[Exception, Request], Response],
        broken: Callable[[Exception, Request], None],
        start: Callable[[], Awaitable[None]],
        stop: Callable[[], Awaitable[None]],
        drain: Callable[[], Awaitable[None]],
    ) -> None:
        self.drain = drain
        """What is done first when the process is told to stop: saying good-bye on what stays open."""
        self._handler = handler
        self._last_resort = last_resort
        self._broken = broken
        self._start = start
        self._stop = stop
        self._date = b""
        self._date_of = 0

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[object]:
        if scope["type"] == "http":
            return self._http(Request(scope, receive), send)
        if scope["type"] == "lifespan":
            return self._lifespan(receive, send)
        return self._websocket(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        request = Request({**scope, "method": "GET"}, receive)
        request.switch = Switch(scope, receive, send)
        run = await self._http(request, send)
        del request  # a socket lives for long: nothing of its handshake does
        if run is not None:
            await run()

    async def _http(self, request: Request, send: Send) -> Callable[[], Awaitable[None]] | None:
        """Answers a request. Of a WebSocket's handshake that is accepted: what to do next, past its end as a request."""
        run = None
        try:
            try:
                response = await self._handler(request)
            except asyncio.CancelledError:  # the server is stopping and has waited long enough
                response = self._last_resort(Problem("SERVICE_UNAVAILABLE", reason="stopping"), request)
            except ClientGone:
                raise
            except Exception as error:  # noqa: BLE001  nothing outside of this frame could answer
                response = self._last_resort(error, request)
            request.status = response.status
            response.headers += request.answer_fields
            if request.switch is None:
                await self._deliver(request, response, send, request.joins)
            elif response.run is None:
                await self._refuse(response, send)
            else:
                run = partial(response.run, response.headers)
        except ClientGone as gone:
            request.status = 499
            forget(gone)
        except Exception as error:  # noqa: BLE001  headers may be out: the server closes the connection when we return
            request.error = error
            self._broken(error, request)
            forget(error)
        finally:
            request.finish()
        return run

    async def _deliver(self, request: Request, response: Response, send: Send, joins: bool) -> None:
        headers, body = response.headers, response.body
        bare = response.status in (204, 304)
        if (
            (not joins or request.method == "HEAD")
            and isinstance(body, bytes)
            and not bare
            and response.header(b"content-length") is None
        ):
            headers.append((b"content-length", b"%d" % len(body)))
        headers.append((b"date", self._now()))
        start = {"type": "http.response.start", "status": response.status, "headers": headers}
        if isinstance(body, bytes):
            request.sent = 0 if bare or request.method == "HEAD" else len(body)
            if joins:
                start["body"] = b"" if bare else body
                await send(start)
                return
            await send(start)
            await send({"type": "http.response.body", "body": b"" if bare else body})
            return
        await send(start)
        if request.method != "HEAD" and not bare:
            async for piece in body:
                request.sent += len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _refuse(self, response: Response, send: Send) -> None:
        """Answers a WebSocket's handshake like a request."""
        body = response.body if isinstance(response.body, bytes) else b""
        headers = [*response.headers, (b"date", self._now()), (b"connection", b"close")]
        if response.header(b"content-length") is None:
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "websocket.http.response.start", "status": response.status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": body})

    def _now(self) -> bytes:
        second = int(time.time())
        if second != self._date_of:
            self._date_of, self._date = second, formatdate(second, usegmt=True).encode()
        return self._date

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._start()
        except Exception as error:  # noqa: BLE001  uvicorn must hear of it to end the process
            await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        async with asyncio.timeout(1):
            await self._stop()
        await send({"type": "lifespan.shutdown.complete"})
