"""The log: one line per event on stdout, written off the hot path.

JSON lines follow Cloud Logging's structured form (severity, message, time, httpRequest, logging.googleapis.com/trace),
so that severity and fields survive; `LOG_FORMAT=text` writes the plain lines the plan starts from. Every line is ASCII
with all control characters escaped and holds at most LINE_LIMIT bytes: nothing in a request can start a second line.
Whatever looks like a token (a JWS begins with `eyJ`) is taken out of every line, wherever a client has put it.

Lines are collected and written by one thread, at most FLUSH_SECONDS after they were made, and by `close`. A reader that
stops reading therefore never stops a request: past BACKLOG_LIMIT bytes lines are dropped and the number is said.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

LINE_LIMIT = 8192
FLUSH_SECONDS = 0.05
BACKLOG_LIMIT = 4 * 1024 * 1024
TRACE = "logging.googleapis.com/trace"
RANK: Mapping[str, int] = {"debug": 0, "info": 1, "warning": 2, "error": 3}

quoted = json.encoder.encode_basestring_ascii
"""A text as JSON, in ASCII."""

_PLAIN = re.compile(r"[A-Za-z0-9_./:;,+*@~-]+", re.ASCII)
_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}", re.ASCII)
_encode = json.JSONEncoder(default=str, separators=(",", ":")).encode


class Log:
    """Lines of at least one level, in one format, to one file descriptor. Safe to use from any thread."""

    def __init__(
        self,
        level: str = "info",
        form: str = "json",
        *,
        common: Mapping[str, Any] | None = None,
        project: str = "",
        fd: int = 1,
    ) -> None:
        self._rank = RANK[level]
        self._render: Callable[[str, str, float, Mapping[str, Any]], str] = _json if form == "json" else _text
        self._common = dict(common or {})
        self._common_text = _encode(self._common)[1:-1] + "," if form == "json" and self._common else ""
        self.json = form == "json"
        """Whether lines are JSON, so that `write_text` will do."""
        self._traces = f"projects/{project}/traces/" if project else ""
        self._fd = fd
        self._lines: list[str] = []
        self._waiting = 0
        self._dropped = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    def wants(self, level: str) -> bool:
        """Whether a line of this level would be written."""
        return RANK[level] >= self._rank

    def write(self, level: str, message: str, *, at: float = 0, trace: str = "", **fields: Any) -> None:
        """One line. Never raises and never waits."""
        if RANK[level] < self._rank:
            return
        if trace:
            fields[TRACE] = self._traces + trace
        self._add(self._render(level, message, at or time.time(), {**self._common, **fields}))

    def write_text(self, level: str, message: str, fields: str, *, trace: str) -> bool:
        """`write` for the hot path: `fields` is JSON already, `"name":value` pairs. False, with nothing written, when
        the line would have to be shortened.
        """
        line = (
            f'{{"severity":"{level.upper()}","message":{quoted(message)},"time":"{_stamp(time.time())}",'
            f'{self._common_text}{fields},"{TRACE}":{quoted(self._traces + trace)}}}\n'
        )
        if len(line) > LINE_LIMIT or not trace:
            return False
        if RANK[level] >= self._rank:
            self._add(line)
        return True

    def _add(self, line: str) -> None:
        with self._lock:
            if self._waiting > BACKLOG_LIMIT:
                self._dropped += 1
                return
            self._lines.append(line)
            self._waiting += len(line)
        if not self._wake.is_set():
            self._start()
            self._wake.set()

    def close(self) -> None:
        """Writes what is waiting and ends the thread. Lines that come later are written at once."""
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=1)
            if self._thread.is_alive():  # nobody is reading; waiting longer would only get the process killed
                return
        self._flush()

    def _start(self) -> None:
        if self._closed:
            self._flush()
        elif self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait()
            if not self._closed:
                time.sleep(FLUSH_SECONDS)
            self._wake.clear()
            self._flush()

    def _flush(self) -> None:
        with self._lock:
            lines, dropped = self._lines, self._dropped
            self._lines, self._dropped = [], 0
        if dropped:
            lines.append(
                self._render("warning", "log lines dropped", time.time(), {**self._common, "dropped": dropped})
            )
        data = memoryview(_redacted("".join(lines)).encode())
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:  # nobody reads any more; there is nowhere left to say so
            pass
        with self._lock:
            self._waiting = sum(map(len, self._lines))


def sampled(key: str, rate: float) -> bool:
    """Whether the request with this trace id is kept. The same key is always judged the same, in every process."""
    return rate >= 1 or (zlib.crc32(key.encode()) * 0x9E3779B1 & 0xFFFFFFFF) < rate * 0x100000000


def _json(level: str, message: str, at: float, fields: Mapping[str, Any]) -> str:
    entry = {"severity": level.upper(), "message": message, "time": _stamp(at), **fields}
    line = _encode(entry)
    limit = 2048
    while len(line) >= LINE_LIMIT and limit > 8:
        line = _encode({**_clip(entry, limit), "truncated": True})
        limit //= 4
    return line + "\n"


def _text(level: str, message: str, _at: float, fields: Mapping[str, Any]) -> str:
    words = [level, _encode(message[:1000])[1:-1]]
    for key, value in fields.items():
        inner = value.items() if isinstance(value, Mapping) else ((key, value),)
        words += (f"{name}={item if _PLAIN.fullmatch(str(item)) else _encode(item)}" for name, item in inner)
    return " ".join(words)[: LINE_LIMIT - 1] + "\n"


def _clip(value: Any, limit: int) -> Any:
    """The value with every text cut to its end: the innermost frame of a stack is the one that matters."""
    if isinstance(value, str):
        value = _redacted(value)  # before its beginning is cut off
        return value if len(value) <= limit else "…" + value[-limit:]
    if isinstance(value, Mapping):
        return {str(key)[:64]: _clip(item, limit) for key, item in list(value.items())[:32]}
    if isinstance(value, list | tuple):
        return [_clip(item, limit) for item in value[:32]]
    return value


def _redacted(text: str) -> str:
    return _TOKEN.sub("[token]", text) if "eyJ" in text else text


_last_second = (-1, "")


def _stamp(at: float) -> str:
    """RFC 3339 with milliseconds."""
    global _last_second
    second, text = _last_second  # one tuple, replaced whole: threads cannot tear it
    if int(at) != second:
        second = int(at)
        text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        _last_second = (second, text)
    return f"{text}{int((at - second) * 1000):03d}Z"
