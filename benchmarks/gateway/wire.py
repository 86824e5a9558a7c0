"""One request, one answer, over a plain socket: to see that an answer is the right one."""

from __future__ import annotations

import gzip
import json
import socket
from dataclasses import dataclass, field
from typing import Any

import httptools

from benchmarks.gateway import data
from benchmarks.gateway.cases import Case
from benchmarks.gateway.faults import BenchmarkFault

WAIT_SECONDS = 10.0


@dataclass
class Answer:
    """An answer as it came; `size` is its bytes on the wire, head included."""

    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    size: int = 0

    @property
    def content(self) -> bytes:
        """The body, decoded."""
        return gzip.decompress(self.body) if self.fields.get("content-encoding") == "gzip" else self.body


class Reader:
    """Collects one answer at a time from the bytes of a connection (the names are httptools's)."""

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self._parts: list[bytes] = []
        self._fields: dict[str, str] = {}
        self._size = 0
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> Answer | None:
        """The answer, once it is whole."""
        self._size += len(data)
        self._parser.feed_data(data)
        return self.answer

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field."""
        self._fields[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, piece: bytes) -> None:
        """A piece of the body, chunks taken apart."""
        self._parts.append(piece)

    def on_message_complete(self) -> None:
        """All of it is there."""
        self.answer = Answer(self._parser.get_status_code(), self._fields, b"".join(self._parts), self._size)


def read(wire: socket.socket) -> Answer:
    """The next answer of a connection."""
    reader = Reader()
    while (answer := reader.feed(_some(wire))) is None:
        pass
    return answer


def ask(port: int, request: bytes) -> Answer:
    """One request on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS) as wire:
        wire.sendall(request)
        return read(wire)


def check(answer: Answer, case: Case, bodies: dict[str, bytes], whose: str) -> None:
    """BenchmarkFault unless status, coding and content are what the case says."""
    coding = answer.fields.get("content-encoding", "")
    where = f"{whose}, {case.about}"
    if answer.status != case.status:
        raise BenchmarkFault(f"{where}: {answer.status} instead of {case.status}: {answer.body[:200]!r}")
    if coding != case.coding:
        raise BenchmarkFault(f"{where}: coding {coding or 'none'} instead of {case.coding or 'none'}")
    if case.answer and json.loads(answer.content) != _expected(case, bodies):
        raise BenchmarkFault(f"{where}: another content than the upstream's")
    if not answer.fields.get("x-request-id"):
        raise BenchmarkFault(f"{where}: no X-Request-ID")
    if not answer.fields.get("access-control-allow-origin"):
        raise BenchmarkFault(f"{where}: the allowed origin is not allowed")


def _expected(case: Case, bodies: dict[str, bytes]) -> Any:
    return data.CREATED if case.answer == "created" else json.loads(bodies[case.answer])


def _some(wire: socket.socket) -> bytes:
    found = wire.recv(262144)
    if not found:
        raise BenchmarkFault("the connection ended before its answer")
    return found
