"""What the process counts, in Prometheus' text form.

    requests = metrics.counter("gateway_requests_total", "Requests answered.", "route", "status")
    requests.add("/health", "2xx")
    metrics.gauge("gateway_up", "Always 1.", read=lambda: [((), 1)])

Counting is a dictionary's `+=`; names, labels and text are put together when somebody asks. A family holds at most
SERIES_LIMIT series: past that, what is new is counted under `other`, so that no label a stranger can choose fills the
memory. Labels are words of ours (a route's pattern, an upstream's name), never a path, a tenant or an address.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

SERIES_LIMIT = 200
"""Series in one family."""
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper bounds in seconds: the plan's 200 ms lies between two, its deadlines of 30 and 120 s are bounds."""
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[str, ...]
Read = Callable[[], Iterable[tuple[Labels, float]]]
"""Asked at each scrape: the series there are now, each with its label values."""


class Family(Protocol):
    """One named metric with all its series."""

    def lines(self) -> Iterable[str]: ...


F = TypeVar("F", bound=Family)


class Counter:
    """Only rises. `add` takes the label values in the order the family was made with."""

    def __init__(self, name: str, about: str, labels: Sequence[str]) -> None:
        self._head = _head(name, about, "counter")
        self._name, self._labels = name, labels
        self._other: Labels = ("other",) * len(labels)
        self.series: dict[Labels, float] = {}

    def add(self, *values: str, by: float = 1) -> None:
        """Counts `by` more."""
        series = self.series
        if values not in series and len(series) >= SERIES_LIMIT:
            values = self._other
        series[values] = series.get(values, 0) + by

    def lines(self) -> Iterable[str]:
        yield self._head
        for values, number in list(self.series.items()):
            yield f"{self._name}{_labels(self._labels, values)} {number:.17g}\n"


class Gauge:
    """A value that is read when it is asked for."""

    def __init__(self, name: str, about: str, labels: Sequence[str], read: Read, kind: str) -> None:
        self._head = _head(name, about, kind)
        self._name, self._labels, self._read = name, labels, read

    def lines(self) -> Iterable[str]:
        yield self._head
        for values, number in list(self._read())[:SERIES_LIMIT]:
            yield f"{self._name}{_labels(self._labels, values)} {number:.17g}\n"


class Histogram:
    """How long things took, in seconds, counted by BUCKETS."""

    def __init__(self, name: str, about: str, labels: Sequence[str]) -> None:
        self._head = _head(name, about, "histogram")
        self._name, self._labels = name, labels
        self._other: Labels = ("other",) * len(labels)
        self.series: dict[Labels, list[float]] = {}

    def observe(self, seconds: float, *values: str) -> None:
        """Counts one."""
        found = self.series.get(values)
        if found is None:
            if len(self.series) >= SERIES_LIMIT:
                values = self._other
            found = self.series.setdefault(values, [0.0] * (len(BUCKETS) + 2))
        found[bisect_left(BUCKETS, seconds)] += 1
        found[-1] += seconds

    def lines(self) -> Iterable[str]:
        yield self._head
        for values, (*counts, total) in list(self.series.items()):
            seen = 0.0
            for bound, count in zip((*BUCKETS, "+Inf"), counts, strict=True):
                seen += count
                yield f"{self._name}_bucket{_labels((*self._labels, 'le'), (*values, str(bound)))} {seen:.17g}\n"
            yield f"{self._name}_sum{_labels(self._labels, values)} {total:.17g}\n"
            yield f"{self._name}_count{_labels(self._labels, values)} {seen:.17g}\n"


class Metrics:
    """All of a process's families. One per process, made in `app.build` and handed to whoever counts."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}
        started = time.time()
        self.gauge("process_start_time_seconds", "When the process started, Unix time.", read=lambda: [((), started)])

    def counter(self, name: str, about: str, *labels: str) -> Counter:
        """A new counter; its name ends in `_total`."""
        return self._add(name, Counter(name, about, labels))

    def histogram(self, name: str, about: str, *labels: str) -> Histogram:
        """A new histogram of seconds; its name ends in `_seconds`."""
        return self._add(name, Histogram(name, about, labels))

    def gauge(self, name: str, about: str, *labels: str, read: Read, kind: str = "gauge") -> Gauge:
        """A new value that is read at each scrape; `kind="counter"` for one that somebody else counts up."""
        return self._add(name, Gauge(name, about, labels, read, kind))

    def text(self) -> str:
        """Everything, as a scraper reads it."""
        return "".join(line for family in self._families.values() for line in family.lines())

    def _add(self, name: str, family: F) -> F:
        if name in self._families:
            raise ValueError(f"two metrics are called {name}")
        self._families[name] = family
        return family


def _head(name: str, about: str, kind: str) -> str:
    return f"# HELP {name} {about}\n# TYPE {name} {kind}\n"


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    if not names:
        return ""
    return "{" + ",".join(f'{name}="{_quoted(value)}"' for name, value in zip(names, values, strict=True)) + "}"


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
