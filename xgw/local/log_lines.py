"""What one line of a process' output says: Cloud Run's reading of stdout and stderr. Pure, but for the pipe at the end.

A line that is one JSON object is a structured entry: `severity` and `time` are taken out of it and the rest is the
payload. Anything else is plain text with severity DEFAULT, on stderr as on stdout (Cloud Run docs: "Logging and
viewing logs", "Writing structured logs").
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from xgw.local.stores import SEVERITIES, Payload

LONGEST_LINE = 256 * 1024
"""Bytes of one line that are kept; the rest of a longer line is dropped (Cloud Logging's limit of an entry)."""

_ALIASES = {"WARN": "WARNING", "ERR": "ERROR", "FATAL": "CRITICAL", "TRACE": "DEBUG"}


@dataclass(frozen=True)
class Line:
    """One entry as it is to be stored."""

    severity: str
    payload: Payload
    at: datetime


def parse(raw: bytes, now: datetime) -> Line | None:
    """The entry in one line without its line end; None for a blank one. Never raises."""
    text = raw.decode("utf-8", "replace").rstrip("\r")
    if not text.strip():
        return None
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            return _structured(found, now)
    return Line("DEFAULT", text, now)


def _structured(payload: dict[str, object], now: datetime) -> Line:
    severity = _severity(payload.get("severity"))
    if severity is None:
        severity = "DEFAULT"
    else:
        del payload["severity"]
    at = _time(payload.get("time"))
    if at is not None:
        del payload["time"]
    return Line(severity, payload, at or now)


def _severity(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    name = value.upper()
    name = _ALIASES.get(name, name)
    return name if name in SEVERITIES else None


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
        return at.astimezone(UTC) if at.tzinfo else None
    except (ValueError, OverflowError):
        return None


class LineSplitter:
    """Cuts a stream of bytes into lines of at most LONGEST_LINE; holds no more than one line."""

    def __init__(self, each: Callable[[bytes], None]) -> None:
        self._each = each
        self._part = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> None:
        """Take what was read; calls `each` for every line that ended in it."""
        *ended, rest = data.split(b"\n")
        for piece in ended:
            self._add(piece)
            self._end()
        self._add(rest)

    def close(self) -> None:
        """The stream has ended: a last line without a line end counts too."""
        self._end()

    def _add(self, piece: bytes) -> None:
        room = LONGEST_LINE - len(self._part)
        if not self._skipping:
            self._part += piece[:room]
            self._skipping = len(piece) > room

    def _end(self) -> None:
        if self._part:
            self._each(bytes(self._part))
        self._part.clear()
        self._skipping = False


class LinePipe(asyncio.Protocol):
    """The reading end of a process' stdout or stderr; `ended` is done when the last writer has closed it."""

    def __init__(self, each: Callable[[Line], None]) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._each = each
        self._splitter = LineSplitter(self._line)

    def _line(self, raw: bytes) -> None:
        line = parse(raw, datetime.now(UTC))
        if line is not None:
            self._each(line)

    def data_received(self, data: bytes) -> None:
        self._splitter.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._splitter.close()
        if not self.ended.done():
            self.ended.set_result(None)
