"""The head of a request: bytes in, a Head out, or the Problem it is refused with.

Two opinions on every head: httptools (llhttp, strict) for the grammar of lines and fields, and the rules here for what the
fields mean together (RFC 9112 3, 6). Whatever two servers could read differently is refused, never guessed.
"""

from __future__ import annotations

import re

import httptools

from gateway_runtime.errors import Problem
from gateway_runtime.server.hosts import HostPolicy
from gateway_runtime.server.limits import Limits

METHODS = {name.encode("ascii"): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
"""What is passed on. CONNECT would make a tunnel of us and TRACE a mirror; neither is ever useful here."""
ALLOW = (b"allow", b", ".join(METHODS))
CHUNKED = -1
"""Head.length of a body that is framed by chunks."""

_TOKEN = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CODINGS = re.compile(rb"[a-z][a-z0-9_-]*(?:[ \t]*,[ \t]*[a-z][a-z0-9_-]*)*")
_MEANT = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade", b"proxy-connection")
)
"""Fields that mean something here, or to the parser: after `Proxy-Connection: close` it reads no more heads, of no client."""
_ONCE = frozenset((b"host", b"content-length", b"transfer-encoding", b"expect"))
_NEVER_LISTED = frozenset((b"host", b"content-length", b"transfer-encoding"))


class Head:
    """One head. Names of fields are lower-case bytes, in the order they came."""

    __slots__ = ("expects", "fields", "http10", "keep_alive", "length", "method", "path", "query", "upgrade")

    def __init__(self, method: str, path: bytes, query: bytes, fields: list[tuple[bytes, bytes]]) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.fields = fields
        self.length = 0
        """Bytes of body, or CHUNKED."""
        self.http10 = False
        self.keep_alive = True
        self.expects = False
        """Whether the client waits for 100 Continue."""
        self.upgrade = b""
        """What it wants to switch to, lower case; a wish that may be ignored (RFC 9110 7.8)."""


