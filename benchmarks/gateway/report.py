"""What a run found, as data and as a page."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.gateway.build import ROOT
from benchmarks.gateway.cases import CASES
from benchmarks.gateway.measure import FELT_RATE, QUIET_RATE, SOCKETS, Pace
from benchmarks.gateway.table import Sample, details_table, markdown, median, number, ratio, ratios_table

Rounds = Mapping[str, Sequence[Mapping[str, float]]]
BUSY = 0.3
"""A load average above this before a run: somebody else is at work."""


@dataclass
class Result:
    """A whole run. `rates` and `starts`: target -> one row of figures per round."""

    machine: dict[str, Any]
    pace: Pace
    targets: list[str]
    notes: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    rates: Rounds = field(default_factory=dict)
    starts: Rounds = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    """Why a case has no figures."""


def machine(versions: Mapping[str, str]) -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "versions": dict(versions),
        "commit": _commit(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def as_json(result: Result) -> str:
    """Every sample, and what was concluded."""
    data = asdict(result)
    for row, sample in zip(data["samples"], result.samples, strict=True):
        row["per_cpu"], row["per_wall"] = round(sample.per_cpu, 1), round(sample.per_wall, 1)
    data["ratios"] = {
        f"{case.name}/{target}/{base}": asdict(found)
        for case in CASES
        for target in result.targets
        for base in ("express", "nginx")
        if target != base and (found := ratio(result.samples, case.name, target, base)) is not None
    }
    return json.dumps(data, indent=1, allow_nan=True) + "\n"


def as_markdown(result: Result) -> str:
    """The page."""
    m, pace = result.machine, result.pace
    cases = {case.name: case.about for case in CASES if any(s.case == case.name for s in result.samples)}
    parts = [
        f"# The gateway beside its peers, {m['when'][:10]}",
        f"{m['cpu']}, {m['cores']} cores, {m['system']}; commit {m['commit']}; load average before: {m['load_before']}.\n"
        f"{pace.rounds} round{'s' * (pace.rounds > 1)} of {pace.seconds:g} s after {pace.lead:g} s of lead-in; "
        "medians, and the range of the rounds.",
        "\n".join(f"- **{note}**" for note in [*result.notes, *result.faults]),
    ]
    for base in ("express", "nginx"):
        if cases and base in result.targets:
            parts.append(ratios_table(result.samples, cases, result.targets, base))
    if cases:
        parts += [goals(result), details_table(result.samples, cases, result.targets)]
    parts += [_rates(result), _starts(result)]
    parts.append("\n".join(f"- {name}: {version}" for name, version in sorted(m["versions"].items())))
    return "\n\n".join(part for part in parts if part) + "\n"


def goals(result: Result) -> str:
    """What this project set itself, and what it got."""
    rows = []
    for case in CASES:
        for base, wanted in case.goals:
            found = ratio(result.samples, case.name, "gateway", base)
            if found is not None:
                verdict = "yes" if found.median >= wanted else "no"
                rows.append([case.about, base, f"≥ {wanted:g}", number(found.median), verdict])
    return markdown(["goal", "times", "wanted", "got", "reached"], rows) if rows else ""


def _rates(result: Result) -> str:
    return _table(
        result, result.rates, "at a fixed rate",
        {
            f"CPU s per 10 000 at {QUIET_RATE:g}/s": ("cpu_per_10000", 1),
            f"p50 ms at {FELT_RATE:g}/s": ("p50", 1), "p95 ms": ("p95", 1), "p99 ms": ("p99", 1),
            "generator late, p99 ms": ("late_p99", 1),
        },
    )  # fmt: skip


def _starts(result: Result) -> str:
    return _table(
        result, result.starts, "alone",
        {
            "cold start ms": ("start_ms", 1), "memory MiB (PSS)": ("pss", 2**20), "RSS": ("rss", 2**20),
            f"with {SOCKETS} connections MiB": ("pss_sockets", 2**20), "KiB a connection": ("per_socket", 2**10),
        },
    )  # fmt: skip


def _table(result: Result, rounds: Rounds, title: str, columns: Mapping[str, tuple[str, int]]) -> str:
    """Medians, and behind each how many times Express's and nginx's it is."""
    if not any(rounds.values()):
        return ""

    def middle(target: str, key: str) -> float:
        return median(each[key] for each in rounds.get(target, ()))

    bases = [base for base in ("express", "nginx") if base in result.targets]
    rows = []
    for target in result.targets:
        row = [target]
        for key, unit in columns.values():
            value = middle(target, key)
            times = [value / middle(base, key) if middle(base, key) else float("nan") for base in bases]
            row.append(f"{number(value / unit)} ({' / '.join(map(number, times))})" if times else number(value / unit))
        rows.append(row)
    bracket = f" (× {' / × '.join(bases)})" if bases else ""
    return markdown([title + bracket, *columns], rows)


def write(result: Result, directory: Path) -> Path:
    """`<date>-<machine>.json`, and the page beside it; a second run on a day gets a number."""
    directory.mkdir(parents=True, exist_ok=True)
    words = re.sub(r"[^a-z0-9]+", "-", f"{result.machine['cpu']} {result.machine['cores']}c".lower()).strip("-")
    name = f"{result.machine['when'][:10]}-{words}"
    path, at = directory / f"{name}.json", 2
    while path.exists():
        path, at = directory / f"{name}-{at}.json", at + 1
    path.write_text(as_json(result), encoding="utf-8")
    path.with_suffix(".md").write_text(as_markdown(result), encoding="utf-8")
    return path


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"model name\s*:\s*(.+)", text)
    return re.sub(r"\((?:R|TM)\)| CPU|@.*", "", found[1]).strip() if found else platform.machine()


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
