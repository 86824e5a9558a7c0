"""Passes a request to an upstream and its answer back: which fields cross, and which are rewritten."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from functools import lru_cache

from gateway_runtime.asgi import CONDITIONS, Headers, Request, Response
from gateway_runtime.errors import ClientGone, Problem
from gateway_runtime.rate.address import forwarded
from gateway_runtime.upstream.client import Answer, Ask
from gateway_runtime.upstream.connection import Connection
from gateway_runtime.upstream.deadlines import HEADER, Deadlines
from gateway_runtime.upstream.guard import Upstream

HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
     b"trailer", b"transfer-encoding", b"upgrade")
)  # fmt: skip
"""Fields that end at this hop whatever they say (RFC 9110 7.6.1)."""

REWRITTEN = HOP_BY_HOP | {
    b"host", b"content-length", b"expect", b"x-request-id", b"traceparent", b"tracestate", b"x-cloud-trace-context",
    b"forwarded", b"via", b"x-user-id", b"x-tenant-id", b"x-rewrite-url", b"x-host", b"x-http-host-override", b"x-http-method",
    b"x-http-method-override", b"x-method-override", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip", b"x-proxyuser-ip",
    b"client-ip", b"true-client-ip", b"cf-connecting-ip", b"cf-connecting-ipv6", b"fastly-client-ip", b"x-remote-user",
    b"remote-user", b"x-serverless-authorization", b"proxy", b"http2-settings", HEADER,
}  # fmt: skip
REWRITTEN_TOO = (b"x-forwarded", b"x-original-", b"x-goog-authenticated-user-", b"x-goog-iap-", b"x-envoy-")
"""Fields of a request, and beginnings of their names, that only the gateway may set, or that others in its place would: who
is asking, from where, for which path, by which method. A name with anything but letters, digits and dashes goes nowhere
either: what a CGI makes of `X_User_Id` or `X.User.Id` is X-User-Id."""

ANSWER_DROPPED = HOP_BY_HOP | {
    b"content-length", b"date", b"server", b"via", b"x-request-id", b"x-user-id", b"x-tenant-id", b"forwarded", b"x-real-ip",
    b"x-generator", b"x-runtime", b"x-served-by", b"x-server", b"x-backend", b"x-backend-server", b"x-upstream",
    b"alt-svc", HEADER,
}  # fmt: skip
ANSWER_DROPPED_TOO = (
    b"access-control-", b"x-ratelimit-", b"x-forwarded", b"x-powered-", b"x-aspnet", b"x-envoy-", b"x-php", b"x-drupal-"
)  # fmt: skip
"""Fields of an answer, and beginnings of their names, that the gateway sets itself, or that speak of what is behind it: whom
it took the caller for, and which software it is. Of `X-RateLimit-*` there can be one: what the caller meets here, not ours at
the upstream. Alt-Svc would send the caller past us."""

_PLAIN = re.compile(rb"[a-z0-9-]+")
FOR_ALL = frozenset(
    (b"age", b"cache-control", b"content-encoding", b"content-range", b"content-type", b"etag", b"expires", b"last-modified",
     b"pragma", b"set-cookie", b"vary", b"www-authenticate")
)  # fmt: skip
"""Fields of an answer that no Connection field can take away (RFC 9110 7.6.1: they are for all recipients). Without them what
may not be stored would look as if it might, and one answer of many like the only one."""

NAME = b"1.1 gateway"
WATCH_AFTER = 0.05
"""Seconds until the gateway starts listening for a client that leaves: most answers are there before."""


class Forward:
    """A route's handler: the path without `strip` goes to the upstream, as it was authorised, byte for byte.

    `seconds` is the route's own deadline, 0 when the rule for all routes holds; `hops` how many proxies in front are trusted
    to say who asks.
    """

    def __init__(
        self,
        name: str,
        upstream: Upstream | None,
        *,
        strip: str,
        deadlines: Deadlines,
        seconds: float = 0.0,
        hops: int = 0,
    ) -> None:
        self._name = name
        self._hops = hops
        self._upstream = upstream
        self._strip = strip
        self._deadlines = deadlines
        self._seconds = seconds
        if upstream is not None:
            url = upstream.client.url
            self._base, self._inside = url.path, str(url).encode("ascii")
            self._host = b"host: " + url.authority.encode("ascii") + b"\r\n"

    async def __call__(self, request: Request) -> Response:
        upstream = self._upstream
        if upstream is None:
            raise Problem("SERVICE_UNAVAILABLE", upstream=self._name, reason="not configured")
        deadline = self._deadlines.of(request.path, request.started, asked=request.header(HEADER), own=self._seconds)
        watch = Watch(request)
        request.at_end.append(watch.stop)
        try:
            upstream.check()
            answer = await upstream.ask(await self._ask(request), deadline=deadline, watch=watch.over)
        except Problem as problem:
            if problem.status >= 500:
                problem.details["upstream"] = self._name
            raise
        request.at_end.append(answer.close)
        request.note("upstream answered", upstream=self._name, status=answer.status)
        return self._respond(answer, request)

    async def _ask(self, request: Request) -> Ask:
        fields = [self._host, *_request_fields(request, self._hops)]
        target = self._base + (request.path[len(self._strip) :] or "/")
        if request.query:
            target += "?" + request.query.decode("ascii")
        length = request.header(b"content-length")
        chunked = request.header(b"transfer-encoding") is not None
        if not chunked and length in (None, b"0"):
            if length is not None or request.method in ("POST", "PUT", "PATCH"):
                fields.append(b"content-length: 0\r\n")
            return Ask(request.method, target, b"".join(fields))
        pieces = request.stream()
        first = await anext(pieces, b"")
        if chunked:
            fields.append(b"transfer-encoding: chunked\r\n")
            return Ask(request.method, target, b"".join(fields), _chunk(first), _chunks(pieces))
        fields.append(b"content-length: %d\r\n" % int(length or 0))
        whole = len(first) == int(length or 0)
        if whole and request.uploaded:
            await anext(pieces, b"")  # to its end: one left half way costs a task of its own to be closed
        return Ask(request.method, target, b"".join(fields), first, None if whole else pieces)

    def _respond(self, answer: Answer, request: Request) -> Response:
        if answer.status >= 500:
            retry = [field for field in answer.headers if field[0] == b"retry-after"]
            code = _CODE.get(answer.status, "BAD_GATEWAY")
            raise Problem(code, headers=retry, upstream=self._name, reason=f"answered {answer.status}")
        if answer.status == 304 and not any(request.header(name) for name in CONDITIONS):
            raise Problem("BAD_GATEWAY", upstream=self._name, reason="304 to a question without a condition")
        response = Response(answer.status)
        self._pass_on(answer.headers, response)
        response.headers.append((b"via", NAME))
        if answer.whole and request.method != "HEAD":
            response.body = answer.take()
        else:
            # Kept as it came: of a body that is still arriving, or of the one a HEAD did not ask for.
            response.headers += [
                item for item in answer.headers if item[0] == b"content-length" and answer.status != 304
            ]
            response.body = answer.stream()
        return response

    def _pass_on(self, headers: Headers, response: Response) -> None:
        listed, kept = _listed(headers) - FOR_ALL, response.headers
        for item in headers:
            name = item[0]
            if _ends_here(name) or name in listed:
                if name == b"date":
                    response.dated = item[1]
            else:
                kept.append((name, self._outside(item[1])) if name == b"location" else item)

    def _outside(self, location: bytes) -> bytes:
        """A Location as the client has to write it: the upstream's own address never leaves."""
        base = self._inside
        if location.startswith(base + b"/") or location == base:
            location = location[len(base) :] or b"/"
        elif location.startswith(b"/") and not location.startswith(b"//"):
            location = location.removeprefix(self._base.encode("ascii"))
        else:
            return location
        return self._strip.encode("ascii") + location


