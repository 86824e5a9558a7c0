"""Compresses answers for clients that want it (plan 2.2, requirement FR-6)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from gateway_runtime.asgi import Handler, Request, Response, add_vary, by_name
from gateway_runtime.layers.accept_encoding import IDENTITY, choose
from gateway_runtime.layers.codings import CODINGS, Stream, Whole, stream, whole

ON_THE_LOOP = 64 * 1024
"""Bytes up to which a body is coded on the event loop (0.5 ms at most); a larger one beside it, in a thread."""
PATIENCE = 0.01
"""Seconds in which a body of unknown length must show that it is worth coding; a slower one is live, and left alone."""

LEVELS: Mapping[str, int] = MappingProxyType({"br": 4, "zstd": 1, "gzip": 1})
VARY = (b"vary", b"Accept-Encoding")

_WORTH_IT = re.compile(
    rb"text/(?!event-stream)[a-z0-9.+-]+"
    rb"|application/(?:json|javascript|xml|wasm|x-ndjson|x-www-form-urlencoded|graphql|toml|yaml|x-yaml|sql|rtf)"
    rb"|application/[a-z0-9.-]+\+(?:json|xml|yaml)"
    rb"|font/(?:ttf|otf)|application/vnd\.ms-fontobject"
    rb"|image/(?:svg\+xml|bmp|x-icon|vnd\.microsoft\.icon)"
)
"""Media types that get smaller. Not in it: what is compressed in itself, and text/event-stream, which must not wait."""
_BOUND_TO_BYTES = frozenset((b"content-range", b"content-digest", b"digest", b"content-md5", b"repr-digest"))
"""Fields that speak about the very bytes of the body: coding would make them wrong."""


@dataclass(frozen=True)
class Compression:
    """What to compress and how. `codings` is the order among those a client likes equally; empty: nothing is coded."""

    codings: tuple[str, ...] = CODINGS
    min_bytes: int = 1024
    levels: Mapping[str, int] = field(default_factory=lambda: LEVELS)


class Compress:
    """Codes an answer with the coding the client likes best; says so, and says that it depends on Accept-Encoding.

    Never: what has a coding already, `no-transform` (said by either side), server-sent events, parts (206), media types that
    do not get smaller, fewer than `min_bytes` bytes (unless the client refuses them uncoded). A body that is still arriving is
    coded piece by piece, each piece complete in itself, so nothing waits here for what comes later. An ETag becomes weak:
    the bytes are others (RFC 9110 8.8.1). A HEAD gets the fields its GET would get.
    """

    def __init__(self, inner: Handler, how: Compression) -> None:
        self._inner = inner
        self._how = how
        self._whole: dict[str, Whole] = {}

    async def __call__(self, request: Request) -> Response:
        response = await self._inner(request)
        if not self._how.codings or response.status in (204, 206):
            return response
        if response.status == 304:
            return _unchanged(request, response)
        coding, forced = choose(request.joined(b"accept-encoding"), self._how.codings)
        body = response.body
        if not forced and isinstance(body, bytes) and len(body) < self._how.min_bytes and request.method != "HEAD":
            return response
        fields, _ = by_name(response.headers)
        if not codable(fields) or b"no-transform" in (request.joined(b"cache-control") or b"").lower():
            return response
        size = _size(fields, response)
        if size is not None and size < self._how.min_bytes and not forced:
            return response
        add_vary(response, b"accept-encoding", VARY)
        if coding == IDENTITY or size == 0:
            return response
        return await self._coded(request, response, coding, decided=forced or size is not None)

    async def _coded(self, request: Request, response: Response, coding: str, *, decided: bool) -> Response:
        body = response.body
        if isinstance(body, bytes):
            response.body = await self._code(body, coding, response)
            _relabel(response, coding)
            return response
        if request.method == "HEAD":
            _relabel(response, coding)  # its GET would have another length, known only when it is coded
            return response
        if not decided:
            beginning = Beginning(body, self._how.min_bytes)
            request.at_end.append(beginning.drop)
            found = await beginning.read()
            if isinstance(found, bytes):
                response.body = found
                if len(found) < self._how.min_bytes:
                    return response
                return await self._coded(request, response, coding, decided=True)
            body = response.body = beginning.rest()
            if not found:
                return response
        _relabel(response, coding)
        response.body = _pieces(body, stream(coding, self._how.levels[coding]))
        return response

    async def _code(self, body: bytes, coding: str, response: Response) -> bytes:
        kept = response.variants
        if kept is not None and (found := kept.get(coding)) is not None:
            return found
        code = self._whole.get(coding)
        if code is None:
            code = self._whole[coding] = whole(coding, self._how.levels[coding])
        if len(body) <= ON_THE_LOOP:
            coded = code(body)
        else:
            coded = await asyncio.get_running_loop().run_in_executor(None, code, body)
        if kept is not None:
            kept[coding] = coded
        return coded


def codable(fields: Mapping[bytes, bytes]) -> bool:
    """Whether an answer with these fields (repeated ones joined) may be coded at all."""
    if fields.get(b"content-encoding", b"").strip().lower() not in (b"", b"identity"):
        return False
    if b"no-transform" in fields.get(b"cache-control", b"").lower() or not _BOUND_TO_BYTES.isdisjoint(fields):
        return False
    return _worth_it(fields.get(b"content-type", b""))


@lru_cache(maxsize=256)
def _worth_it(kind: bytes) -> bool:
    return _WORTH_IT.fullmatch(kind.partition(b";")[0].strip().lower()) is not None


def _size(fields: Mapping[bytes, bytes], response: Response) -> int | None:
    """The bytes of the body, None when nobody knows yet. A HEAD's is its GET's."""
    length = fields.get(b"content-length")
    if length is not None and length.isdigit():
        return int(length[:19])
    if isinstance(response.body, bytes):
        return len(response.body)
    return None


def _relabel(response: Response, coding: str) -> None:
    """The fields of an uncoded answer become those of the coded one."""
    fields = []
    for name, value in response.headers:
        if name == b"etag":
            value = weak(value)
        if name not in (b"content-length", b"content-encoding", b"accept-ranges"):
            fields.append((name, value))
    response.headers = [*fields, (b"content-encoding", coding.encode("ascii"))]


def weak(etag: bytes) -> bytes:
    """The weak form of an entity tag."""
    return etag if etag.startswith(b"W/") else b"W/" + etag


def _unchanged(request: Request, response: Response) -> Response:
    """A 304 has the fields of its 200 (RFC 9110 15.4.5): the weak tag, when that is the one the client has."""
    known = request.header(b"if-none-match") or b""
    for at, (name, value) in enumerate(response.headers):
        if name == b"etag" and weak(value) in known:
            response.headers[at] = (name, weak(value))
    add_vary(response, b"accept-encoding", VARY)
    return response


async def _pieces(body: AsyncIterator[bytes], coder: Stream) -> AsyncIterator[bytes]:
    async for piece in body:
        if coded := coder.piece(piece):
            yield coded
    yield coder.end()


class Beginning:
    """The first pieces of a body of unknown length: read until they are `enough` bytes, the end, or PATIENCE is over."""

    def __init__(self, body: AsyncIterator[bytes], enough: int) -> None:
        self._body = body
        self._enough = enough
        self._held: list[bytes] = []
        self._size = 0
        self._ended = False
        self._task: asyncio.Task[None] | None = None

    async def read(self) -> bytes | bool:
        """The whole body when that was all, else whether there are enough bytes of it. A fault of the body's is kept for
        whoever reads on."""
        self._task = asyncio.get_running_loop().create_task(self._read())
        await asyncio.wait({self._task}, timeout=PATIENCE)
        if self._ended:
            return b"".join(self._held)
        worth_it = self._size >= self._enough
        self._enough = 0  # from here on each piece goes out as it comes
        return worth_it

    async def rest(self) -> AsyncIterator[bytes]:
        """All of the body, from its beginning."""
        while self._held:
            yield self._held.pop(0)
        if self._task is not None:
            await asyncio.wait({self._task})
            self._task.result()
        for piece in self._held:
            yield piece
        if not self._ended:
            async for piece in self._body:
                yield piece

    def drop(self) -> None:
        """Nobody wants it any more."""
        if self._task is None:
            return
        if self._task.done():
            _ = self._task.cancelled() or self._task.exception()  # seen, so that asyncio need not complain
        else:
            self._task.cancel()

    async def _read(self) -> None:
        async for piece in self._body:
            self._held.append(piece)
            self._size += len(piece)
            if self._size >= self._enough:
                return
        self._ended = True
