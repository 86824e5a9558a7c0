"""One request through the front door: from a client's connection to an instance and back, streaming both ways.

Nothing is cancelled on a time-out or when the client leaves: the connection to the instance is aborted and everything
that used it ends by itself, so a connection in an unknown state is never kept.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import formatdate

from xgw.local.connection import Connection, HeadTooLarge
from xgw.local.http_wire import (
    LAST_CHUNK,
    ChunkReader,
    Framing,
    Malformed,
    Request,
    Response,
    encode,
    encode_chunk,
    end_to_end,
    has_body,
    parse_response,
)
from xgw.local.slot import Place
from xgw.local.upstreams import Upstreams

REPLAYABLE = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"})
LONG_IDLE_S, SHORT_IDLE_S = 60.0, 1.0
CLIENT_LEFT = 499

_REASONS = {400: b"Bad Request", 404: b"Not Found", 431: b"Request Header Fields Too Large"}
_REASONS |= {503: b"Service Unavailable", 504: b"Gateway Timeout"}
_TEXTS = {400: b"bad request\n", 404: b"no such service or tag\n", 431: b"request head too large\n"}
_TEXTS |= {504: b"upstream request timeout"}


def refusal(status: int, *, keep: bool = False) -> bytes:
    """An answer of the front door itself. 503 has no body, as on Cloud Run."""
    text = _TEXTS.get(status, b"")
    headers = [(b"Date", formatdate(usegmt=True).encode()), (b"Content-Length", b"%d" % len(text))]
    if text:
        headers.append((b"Content-Type", b"text/plain; charset=utf-8"))
    if not keep:
        headers.append((b"Connection", b"close"))
    return encode(b"HTTP/1.1 %d %b" % (status, _REASONS[status]), headers) + text


@dataclass(frozen=True)
class Ended:
    """The status the client was given (499: it left before there was one), and whether its connection can go on."""

    status: int
    keep: bool


class Exchange:
    """Carries one request. Use it once."""

    def __init__(self, client: Connection, request: Request, place: Place, pool: Upstreams) -> None:
        self._client = client
        self._request = request
        self._place = place
        self._pool = pool
        self._upstream: Connection | None = None
        self._pumping: asyncio.Task[None] | None = None
        self._sent = True
        self._status = 0
        self._timed_out = False
        self._left = False
        self._bad_body = False

    async def run(self) -> Ended:
        """Carry the request and its answer. Raises nothing for what client or instance do wrong."""
        timer = asyncio.get_running_loop().call_later(self._place.timeout_s, self._time_out)
        self._client.on_gone = self._leave
        try:
            keep = await self._carry()
        except (OSError, EOFError, Malformed, HeadTooLarge):
            return await self._failed()
        finally:
            timer.cancel()
            self._client.on_gone = None
            if self._pumping is not None:
                self._pumping.cancel()
                await asyncio.wait([self._pumping])
        if not keep:
            self._client.close_politely()
        return Ended(self._status, keep)

    def _time_out(self) -> None:
        self._timed_out = True
        self._abort()

    def _leave(self) -> None:
        self._left = True
        self._abort()

    def _abort(self) -> None:
        if self._upstream is not None:
            self._upstream.abort()

    async def _failed(self) -> Ended:
        self._abort()
        if self._status or self._left:
            # The answer has begun (or nobody waits for it): cutting it short is the only way to say so.
            self._client.abort()
            return Ended(self._status or CLIENT_LEFT, False)
        status = 400 if self._bad_body else 504 if self._timed_out else 503
        keep = status == 503 and self._sent and self._request.keep_alive
        try:
            await self._client.send(refusal(status, keep=keep))
        except OSError:
            return Ended(CLIENT_LEFT, False)
        if not keep:
            self._client.close_politely()
        return Ended(status, keep)

    # -- the request ----------------------------------------------------------------------------------------------

    async def _carry(self) -> bool:
        body = self._buffered_body()
        upstream, head = await self._ask(body)
        while True:
            response = parse_response(head)
            if response.status == 101 and self._request.websocket:
                return await self._tunnel(upstream, head)
            if response.status == 101:
                raise Malformed("an upgrade nobody asked for")
            if response.status >= 200:
                return await self._answer(upstream, response)
            if self._request.minor and (response.status != 100 or self._request.expects_continue):
                await self._client.send(head)
            head = await upstream.head()
            if not head:
                raise EOFError

    def _buffered_body(self) -> bytes | None:
        """The whole body when it has arrived already (or there is none); None when it is to be pumped."""
        length = self._request.framing.length or 0
        if self._request.framing.chunked or length > len(self._client.buffer):
            return None
        return self._client.take(length)

    async def _ask(self, body: bytes | None) -> tuple[Connection, bytes]:
        """Send the request and wait for the first head of the answer."""
        replayable = body is not None and self._request.method in REPLAYABLE and not self._request.websocket
        head = self._head()
        while True:
            idle = LONG_IDLE_S if replayable else SHORT_IDLE_S
            upstream, reused = await self._pool.get(self._place.port, -1.0 if self._request.websocket else idle)
            self._upstream = upstream
            if self._left or self._timed_out:
                raise EOFError
            upstream.received = 0
            try:
                await upstream.send(head + (body or b""))
                if body is None and self._pumping is None:
                    self._sent = False
                    self._pumping = asyncio.create_task(self._pump(upstream))
                if answer := await upstream.head():
                    return upstream, answer
            except OSError:
                pass
            upstream.abort()
            if not (reused and replayable and not upstream.received) or self._left or self._timed_out:
                raise EOFError

    def _head(self) -> bytes:
        request = self._request
        headers = request.headers
        addresses = [value for name, value in headers if name.lower() == b"x-forwarded-for"]
        sent = end_to_end(headers, (b"content-length", b"x-forwarded-for", b"x-forwarded-proto", b"host"))
        # Host cannot be lost to `Connection: host`.
        sent[:0] = [(name, value) for name, value in headers if name.lower() == b"host"]
        sent.append((b"X-Forwarded-For", b", ".join([*addresses, self._client.peer.encode()])))
        sent.append((b"X-Forwarded-Proto", b"http"))
        if not any(name.lower() == b"traceparent" for name, _ in sent):
            sent.append((b"traceparent", f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00".encode()))
        if request.websocket:
            sent += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
        sent += _framing_fields(request.framing)
        return encode(b"%b %b HTTP/1.1" % (request.method, request.target), sent)

    async def _pump(self, upstream: Connection) -> None:
        """The rest of the request body, as the client sends it and the instance takes it."""
        try:
            async for piece in _body(self._client, self._request.framing):
                await upstream.send(encode_chunk(piece) if self._request.framing.chunked else piece)
            if self._request.framing.chunked:
                await upstream.send(LAST_CHUNK)
            self._sent = True
        except Malformed:
            self._bad_body = True
            upstream.abort()
        except EOFError:
            upstream.abort()
        except OSError:
            # The instance has stopped reading; what it answered still counts.
            return

    # -- the answer -----------------------------------------------------------------------------------------------

    async def _answer(self, upstream: Connection, response: Response) -> bool:
        """Relay a final answer; True when the client's connection can carry another request."""
        request = self._request
        has = has_body(request.method, response.status)
        framing = response.framing if has else Framing(length=0)
        to_the_end = not framing.chunked and framing.length is None
        chunked = bool(request.minor) and (framing.chunked or to_the_end)
        keep = request.keep_alive and self._sent and (chunked or framing.length is not None)
        first = self._answer_head(response, has=has, chunked=chunked, keep=keep)
        if framing.length is not None and framing.length <= len(upstream.buffer):
            self._status = response.status
            await self._client.send(first + upstream.take(framing.length))
        else:
            self._status = response.status
            await self._client.send(first)
            async for piece in _body(upstream, framing, to_the_end=to_the_end):
                await self._client.send(encode_chunk(piece) if chunked else piece)
            if to_the_end and (self._timed_out or self._left):
                raise EOFError
            if chunked:
                await self._client.send(LAST_CHUNK)
        if response.keep_alive and self._sent and not to_the_end:
            self._upstream = None
            self._pool.put(self._place.port, upstream)
        else:
            upstream.close()
        return keep

    def _answer_head(self, response: Response, *, has: bool, chunked: bool, keep: bool) -> bytes:
        keeps_length = not has and (self._request.method == b"HEAD" or response.status == 304)
        headers = end_to_end(response.headers, () if keeps_length else (b"content-length",))
        if chunked:
            headers.append((b"Transfer-Encoding", b"chunked"))
        elif has and response.framing.length is not None:
            headers += _framing_fields(response.framing)
        if not keep:
            headers.append((b"Connection", b"close"))
        return encode(b"HTTP/1.1 %d %b" % (response.status, response.reason), headers)

    async def _tunnel(self, upstream: Connection, head: bytes) -> bool:
        """After the instance has agreed to a WebSocket: bytes both ways until one side ends."""
        self._status = 101
        self._client.on_gone = None
        await self._client.send(head)
        ways = [asyncio.create_task(_copy(self._client, upstream)), asyncio.create_task(_copy(upstream, self._client))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
            upstream.close()
        return False


def _framing_fields(framing: Framing) -> list[tuple[bytes, bytes]]:
    if framing.chunked:
        return [(b"Transfer-Encoding", b"chunked")]
    return [] if framing.length is None else [(b"Content-Length", b"%d" % framing.length)]


async def _body(connection: Connection, framing: Framing, *, to_the_end: bool = False) -> AsyncIterator[bytes]:
    """The payload of a body, piece by piece as it arrives. Raises EOFError when the connection ends before it does."""
    left = framing.length or 0
    chunks = ChunkReader() if framing.chunked else None
    while to_the_end or left or (chunks is not None and not chunks.done):
        data = await connection.some()
        if not data:
            if to_the_end:
                return
            raise EOFError
        if chunks is not None:
            data = chunks.feed(data)
            connection.untake(chunks.rest)
        elif not to_the_end:
            connection.untake(data[left:])
            data = data[:left]
            left -= len(data)
        if data:
            yield data


async def _copy(source: Connection, sink: Connection) -> None:
    try:
        while data := await source.some():
            await sink.send(data)
    except OSError:
        return