class HeadReader:
    """Reads whole heads, one after another. One reader serves every connection of a process."""

    def __init__(self, limits: Limits, hosts: HostPolicy) -> None:
        self._limits = limits
        self._hosts = hosts
        self._parser = httptools.HttpRequestParser(self)
        self._fields: list[tuple[bytes, bytes]] = []
        self._meant: dict[bytes, bytes] = {}
        self._twice = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser for every field."""
        name = name.lower()
        if name in _MEANT:
            value = value.strip(b" \t")  # the parser leaves white space behind some values
            meant = self._meant
            if name in meant:
                self._twice = self._twice or name in _ONCE
                meant[name] += b"," + value
            else:
                meant[name] = value
        self._fields.append((name, value))

    def read(self, data: bytes) -> Head:
        """The head in exactly these bytes, its blank line included."""
        words = data[: data.find(b"\r\n")].split(b" ")
        if len(words) != 3:
            raise _bad("The request line is not well formed")
        method, target, version = words
        if len(target) > self._limits.url_bytes:
            raise _too_long(self._limits)
        if version != b"HTTP/1.1" and version != b"HTTP/1.0":
            raise _version(version)
        if method not in METHODS:
            raise _method(method)
        fields, meant = self._parse(data)
        path, _, query = target.partition(b"?")
        if path[:1] != b"/" or b"#" in target or not target.isascii():
            self._fresh()
            path = self._other_target(method, target, path, meant)
        head = Head(METHODS[method], path, query, fields)
        host = meant.get(b"host")
        if host is None or len(meant) != 1 or version == b"HTTP/1.0":
            self._fresh()  # the parser expects a body now, or a close: neither is its business here
            head.http10 = version == b"HTTP/1.0"
            _judge(head, meant)
        if host is not None:
            self._hosts.check(host)
        elif not head.http10:
            raise _bad("The Host field is missing")
        return head

    def _parse(self, data: bytes) -> tuple[list[tuple[bytes, bytes]], dict[bytes, bytes]]:
        """All fields, and those that mean something here."""
        fields: list[tuple[bytes, bytes]] = []
        meant: dict[bytes, bytes] = {}
        self._fields, self._meant, self._twice = fields, meant, False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fresh()
        except httptools.HttpParserError:
            self._fresh()
            raise _bad("The head is not well formed") from None
        if self._twice:
            self._fresh()
            raise _bad("A field is there twice")
        if len(fields) > self._limits.head_fields:
            self._fresh()
            raise Problem("HEAD_TOO_LARGE", f"A request may have {self._limits.head_fields} fields")
        return fields, meant

    def check_part(self, data: bytes) -> None:
        """Problem when the head that begins like this can only be refused: too long already, or not HTTP."""
        line = data.find(b"\r\n")
        if (line if line >= 0 else len(data)) > self._limits.url_bytes + 32:
            raise _too_long(self._limits)
        if len(data) > self._limits.head_bytes:
            raise Problem("HEAD_TOO_LARGE", f"The head of a request may hold {self._limits.head_bytes} bytes")
        pairs = data.count(b"\r\n")
        if data.count(b"\n") != pairs or data.count(b"\r") - data.endswith(b"\r") != pairs or _CONTROL.search(data):
            raise _bad("The head is not well formed")
        if pairs > self._limits.head_fields + 1:
            raise Problem("HEAD_TOO_LARGE", f"A request may have {self._limits.head_fields} fields")

    def _fresh(self) -> None:
        self._parser = httptools.HttpRequestParser(self)

    def _other_target(self, method: bytes, target: bytes, path: bytes, meant: dict[bytes, bytes]) -> bytes:
        """The path of a target in absolute form, or `*` (RFC 9112 3.2.2, 3.2.4)."""
        if target == b"*" and method == b"OPTIONS":
            return path
        scheme, found, rest = path.partition(b"://")
        authority, slash, below = rest.partition(b"/")
        if not found or scheme.lower() not in (b"http", b"https") or b"#" in target or not target.isascii():
            raise _bad("The target is not well formed")
        if authority.lower() != meant.get(b"host", authority).lower():
            raise _bad("The target and the Host field differ")
        self._hosts.check(authority)
        return slash + below if slash else b"/"


def _judge(head: Head, meant: dict[bytes, bytes]) -> None:
    """Sets what the fields decide together; Problem where they leave a doubt."""
    listed = _tokens(meant.get(b"connection", b""))
    if listed & _NEVER_LISTED:
        raise _bad("The Connection field names a field that frames the message")
    head.keep_alive = b"close" not in listed and (not head.http10 or b"keep-alive" in listed)
    head.length = _length(head, meant)
    expect = meant.get(b"expect")
    if expect is not None:
        if expect.lower() != b"100-continue":
            raise Problem("EXPECTATION_FAILED")
        head.expects = not head.http10 and head.length != 0
    if b"upgrade" in listed and b"upgrade" in meant and not head.http10 and head.length == 0:
        head.upgrade = meant[b"upgrade"].strip().lower()


def _length(head: Head, meant: dict[bytes, bytes]) -> int:
    coding, length = meant.get(b"transfer-encoding"), meant.get(b"content-length")
    if coding is not None:
        if length is not None or head.http10:
            raise _bad("The framing of the body is ambiguous")
        if coding.lower() != b"chunked":
            _refuse_coding(coding.lower())
        return CHUNKED
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length):
        raise _bad("The Content-Length field is not well formed")
    return int(length)


def _refuse_coding(coding: bytes) -> None:
    codings = [word.strip() for word in coding.split(b",")] if _CODINGS.fullmatch(coding) else []
    if codings[-1:] == [b"chunked"] and codings.count(b"chunked") == 1 and b"identity" not in codings:
        raise Problem("NOT_IMPLEMENTED", headers=[ALLOW], coding=ascii(coding))
    raise _bad("The Transfer-Encoding field is not well formed")


def _tokens(value: bytes) -> frozenset[bytes]:
    return frozenset(token.strip(b" \t") for token in value.lower().split(b",")) if value else frozenset()


def _version(version: bytes) -> Problem:
    if re.fullmatch(rb"HTTP/[0-9]\.[0-9]", version):
        return Problem("HTTP_VERSION_NOT_SUPPORTED")
    return _bad("The request line is not well formed")


def _method(method: bytes) -> Problem:
    if method in (b"CONNECT", b"TRACE"):
        return Problem("METHOD_NOT_ALLOWED", headers=[ALLOW])
    if _TOKEN.fullmatch(method):
        return Problem("NOT_IMPLEMENTED", headers=[ALLOW], method=ascii(method[:40]))
    return _bad("The request line is not well formed")


def _too_long(limits: Limits) -> Problem:
    return Problem("URI_TOO_LONG", f"A URL may hold {limits.url_bytes} bytes")


def _bad(message: str) -> Problem:
    return Problem("BAD_REQUEST", message)
