"""HTTP/1.1 heads and bodies, strictly: what is ambiguous is refused, never repaired (RFC 9112, 3 to 7). No sockets.

Heads are read by httptools (llhttp, strict); the checks here are those it leaves to its user.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import httptools

Headers = Sequence[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
LONGEST_CHUNK_LINE = 4096
LARGEST_BODY = (1 << 63) - 1

_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+;=\[\]:-]+\Z")
_DIGITS = re.compile(rb"[0-9]{1,19}\Z")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(;[^\r\n\x00]*)?\Z")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\x00]*\Z")


class Malformed(Exception):
    """The message is not HTTP/1.1, or can be read in two ways."""


@dataclass(frozen=True)
class Framing:
    """Where a body ends: after `length` bytes, at the last chunk, or (both unset) at the end of the connection for a
    response and at once for a request."""

    length: int | None = None
    chunked: bool = False


@dataclass(frozen=True)
class Request:
    """A request head. `target` is the origin form (or `*`)."""

    method: bytes
    target: bytes
    minor: int
    headers: Headers
    framing: Framing
    keep_alive: bool
    websocket: bool
    expects_continue: bool


@dataclass(frozen=True)
class Response:
    """A response head."""

    status: int
    reason: bytes
    headers: Headers
    framing: Framing
    keep_alive: bool


class _Collector:
    """What httptools calls back."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.line = b""
        self.complete = False

    def on_url(self, part: bytes) -> None:
        self.line += part

    def on_status(self, part: bytes) -> None:
        self.line += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.complete = True


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return [value for key, value in headers if key.lower() == name]


def tokens(headers: Headers, name: bytes) -> set[bytes]:
    """The lower-case members of a comma separated list field."""
    return {part.strip().lower() for value in _values(headers, name) for part in value.split(b",") if part.strip()}


def framing(headers: Headers, minor: int) -> Framing:
    """How the body is delimited. Raises Malformed when two readings are possible."""
    lengths = _values(headers, b"content-length")
    codings = _values(headers, b"transfer-encoding")
    if codings:
        if lengths or minor == 0 or len(codings) != 1 or codings[0].strip().lower() != b"chunked":
            raise Malformed("transfer coding")
        return Framing(chunked=True)
    if not lengths:
        return Framing()
    if len(lengths) != 1 or not _DIGITS.match(lengths[0]) or int(lengths[0]) > LARGEST_BODY:
        raise Malformed("content length")
    return Framing(length=int(lengths[0]))


def _feed(parser: httptools.HttpRequestParser | httptools.HttpResponseParser, head: bytes) -> None:
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise Malformed(str(error)) from error


def parse_request(head: bytes) -> Request:
    """Read a request head that ends with its empty line. Raises Malformed."""
    found = _Collector()
    parser = httptools.HttpRequestParser(found)
    _feed(parser, head)
    version = parser.get_http_version()
    if not found.complete or version not in ("1.0", "1.1"):
        raise Malformed("version")
    minor = int(version[-1])
    host = _host(head, found.headers, minor)
    method = parser.get_method()
    if method == b"CONNECT":
        raise Malformed("no tunnels")
    connection = tokens(found.headers, b"connection")
    body = framing(found.headers, minor)
    upgrades = method == b"GET" and minor == 1 and b"upgrade" in connection and not body.chunked and not body.length
    return Request(
        method=method,
        target=_origin_form(found.line, method, host),
        minor=minor,
        headers=tuple(found.headers),
        framing=body,
        keep_alive=minor == 1 and b"close" not in connection,
        websocket=upgrades and tokens(found.headers, b"upgrade") == {b"websocket"},
        expects_continue=minor == 1 and b"100-continue" in tokens(found.headers, b"expect"),
    )


def _host(head: bytes, headers: Headers, minor: int) -> bytes:
    if b"\x00" in head or b"\r\n " in head or b"\r\n\t" in head or b"\n" in head.replace(b"\r\n", b""):
        raise Malformed("line folding or stray characters")
    hosts = _values(headers, b"host")
    if len(hosts) > 1 or (hosts and not _HOST.match(hosts[0])) or (not hosts and minor):
        raise Malformed("host")
    return hosts[0] if hosts else b""