_CODE = {501: "NOT_IMPLEMENTED", 503: "SERVICE_UNAVAILABLE", 504: "GATEWAY_TIMEOUT"}


class Watch:
    """Ends the exchange when the client leaves before it has its answer."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._connection: Connection | None = None
        self._gone = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def over(self, connection: Connection | None) -> None:
        """Watches over an exchange on this connection from now on; None: over none, it has been given back. ClientGone."""
        self._connection = connection
        if connection is None:
            return
        if self._request.on_leave is not None:  # our own server tells by itself, at once when it is too late
            self._request.on_leave(self._left)
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER, self._listen)
        if self._gone:  # while it waited, or was being tried again
            raise ClientGone

    def stop(self) -> None:
        """The answer is out; whoever leaves now may."""
        self._connection = None
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        if self._connection is None:
            self._timer = None
            return
        if self._request.has_body and not self._request.uploaded:
            # Whoever reads the body hears of it first; two must not listen at once.
            self._timer = loop.call_later(WATCH_AFTER, self._listen)
            return
        self._task = loop.create_task(self._wait())

    async def _wait(self) -> None:
        await self._request.disconnected()
        self._left()

    def _left(self) -> None:
        self._gone = True
        if self._connection is not None:
            self._connection.break_off(ClientGone())


def _request_fields(request: Request, hops: int) -> list[bytes]:
    """The fields of the request as they go on, with the gateway's own in place of what the client may not say."""
    listed = _listed(request.headers) if request.joined(b"connection") is not None else ()
    fields = []
    for name, value in request.headers:
        lead = _lead(name)
        if lead and name not in listed:
            fields.append(lead + value + b"\r\n")
    client, scheme = forwarded(request, hops) if hops else (request.client, request.scheme)
    own = (
        f"x-request-id: {request.id}\r\n"
        f"traceparent: 00-{request.trace}-{random.getrandbits(64) or 1:016x}-{request.trace_flags}\r\n"
        f"x-forwarded-for: {client}\r\nx-forwarded-proto: {scheme}\r\n"
    )
    fields.append(own.encode("ascii"))
    state = request.header(b"tracestate")
    if state and request.trace.encode("ascii") in (request.header(b"traceparent") or b""):
        fields.append(b"tracestate: " + state + b"\r\n")
    via = request.joined(b"via")
    fields.append(b"via: " + (NAME if via is None else via + b", " + NAME) + b"\r\n")
    return fields


@lru_cache(maxsize=512)
def _lead(name: bytes) -> bytes:
    """What stands in front of a request field's value when it goes on; empty when it does not."""
    ends = name in REWRITTEN or name.startswith(REWRITTEN_TOO) or not _PLAIN.fullmatch(name)
    return b"" if ends else name + b": "


@lru_cache(maxsize=512)
def _ends_here(name: bytes) -> bool:
    """Whether a field of an answer goes no further."""
    return name in ANSWER_DROPPED or name.startswith(ANSWER_DROPPED_TOO)


def _listed(headers: Headers) -> frozenset[bytes]:
    """The fields that a Connection field declares to be for this hop only."""
    values = [value for name, value in headers if name == b"connection"]
    return (
        frozenset(token.strip().lower() for value in values for token in value.split(b",")) if values else frozenset()
    )


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""


async def _chunks(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        yield _chunk(piece)
    yield b"0\r\n\r\n"
