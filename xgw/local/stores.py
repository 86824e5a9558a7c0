"""What the logging and monitoring APIs read, and what the front door and the processes write. Nouns and protocols only.

Implementations keep everything across restarts and may forget the oldest. All times are aware datetimes in UTC.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

SEVERITIES: Mapping[str, int] = {
    "DEFAULT": 0,
    "DEBUG": 100,
    "INFO": 200,
    "NOTICE": 300,
    "WARNING": 400,
    "ERROR": 500,
    "CRITICAL": 600,
    "ALERT": 700,
    "EMERGENCY": 800,
}
"""Cloud Logging's severities and their order (google.logging.type.LogSeverity)."""

Payload = Mapping[str, object] | str


@dataclass(frozen=True)
class LogRecord:
    """One stored log line. `id` grows with every append and breaks ties between equal times. A mapping payload is a
    structured line (jsonPayload), a string is a plain one (textPayload)."""

    id: int
    at: datetime
    service: str
    revision: str
    severity: str
    payload: Payload


@dataclass(frozen=True)
class Comparison:
    """One term of a filter: `field op value`. Timestamps arrive as datetimes, severities by name.

    Log fields: "service_name", "revision_name", "timestamp", "severity", "textPayload" or "jsonPayload.NAME[.NAME]".
    Operators: "=", "!=", "<", "<=", ">", ">=", and ":" (contains, ignoring case, or "the field exists" for "*").
    """

    field: str
    op: str
    value: str | float | bool | datetime


LogFilter = tuple[Comparison, ...]
"""All terms must hold."""


class LogStore(Protocol):
    """Log lines. `xgw.local.filters.matches(record, filter)` decides one line: an implementation may narrow by service,
    revision, severity and time with an index first, and must give the same answer."""

    def append(self, service: str, revision: str, severity: str, payload: Payload, at: datetime) -> None:
        """Keep one line. Must not block for long: called for every line of every process."""

    def query(
        self,
        filter: LogFilter,
        order: Literal["asc", "desc"],
        page_size: int,
        after: tuple[datetime, int] | None = None,
    ) -> Sequence[LogRecord]:
        """At most `page_size` matching lines in order of (at, id), ascending or descending, beginning behind the
        position `after` = (at, id) of the last line of the page before."""


@dataclass(frozen=True)
class Buckets:
    """Bucket bounds of a distribution. Bucket 0 is underflow, `finite + 1` overflow (google.api.Distribution).

    linear: bucket i holds offset + width*(i-1) <= x < offset + width*i.
    exponential (`growth` > 0): bucket 0 holds x < scale, bucket i holds scale*growth^(i-1) <= x < scale*growth^i.
    """

    finite: int
    width: float = 0.0
    offset: float = 0.0
    growth: float = 0.0
    scale: float = 1.0

    def index(self, value: float) -> int:
        """The bucket a value falls into."""
        if self.growth:
            if value < self.scale:
                return 0
            raw = math.floor(math.log(value / self.scale, self.growth) + 1e-9) + 1
        else:
            raw = math.floor((value - self.offset) / self.width + 1e-9) + 1
        return max(0, min(raw, self.finite + 1))


MEMORY_BUCKETS = Buckets(finite=100, width=0.01)
"""Memory utilisation as a fraction of the limit, 0..1."""
LATENCY_BUCKETS = Buckets(finite=160, growth=1.1, scale=1.0)
"""Request latency in milliseconds, 1 ms to more than the longest request timeout (3600 s)."""


@dataclass(frozen=True)
class Interval:
    """One point of a DELTA series: what happened in [start, end). `counts` maps bucket index to count and is empty for
    a plain counter; `squared` is the sum of squared deviations from the mean."""

    start: datetime
    end: datetime
    count: int
    mean: float = 0.0
    squared: float = 0.0
    counts: Mapping[int, int] = field(default_factory=dict)


MetricName = Literal["container/memory/utilizations", "request_count", "request_latencies"]
METRICS: tuple[MetricName, ...] = ("container/memory/utilizations", "request_count", "request_latencies")


@dataclass(frozen=True)
class Series:
    """One time series of one revision. `code_class` is "2xx".."5xx", and "" for memory."""

    service: str
    revision: str
    code_class: str
    intervals: Sequence[Interval]


class MetricStore(Protocol):
    """Samples, folded on arrival into intervals of at most 60 s (Cloud Run samples each 60 s; a rehearsal wants its
    numbers sooner, so shorter intervals are right, and an interval still growing may be shown)."""

    def add_memory_sample(self, service: str, revision: str, fraction: float) -> None:
        """One look at the memory of one instance, as a fraction of its limit; buckets are MEMORY_BUCKETS."""

    def add_request(self, service: str, revision: str, code_class: str, latency_ms: float) -> None:
        """One answered request; `code_class` "2xx".."5xx"; buckets are LATENCY_BUCKETS."""

    def series(self, metric: MetricName, start: datetime, end: datetime) -> Sequence[Series]:
        """Every series with at least one interval whose end is in (start, end]; intervals newest first."""
