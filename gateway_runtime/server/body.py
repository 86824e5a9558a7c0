"""The framing of a request's body: bytes in, pieces out (RFC 9112 6, 7.1).

A framing takes what arrived and returns the body bytes in it and what comes after the body. Nothing is kept but the part
of a line that is still arriving.
"""

from __future__ import annotations

import re
from typing import Protocol

from gateway_runtime.errors import Problem
from gateway_runtime.server.head import CHUNKED
from gateway_runtime.server.limits import CHUNK_EXTRA, CHUNK_EXTRA_FREE, CHUNK_EXTRA_RATIO, Limits

_TOKEN = rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})((?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb'|"[^"\\\x00-\x1f\x7f]*"))?)*)')
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[\t\x20-\x7e\x80-\xff]*")
_NOT_IN_TRAILER = frozenset(
    (b"content-length", b"transfer-encoding", b"host", b"connection", b"trailer", b"te", b"expect", b"authorization")
)
_SIZE_LINE, _DATA, _AFTER_DATA, _TRAILER, _END = range(5)


class Framing(Protocol):
    """How the end of a body is found."""

    done: bool

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """The body bytes in `data`, and what follows the body when it is done; Problem when it is malformed."""
        ...


def framing(length: int, limits: Limits) -> Framing:
    """The framing a head announces."""
    return Chunks(limits) if length == CHUNKED else Counted(length)


class Counted:
    """A body of so many bytes."""

    __slots__ = ("_left", "done")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        left = self._left
        if len(data) < left:
            self._left = left - len(data)
            return data, b""
        self._left, self.done = 0, True
        return (data, b"") if len(data) == left else (data[:left], data[left:])


class Chunks:
    """A chunked body. Extensions and trailer fields are checked, counted and dropped."""

    __slots__ = ("_body", "_extra", "_fields", "_held", "_left", "_limits", "_state", "_trailer", "done")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._state = _SIZE_LINE
        self._held = b""
        self._left = 0
        self._body = 0
        self._extra = 0
        self._trailer = 0
        self._fields = 0
        self.done = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        if self._held:
            data, self._held = self._held + data, b""
        at, size, pieces = 0, len(data), []
        while at < size and self._state != _END:
            if self._state == _DATA:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = _AFTER_DATA
                continue
            end = data.find(b"\r\n", at, at + 2 if self._state == _AFTER_DATA else size)
            if end < 0:
                self._hold(data[at:])
                break
            line, at = data[at:end], end + 2
            if self._state == _SIZE_LINE:
                self._size(line)
            elif self._state == _AFTER_DATA:
                self._state = _SIZE_LINE
            else:
                self._trail(line)
        self.done = self._state == _END
        return (pieces[0] if len(pieces) == 1 else b"".join(pieces)), data[at:] if self.done else b""

    def _hold(self, part: bytes) -> None:
        """Keeps the part of a line that has arrived, unless no end could make it right."""
        if self._state == _AFTER_DATA and part != b"\r":
            raise _bad()
        if b"\n" in part or b"\r" in part[:-1] or len(part) > CHUNK_EXTRA:
            raise _bad()
        self._held = part

    def _size(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise _bad()
        self._left = int(match[1], 16)
        self._body += self._left
        self._extra += len(match[2])
        if self._extra > CHUNK_EXTRA or self._extra > max(CHUNK_EXTRA_RATIO * self._body, CHUNK_EXTRA_FREE):
            raise Problem("BAD_REQUEST", "The chunks of the body carry too much besides the body")
        self._state = _DATA if self._left else _TRAILER

    def _trail(self, line: bytes) -> None:
        if not line:
            self._state = _END
            return
        match = _FIELD.fullmatch(line)
        if match is None or match[1].lower() in _NOT_IN_TRAILER:
            raise _bad()
        self._trailer += len(line)
        self._fields += 1
        if self._trailer > self._limits.head_bytes or self._fields > self._limits.head_fields:
            raise Problem("HEAD_TOO_LARGE", "The trailer of the body is larger than allowed")


def _bad() -> Problem:
    return Problem("BAD_REQUEST", "The chunks of the body are not well formed")
