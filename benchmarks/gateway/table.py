"""The arithmetic: medians over rounds, ratios within a round, and tables. Nothing here measures anything."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """One slice of one case at one target. `cpu`: seconds of the server's; percentiles in milliseconds."""

    case: str
    target: str
    round: int
    requests: int
    wall: float
    cpu: float
    p50: float
    p95: float
    p99: float
    size: float
    """Bytes of an answer on the wire, head included."""

    @property
    def per_cpu(self) -> float:
        """Requests per second of the server's CPU; 0 when it used none."""
        return self.requests / self.cpu if self.cpu > 0 else 0.0

    @property
    def per_wall(self) -> float:
        """Requests per second."""
        return self.requests / self.wall if self.wall > 0 else 0.0

    @property
    def busy(self) -> float:
        """Share of a core the server had: well below 1, the generator or somebody else was the limit."""
        return self.cpu / self.wall if self.wall > 0 else 0.0


@dataclass(frozen=True)
class Ratio:
    """The median of the rounds' ratios, and how far they lie apart."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        middle = number(self.median)
        return middle if self.low == self.high else f"{middle} ({number(self.low)}–{number(self.high)})"


def percentile(values: Sequence[float], at: float) -> float:
    """The smallest value that `at` percent of them do not exceed (nearest rank); NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * at / 100) - 1)]


def median(values: Iterable[float]) -> float:
    """NaN of nothing."""
    found = list(values)
    return statistics.median(found) if found else math.nan


def of(samples: Iterable[Sample], case: str, target: str) -> dict[int, Sample]:
    """The rounds of one cell."""
    return {each.round: each for each in samples if each.case == case and each.target == target}


def ratio(samples: Sequence[Sample], case: str, target: str, base: str) -> Ratio | None:
    """Requests per CPU second against another target's in the same round. None when no round has both."""
    ours, theirs = of(samples, case, target), of(samples, case, base)
    found = [ours[at].per_cpu / theirs[at].per_cpu for at in ours if at in theirs and theirs[at].per_cpu]
    return Ratio(median(found), min(found), max(found)) if found else None


def number(value: float) -> str:
    """For a cell: three digits that say something, never an exponent, `–` for nothing."""
    if math.isnan(value):
        return "–"
    if abs(value) >= 100 or value == 0:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.4f}"


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, its columns filled up so that it can be read as it is."""
    lines = [list(columns), *map(list, rows)]
    widths = [max(3, *(len(line[at]) for line in lines)) for at in range(len(columns))]
    ruled = [lines[0], ["-" * width for width in widths], *lines[1:]]
    return "\n".join(f"| {' | '.join(c.ljust(w) for c, w in zip(line, widths, strict=True))} |" for line in ruled)


def ratios_table(samples: Sequence[Sample], cases: Mapping[str, str], targets: Sequence[str], base: str) -> str:
    """Cases down, targets across: how many times `base`; for `base` itself its requests per CPU second."""
    rows = []
    for case, about in cases.items():
        row = [about]
        for target in targets:
            found = ratio(samples, case, target, base)
            if target == base and found is not None:
                row.append(f"1 ({number(median(s.per_cpu for s in of(samples, case, base).values()))}/s)")
            else:
                row.append("–" if found is None else str(found))
        rows.append(row)
    return markdown([f"× {base}, per server CPU second", *targets], rows)


def details_table(samples: Sequence[Sample], cases: Mapping[str, str], targets: Sequence[str]) -> str:
    """Every cell as a row of medians."""
    rows = []
    for case, about in cases.items():
        for target in targets:
            cell = list(of(samples, case, target).values())
            if cell:
                middle = [median(getattr(each, name) for each in cell) for name in _DETAILS.values()]
                rows.append([about, target, *map(number, middle)])
    return markdown(["case", "target", *_DETAILS], rows)


_DETAILS = {
    "req / CPU s": "per_cpu",
    "req / s": "per_wall",
    "core busy": "busy",
    "p50 ms": "p50",
    "p95 ms": "p95",
    "p99 ms": "p99",
    "bytes": "size",
}
