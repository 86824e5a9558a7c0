"""Samples of memory and requests, folded on arrival into intervals: what the monitoring API reads.

Intervals are OPEN_SECONDS long and aligned to the clock; those older than FINE_SECONDS are merged into minutes, those
older than KEPT_SECONDS are forgotten. Closed intervals are written to one file, which is written anew (merged) at each
start and when it has grown. `kill -9` of the daemon loses at most the open interval of each series.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from xgw.local.stores import LATENCY_BUCKETS, MEMORY_BUCKETS, Buckets, Interval, MetricName, Series

OPEN_SECONDS = 5
FINE_SECONDS = 600
COARSE_SECONDS = 60
KEPT_SECONDS = 26 * 3600
"""A day's window of the plan, with slack."""
FILE_BYTES = 16 * 1024 * 1024

Key = tuple[MetricName, str, str, str]


@dataclass(slots=True)
class Fold:
    """What happened in [start, end), in unix seconds; grows while the interval is open."""

    start: float
    end: float
    count: int = 0
    mean: float = 0.0
    squared: float = 0.0
    counts: dict[int, int] = field(default_factory=dict)

    def add(self, value: float, buckets: Buckets) -> None:
        """Welford's update of count, mean and squared deviations."""
        self.count += 1
        step = value - self.mean
        self.mean += step / self.count
        self.squared += step * (value - self.mean)
        index = buckets.index(value)
        self.counts[index] = self.counts.get(index, 0) + 1

    def merge(self, other: Fold) -> None:
        """Chan's combination; `other` lies behind this one."""
        total = self.count + other.count
        if total:
            step = other.mean - self.mean
            self.squared += other.squared + step * step * self.count * other.count / total
            self.mean += step * other.count / total
        self.count = total
        self.end = max(self.end, other.end)
        for index, count in other.counts.items():
            self.counts[index] = self.counts.get(index, 0) + count

    def interval(self) -> Interval:
        """The frozen form."""
        start, end = (datetime.fromtimestamp(at, UTC) for at in (self.start, self.end))
        return Interval(start, end, self.count, self.mean, self.squared, dict(self.counts))


class FileMetricStore:
    """Implements xgw.local.stores.MetricStore over `directory`/intervals.jsonl."""

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.time) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / "intervals.jsonl"
        self._clock = clock
        self._series: dict[Key, list[Fold]] = {}
        self._file = -1
        self._rewrite_at = FILE_BYTES
        self._load()
        self._rewrite()

    def add_memory_sample(self, service: str, revision: str, fraction: float) -> None:
        """See the protocol. Every look counts, so a peak shorter than an interval is in its buckets."""
        self._open(("container/memory/utilizations", service, revision, "")).add(fraction, MEMORY_BUCKETS)

    def add_request(self, service: str, revision: str, code_class: str, latency_ms: float) -> None:
        """See the protocol: counts in request_count and request_latencies."""
        counted = self._open(("request_count", service, revision, code_class))
        counted.count += 1
        self._open(("request_latencies", service, revision, code_class)).add(latency_ms, LATENCY_BUCKETS)

    def series(self, metric: MetricName, start: datetime, end: datetime) -> Sequence[Series]:
        """See the protocol. An interval still growing is shown, ending now or at `end`."""
        first, last, now = start.timestamp(), end.timestamp(), self._clock()
        found = []
        for (name, service, revision, code_class), folds in self._series.items():
            if name != metric:
                continue
            shown = []
            for fold in reversed(folds):
                frozen = fold if fold.end <= now else _until(fold, min(now, last))
                if first < frozen.end <= last and frozen.count:
                    shown.append(frozen.interval())
            if shown:
                found.append(Series(service, revision, code_class, shown))
        return found

    def close(self) -> None:
        """Write what is still open; the next start continues from there."""
        for key, folds in self._series.items():
            if folds:
                self._write(key, folds[-1])
        os.close(self._file)

    def _open(self, key: Key) -> Fold:
        now = self._clock()
        folds = self._series.setdefault(key, [])
        # `now` before the start: the clock was set back. Going on in the open interval keeps times ascending.
        if folds and now < folds[-1].end:
            return folds[-1]
        if folds:
            self._write(key, folds[-1])
            _thin(folds, now)
        start = now - now % OPEN_SECONDS
        if folds:
            start = max(start, folds[-1].end)
        fresh = Fold(start, now - now % OPEN_SECONDS + OPEN_SECONDS)
        folds.append(fresh)
        return fresh

    def _write(self, key: Key, fold: Fold) -> None:
        try:
            os.write(self._file, _encode(key, fold))
            if os.fstat(self._file).st_size > self._rewrite_at:
                self._rewrite()
        except OSError:
            # Full or gone: what is in memory still answers.
            return

    def _rewrite(self) -> None:
        """Replace the file by what is kept, merged."""
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            for key, folds in self._series.items():
                file.writelines(_encode(key, fold) for fold in folds)
        os.replace(fresh, self._path)
        if self._file >= 0:
            os.close(self._file)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        self._rewrite_at = max(FILE_BYTES, 2 * os.fstat(self._file).st_size)

    def _load(self) -> None:
        if not self._path.exists():
            return
        now = self._clock()
        with self._path.open("rb") as lines:
            for raw in lines:
                found = _decode(raw)
                if found is not None and found[1].end > now - KEPT_SECONDS:
                    folds = self._series.setdefault(found[0], [])
                    # An interval can be written more than once while it grows; the last writing has it all.
                    if folds and folds[-1].start == found[1].start:
                        folds.pop()
                    folds.append(found[1])
        for folds in self._series.values():
            _thin(folds, now)


def _until(fold: Fold, now: float) -> Fold:
    return Fold(fold.start, max(now, fold.start), fold.count, fold.mean, fold.squared, fold.counts)


def _thin(folds: list[Fold], now: float) -> None:
    """Forget what is too old and merge neighbours in the same old minute. In place; order stays ascending."""
    kept: list[Fold] = []
    for fold in folds:
        if fold.end <= now - KEPT_SECONDS:
            continue
        last = kept[-1] if kept else None
        same_minute = last is not None and last.start // COARSE_SECONDS == (fold.end - 0.001) // COARSE_SECONDS
        if last is not None and same_minute and fold.end <= now - FINE_SECONDS:
            last.merge(fold)
        else:
            kept.append(fold)
    folds[:] = kept


def _encode(key: Key, fold: Fold) -> bytes:
    counts = sorted(fold.counts.items())
    row = [*key, fold.start, fold.end, fold.count, fold.mean, fold.squared, counts]
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def _decode(raw: bytes) -> tuple[Key, Fold] | None:
    try:
        metric, service, revision, code_class, start, end, count, mean, squared, counts = json.loads(raw)
        return (metric, service, revision, code_class), Fold(start, end, count, mean, squared, dict(counts))
    except (ValueError, TypeError):
        return None
