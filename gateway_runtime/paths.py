"""The one spelling of a path: what is routed and authorised is byte for byte what is forwarded."""

from __future__ import annotations

import re

from gateway_runtime.errors import Problem

URL_LIMIT = 8192
"""Bytes of path and query."""

_PLAIN = re.compile(rb"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~!$&'()*+,=:@-]+)*/?")
_PIECE = re.compile(rb"%([0-9A-Fa-f]{2})|([A-Za-z0-9._~!$&'()*+,=:@/-])")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_~")
_NEVER_ESCAPED = frozenset(b"./\\%;")
_QUERY = re.compile(rb"[\x21-\x7e]*")


def canonical_path(raw: bytes, query: bytes = b"") -> str:
    """The one spelling of a path (RFC 3986 6.2.2): needless escapes decoded, the others in upper case.

    Problem for whatever two servers could read differently: dot segments, empty segments, backslash, `;`, control and
    non-ASCII bytes, and escapes of dot, slash, backslash, percent and `;`. Idempotent.
    """
    if len(raw) + len(query) > URL_LIMIT:
        raise Problem("URI_TOO_LONG", f"A URL may hold {URL_LIMIT} bytes")
    if not raw.startswith(b"/") or not _QUERY.fullmatch(query):
        raise Problem("BAD_REQUEST", "The URL is not well formed")
    if not _PLAIN.fullmatch(raw):
        raw = _unescape(raw)
        if not _PLAIN.fullmatch(re.sub(rb"%..", b"x", raw)):
            raise Problem("BAD_REQUEST", "The path is not well formed")
    return raw.decode("ascii")


def _unescape(raw: bytes) -> bytes:
    out, at = bytearray(), 0
    while at < len(raw):
        match = _PIECE.match(raw, at)
        if not match:
            raise Problem("BAD_REQUEST", "The path holds a character that is not allowed")
        at = match.end()
        if match[1] is None:
            out += match[2]
            continue
        byte = int(match[1], 16)
        if byte in _NEVER_ESCAPED or not 0x20 <= byte < 0x7F:
            raise Problem("BAD_REQUEST", "The path holds an escape that is not allowed")
        out += bytes((byte,)) if byte in _UNRESERVED else b"%%%02X" % byte
    return bytes(out)
