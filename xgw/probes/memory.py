"""PERF-3: a revision's peak memory under a bounded load stays under 80 % of the limit it was given (plan 1.1, 1.2).

The peak is the platform's own measurement (Cloud Monitoring), not the average that the plan document looks at: a service
that averages 200 MiB and peaks at 520 MiB is killed at 512 MiB. A kill shows only as a log line; no condition says it.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from xgw.load.generator import LoadResult, drive
from xgw.plan.model import Probe, Reading, Subject, Verdict
from xgw.probes.http import bearer
from xgw.resources import quantity, same
from xgw.words import counted

RATE, SECONDS = 100.0, 1.5
GOOD_SHARE = 0.9
"""Of the requests: with every other path refused, what was measured would be a service that says no."""
OOM_LINE = "Memory limit of"

PATHS = {
    "gateway": ("/health", "/api/v2/crm/contacts"),
    "crm": ("/health", "/contacts"),
    "slack": ("/health", "/channels"),
    "gmail": ("/health", "/messages"),
}


def memory_fits(role: str) -> Probe:
    """The revision runs with the planned limit, and its peak under load stays under the allowed share of it."""

    def measure(subject: Subject) -> Reading:
        limit = subject.wanted[role]["memory"]
        limits = subject.target.settings.limits
        share = limits.memory_share
        expected = f"peak at most {share:.0%} of {limit}"
        revision = subject.revisions[role]
        found = next((item for item in subject.target.revisions(role) if item.name == revision), None)
        allotted = found.fields.get("memory", "") if found else ""
        if not same("memory", allotted or None, limit):
            return Reading(expected, f"its limit is {allotted or 'unknown'}", Verdict.FAILED, {"limit": allotted})
        load = _load(subject, role)
        # Few failures are no kill, and Cloud Run has some of its own: what counts is their share (limits.error_share).
        if load.failed > load.sent * limits.error_share or _kills(subject, role, load):
            return _broken(subject, role, load, expected)
        if load.good < load.sent * GOOD_SHARE:
            measured = (
                f"only {load.good} of {load.sent} requests got in: that is no load (protected paths need XGW_TOKEN)"
            )
            return Reading(expected, measured, Verdict.INCONCLUSIVE, {"good": load.good, "sent": load.sent})
        reading = _peak(subject, role, load, expected, limit, share)
        # The log takes its time too: look once more, now that the metrics had to be waited for.
        return _broken(subject, role, load, expected) if _kills(subject, role, load) else reading

    return Probe(f"memory of {role}", measure)


def _load(subject: Subject, role: str) -> LoadResult:
    base = subject.urls[role].rstrip("/")
    paths = [base + path for path in PATHS.get(role, ("/health",))]
    return drive(paths, rate=RATE, seconds=SECONDS, headers=bearer(subject.target.token()))


def _kills(subject: Subject, role: str, load: LoadResult) -> int:
    """How often the revision was killed over its limit since the load began, as far as the log tells by now."""
    service, revision = subject.target.names[role], subject.revisions[role]
    return len(subject.target.logs.lines(service, revision=revision, since=load.began, contains=OOM_LINE))


def _broken(subject: Subject, role: str, load: LoadResult, expected: str) -> Reading:
    if kills := _kills(subject, role, load):
        return Reading(expected, f"killed over its limit {counted(kills, 'time')}", Verdict.FAILED, {"kills": kills})
    allowed = subject.target.settings.limits.error_share
    measured = f"{load.failed} of {load.sent} requests failed under load, at most {allowed:.2%} may"
    numbers = {"failed": load.failed, "sent": load.sent, "late": load.late}
    if load.doubtful:
        told = f"{measured}; but {load.late} were sent late: too busy here to tell"
        return Reading(expected, told, Verdict.INCONCLUSIVE, numbers)
    return Reading(expected, measured, Verdict.FAILED, numbers)


def _peak(subject: Subject, role: str, load: LoadResult, expected: str, limit: str, share: float) -> Reading:
    """Wait until the platform's samples cover the load, then hold the highest one against the limit. Samples that end
    before the load did prove nothing good: the peak may still be to come."""
    service, revision = subject.target.names[role], subject.revisions[role]
    end, pause = time.monotonic() + subject.target.settings.limits.measure_seconds, 0.2
    peak, covered = None, False
    while time.monotonic() < end and not covered:
        until = datetime.now(UTC) + timedelta(seconds=1)
        peak = subject.target.metrics.memory_peak(service, revision, since=load.began, until=until)
        covered = peak is not None and peak.until >= load.ended - timedelta(seconds=0.5)
        if not covered:
            time.sleep(pause)
            pause = min(pause * 1.3, 5)
    if peak is None:
        return Reading(expected, f"no memory sample of {revision} in the window", Verdict.INCONCLUSIVE)
    size = peak.fraction * quantity(limit) / 2**20
    failed = f", {load.failed} failed" if load.failed else ""
    measured = f"{size:.0f}Mi, {peak.fraction:.0%} ({load.sent} requests{failed}, {peak.samples} samples)"
    numbers: dict[str, float | int | str] = {"peak": round(peak.fraction, 4), "samples": peak.samples, "limit": limit}
    if peak.fraction > share:
        return Reading(expected, measured, Verdict.FAILED, numbers)
    if not covered:
        return Reading(expected, f"{measured}; no sample of the end of the load", Verdict.INCONCLUSIVE, numbers)
    return Reading(expected, measured, Verdict.PASSED, numbers)
