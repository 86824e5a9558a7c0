"""The head of an answer as bytes, and the answer to a request that never reached the application."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus

from gateway_runtime.errors import Problem

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
BODILESS = frozenset((204, 304))
"""Answers that end with their head (RFC 9110 6.4.1)."""

_TOKEN = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_OWN = frozenset((b"transfer-encoding", b"connection", b"keep-alive", b"upgrade"))
"""Fields that say how an answer is framed: the server's to say, not the application's."""
_REMEMBERED = 512


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}".encode("ascii")


_STATUS = {status: _status_line(status) for status in range(200, 600)}


class _Framing(Exception):
    """A field that says how the answer is framed."""


class _Leads(dict[bytes, bytes]):
    """Name of a field -> the bytes in front of its value. Only names found well formed get in, and only so many."""

    def __missing__(self, name: bytes) -> bytes:
        lead = _check_name(name)
        if lead in _KINDS:
            raise _Framing
        if len(self) < _REMEMBERED:
            self[name] = lead
        return lead


_lead = _Leads()


class BadAnswer(Exception):
    """The application made an answer that cannot be sent; the message is for the log."""


class Start:
    """The head of an answer before it is framed."""

    __slots__ = ("closes", "length", "lines", "parts", "status")

    def __init__(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        line = _STATUS.get(status)
        if line is None:
            raise BadAnswer(f"status {status!r}")
        self.status = status
        self.length: int | None = None
        """The Content-Length it carries."""
        self.closes = False
        """Whether the application asks for the connection's end."""
        try:  # nearly every answer: one pass without a question about any field
            self.parts = [line, *[_lead[name] + value for name, value in headers]]
            self.lines = len(self.parts)
            return
        except _Framing:
            pass
        self.parts = parts = [line]
        lines = 1
        for name, value in headers:
            lead = _check_name(name)
            if lead in _KINDS:
                if lead == b"\r\ncontent-length: ":
                    if status == 204:  # says nothing, and must not be there (RFC 9110 8.6)
                        continue
                    if self.length is not None or not _LENGTH.fullmatch(value):
                        raise BadAnswer("content-length")
                    self.length = int(value)
                else:
                    self.closes |= lead == b"\r\nconnection: " and b"close" in value.lower()
                    continue
            parts.append(lead)
            parts.append(value)
            lines += 1
        self.lines = lines

    def frame(self, *fields: bytes) -> bytes:
        """The head with the server's own field lines, each with its CRLF in front."""
        data = b"".join((*self.parts, *fields, b"\r\n\r\n"))
        # One comparison instead of one search per value: a value with a line break makes a line too many.
        if data.count(b"\n") != self.lines + len(fields) + 1 or data.count(b"\r") != self.lines + len(fields) + 1:
            raise BadAnswer("a field holds a line break")
        if b"\0" in data:
            raise BadAnswer("a field holds a NUL")
        return data


_KINDS = frozenset((b"\r\ncontent-length: ", *(b"\r\n" + name + b": " for name in _OWN)))


def _check_name(name: bytes) -> bytes:
    if not _TOKEN.fullmatch(name):
        raise BadAnswer(f"field name {name!r}")
    return b"\r\n" + name.lower() + b": "


def refusal(problem: Problem) -> tuple[bytes, str]:
    """The whole answer to a request the application never saw, and its request id. The connection ends with it."""
    from gateway_runtime.layers.problems import envelope

    request_id = secrets.token_hex(16)
    response = envelope(problem, request_id)
    body = response.body
    assert isinstance(body, bytes)
    headers = [
        *response.headers,
        (b"x-request-id", request_id.encode("ascii")),
        (b"vary", b"Origin"),  # as all answers do (layers/cors.py), though here no origin is ever granted anything
        (b"date", formatdate(time.time(), usegmt=True).encode("ascii")),
        (b"content-length", b"%d" % len(body)),
    ]
    return Start(response.status, headers).frame(b"\r\nconnection: close") + body, request_id
