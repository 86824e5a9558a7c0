"""Answers as they leave the cache: what a client may do with them, 304, and the fields a stored one is given out with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from gateway_runtime.asgi import CONDITIONS, Headers, Request, Response
from gateway_runtime.cache.directives import NONE, Directives, date, directives
from gateway_runtime.cache.entry import Entry
from gateway_runtime.upstream.deadlines import HEADER

VARY = (b"vary", b"Authorization")
_CLIENTS = CONDITIONS | {HEADER}
"""Fields that say what one client has, and how long it waits: nothing to a fetch that goes on without it."""
_NOT_IN_304 = frozenset(
    (b"content-type", b"content-encoding", b"content-length", b"content-language", b"last-modified", b"content-range")
)
_SHARED_ONLY = frozenset(("public", "private", "s-maxage", "proxy-revalidate", "no-store"))
_NOT_REPLACED = frozenset((b"content-length", b"content-encoding", b"content-type", b"content-range", b"content-md5"))
"""Fields that a 304 does not change in what is stored (RFC 9111 3.2)."""


def guarded(method: str, status: int, headers: Headers) -> list[tuple[bytes, bytes]]:
    """The fields of an authorised answer: no cache between here and the user may keep it for others.

    `private` with what the upstream said about the time, else `no-cache`: the user's own browser may keep it and ask again
    by its ETag. What is no answer to a reading request, or was marked so, is `no-store`.
    """
    kept: list[tuple[bytes, bytes]] = []
    varies = timed = told = False
    for item in headers:
        name = item[0]
        if name in (b"cache-control", b"pragma"):
            told = True
            continue
        if name == b"vary":
            varies = varies or b"authorization" in item[1].lower()
        elif name == b"expires":
            timed = True
        kept.append(item)
    if not varies:
        kept.append(VARY)
    closed = method not in ("GET", "HEAD") or status >= 400
    kept.append((b"cache-control", _private(directives(headers) if told else NONE, closed=closed, timed=timed)))
    return kept


def _private(said: Directives, *, closed: bool, timed: bool) -> bytes:
    if said is NONE:  # nearly every answer says nothing about it
        return b"no-store" if closed else b"private" if timed else b"private, no-cache"
    if said.has("no-store") or closed:
        words = ["no-store"]
    else:
        words = ["private"]
        if not (said.has("max-age") or said.has("no-cache") or timed):
            words.append("no-cache")
    seconds = dict(said.seconds)
    for name in sorted(said.named - _SHARED_ONLY):
        if words[0] == "private" or name == "no-transform":
            words.append(f"{name}={seconds[name] or 0}" if name in seconds else name)
    return ", ".join(words).encode("latin-1")


def given(entry: Entry, request: Request, age: float) -> Response:
    """The stored answer for this request: with its Age, as 304 when the client has it already."""
    aged = (b"age", b"%d" % int(age))
    if not entry.outgoing:
        fields = tuple(guarded("GET", entry.status, entry.fields)) if entry.authorised else entry.fields
        object.__setattr__(entry, "outgoing", fields)  # frozen for everybody else
    if entry.status == 200 and unchanged(request.headers, entry.fields):
        return Response(304, [*_short(entry.outgoing), aged])
    response = Response(entry.status, [*entry.outgoing, aged], entry.body)
    response.variants = entry.variants
    return response


def conditional(request: Request, response: Response) -> Response:
    """The upstream's whole answer, as 304 when the client has it already."""
    if response.status == 200 and unchanged(request.headers, response.headers):
        return Response(304, list(_short(response.headers)))
    return response


def unchanged(asked: Headers, has: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the client's conditions say that it has this answer (RFC 9110 13.1.2, 13.1.3, 13.2.2)."""
    for name, _ in asked:
        if name in CONDITIONS:
            break
    else:
        return False
    tags = [value for name, value in asked if name == b"if-none-match"]
    since = [value for name, value in asked if name == b"if-modified-since"]
    found = {name: value for name, value in has if name in (b"etag", b"last-modified")}
    if tags:
        listed = b",".join(tags).strip()
        etag = found.get(b"etag")
        return listed == b"*" or (etag is not None and etag.removeprefix(b"W/") in set(_tags(listed)))
    changed = date(found.get(b"last-modified"))
    seen = date(since[0]) if len(since) == 1 else None
    return changed is not None and seen is not None and changed <= seen


def _tags(listed: bytes) -> Iterator[bytes]:
    """The opaque parts of a list of entity tags; a comma may stand inside one."""
    at = 0
    while (start := listed.find(b'"', at)) >= 0 and (end := listed.find(b'"', start + 1)) >= 0:
        yield listed[start : end + 1]
        at = end + 1


def _short(fields: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    return ((name, value) for name, value in fields if name not in _NOT_IN_304)


def validators(entry: Entry) -> list[tuple[bytes, bytes]]:
    """The conditions that ask the upstream whether a stored answer still holds."""
    found = []
    if (etag := entry.header(b"etag")) is not None:
        found.append((b"if-none-match", etag))
    if (changed := entry.header(b"last-modified")) is not None:
        found.append((b"if-modified-since", changed))
    return found


def freshened(entry: Entry, headers: Headers) -> tuple[tuple[bytes, bytes], ...]:
    """The stored fields after a 304 with these (RFC 9111 4.3.4)."""
    news = [(name, value) for name, value in headers if name not in _NOT_REPLACED]
    names = {name for name, _ in news}
    return (*(field for field in entry.fields if field[0] not in names), *news)


def same_answer(entry: Entry, headers: Headers) -> bool:
    """Whether a 304 speaks of this stored answer: its ETag, where it has one, is the stored one."""
    etag = next((value for name, value in headers if name == b"etag"), None)
    return etag is None or etag.removeprefix(b"W/") == (entry.header(b"etag") or etag).removeprefix(b"W/")


async def collected(response: Response, limit: int) -> bool:
    """Makes the body of an answer whole, in memory. False, and the body left to stream, when it is over `limit` bytes."""
    body = response.body
    if isinstance(body, bytes):
        return len(body) <= limit
    length = response.header(b"content-length")
    if length is not None and (not length.isdigit() or int(length[:19]) > limit):
        return False
    pieces: list[bytes] = []
    size = 0
    async for piece in body:
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            response.body = _chained(pieces, body)
            return False
    response.body = b"".join(pieces)
    return length is None or int(length) == size


async def _chained(pieces: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    async for piece in rest:
        yield piece


def detached(request: Request) -> Request:
    """The same request without its client: for a fetch that goes on when nobody waits for it."""
    scope: dict[str, Any] = {
        "method": request.method, "raw_path": request.raw_path, "query_string": request.query, "scheme": request.scheme,
        "headers": [field for field in request.headers if field[0] not in _CLIENTS], "client": (request.client, 0),
    }  # fmt: skip
    copy = Request(scope, _nobody)
    copy.id, copy.trace, copy.trace_flags, copy.identity = (
        request.id,
        request.trace,
        request.trace_flags,
        request.identity,
    )
    return copy


async def _nobody() -> Any:
    await asyncio.get_running_loop().create_future()  # never: there is no client that could leave