def _origin_form(target: bytes, method: bytes, host: bytes) -> bytes:
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target
    scheme, colon, rest = target.partition(b"://")
    cut = min((at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0), default=len(rest))
    # The target's host would win over the Host field (RFC 9112, 3.2.2): two that differ are two readings.
    if not colon or scheme.lower() not in (b"http", b"https") or rest[:cut].lower() != host.lower():
        raise Malformed("request target")
    path = rest[cut:]
    return path if path.startswith(b"/") else b"/" + path


def parse_response(head: bytes) -> Response:
    """Read a response head that ends with its empty line. Raises Malformed."""
    found = _Collector()
    parser = httptools.HttpResponseParser(found)
    _feed(parser, head)
    status = parser.get_status_code()
    if not found.complete or not 100 <= status <= 999:
        raise Malformed("status")
    minor = 0 if parser.get_http_version() == "1.0" else 1
    connection = tokens(found.headers, b"connection")
    keep = b"close" not in connection if minor else b"keep-alive" in connection
    return Response(status, found.line, tuple(found.headers), framing(found.headers, minor), keep)


def has_body(method: bytes, status: int) -> bool:
    """False for the answers that never have one, whatever their fields say (RFC 9110, 6.4.1)."""
    return method != b"HEAD" and status >= 200 and status not in (204, 304)


def end_to_end(headers: Headers, also: Iterable[bytes] = ()) -> list[tuple[bytes, bytes]]:
    """The fields that are for the other end: without those for one connection, named in Connection or `also`."""
    drop = HOP_BY_HOP | tokens(headers, b"connection") | frozenset(also)
    return [(name, value) for name, value in headers if name.lower() not in drop]


def encode(first: bytes, headers: Headers) -> bytes:
    """A head as bytes."""
    return b"".join((first, b"\r\n", *(name + b": " + value + b"\r\n" for name, value in headers), b"\r\n"))


def encode_chunk(data: bytes) -> bytes:
    """One chunk of a chunked body. `data` must not be empty: that would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


class ChunkReader:
    """Takes the chunk framing off a body. Extensions and trailers are read strictly and dropped.

    `done` is true after the last chunk; `rest` then holds the bytes that follow the body.
    """

    def __init__(self) -> None:
        self.done = False
        self.rest = b""
        self._line = bytearray()
        self._left = 0
        self._state = self._size_line
        self._trailers = 0

    def feed(self, data: bytes) -> bytes:
        """The payload in `data`. Raises Malformed."""
        out: list[bytes] = []
        view = data
        while view and not self.done:
            if self._left:
                piece, view = view[: self._left], view[self._left :]
                self._left -= len(piece)
                out.append(piece)
                continue
            at = view.find(b"\n")
            part, view = (view, b"") if at < 0 else (view[: at + 1], view[at + 1 :])
            self._line += part
            if len(self._line) > LONGEST_CHUNK_LINE:
                raise Malformed("chunk line too long")
            if at >= 0:
                if not self._line.endswith(b"\r\n"):
                    raise Malformed("chunk line end")
                line = bytes(self._line[:-2])
                self._line.clear()
                self._state(line)
        if self.done:
            self.rest = view
        return b"".join(out)

    def _size_line(self, line: bytes) -> None:
        found = _CHUNK_SIZE.match(line)
        if not found:
            raise Malformed("chunk size")
        self._left = int(found.group(1), 16)
        self._state = self._after_data if self._left else self._trailer_line

    def _after_data(self, line: bytes) -> None:
        if line:
            raise Malformed("chunk end")
        self._state = self._size_line

    def _trailer_line(self, line: bytes) -> None:
        if not line:
            self.done = True
            return
        self._trailers += len(line)
        if not _TRAILER.match(line) or self._trailers > LONGEST_CHUNK_LINE:
            raise Malformed("trailer")
