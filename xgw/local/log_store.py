"""Log lines of all revisions, in memory for the queries and in two files for the next start.

Bounded twice: at most KEPT_LINES lines and KEPT_BYTES bytes in memory, and two files of SEGMENT_BYTES each on disk
(the older one is dropped when the newer one is full). What is appended is written to the file at once, so `kill -9`
of the daemon loses nothing that was appended; a full disk loses lines on disk, never the daemon.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from xgw.local.filters import matches
from xgw.local.stores import LogFilter, LogRecord, Payload

SEGMENT_BYTES = 8 * 1024 * 1024
KEPT_LINES = 50_000
KEPT_BYTES = 32 * 1024 * 1024


class FileLogStore:
    """Implements xgw.local.stores.LogStore over `directory`/entries.jsonl and entries.1.jsonl."""

    def __init__(self, directory: Path, *, segment_bytes: int = SEGMENT_BYTES, kept_lines: int = KEPT_LINES) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._current = directory / "entries.jsonl"
        self._older = directory / "entries.1.jsonl"
        self._segment_bytes = segment_bytes
        self._kept_lines = kept_lines
        self._records: deque[tuple[LogRecord, int]] = deque()
        self._bytes = 0
        self._last_id = 0
        for record, size in self._load():
            self._keep(record, size)
        self._file = os.open(self._current, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._written = os.fstat(self._file).st_size
        self._end_torn_line()

    def append(self, service: str, revision: str, severity: str, payload: Payload, at: datetime) -> None:
        """Keep one line. Raises nothing for a disk that is full or gone."""
        record = LogRecord(self._last_id + 1, at, service, revision, severity, payload)
        raw = _encode(record)
        self._keep(record, len(raw))
        try:
            if self._written + len(raw) > self._segment_bytes:
                self._rotate()
            self._written += os.write(self._file, raw)
        except OSError:
            # The line is still in memory; there is nowhere left to complain to.
            return

    def query(
        self,
        filter: LogFilter,
        order: Literal["asc", "desc"],
        page_size: int,
        after: tuple[datetime, int] | None = None,
    ) -> Sequence[LogRecord]:
        """See the protocol. One pass over what is kept."""
        down = order == "desc"
        found = [
            record
            for record, _ in self._records
            if (after is None or (((record.at, record.id) < after) if down else ((record.at, record.id) > after)))
            and matches(record, filter)
        ]
        # Lines name their own time, so the order of arrival is not the order asked for.
        found.sort(key=lambda record: (record.at, record.id), reverse=down)
        return found[:page_size]

    def close(self) -> None:
        """Give the file back. Nothing is buffered."""
        os.close(self._file)

    def _keep(self, record: LogRecord, size: int) -> None:
        self._last_id = max(self._last_id, record.id)
        self._records.append((record, size))
        self._bytes += size
        while len(self._records) > self._kept_lines or self._bytes > KEPT_BYTES:
            _, gone = self._records.popleft()
            self._bytes -= gone

    def _load(self) -> Iterator[tuple[LogRecord, int]]:
        for path in (self._older, self._current):
            if path.exists():
                with path.open("rb") as lines:
                    for raw in lines:
                        record = _decode(raw)
                        if record is not None:
                            yield record, len(raw)

    def _rotate(self) -> None:
        os.replace(self._current, self._older)
        fresh = os.open(self._current, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.close(self._file)
        self._file, self._written = fresh, 0

    def _end_torn_line(self) -> None:
        """A power cut can leave half a line; the next one must not be glued to it."""
        if self._written:
            with self._current.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                torn = file.read(1) != b"\n"
            if torn:
                self._written += os.write(self._file, b"\n")


def _encode(record: LogRecord) -> bytes:
    fields = [record.id, record.at.isoformat(), record.service, record.revision, record.severity, record.payload]
    return json.dumps(fields, separators=(",", ":"), default=str).encode("utf-8", "replace") + b"\n"


def _decode(raw: bytes) -> LogRecord | None:
    """The record in one stored line; None for a torn one."""
    try:
        number, at, service, revision, severity, payload = json.loads(raw)
        return LogRecord(number, datetime.fromisoformat(at), service, revision, severity, payload)
    except (ValueError, TypeError):
        return None
