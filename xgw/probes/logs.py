"""MON-1: log lines are structured, carry no debug talk, and successful requests are sampled while errors are kept (plan 1.9).

The probe sends its own requests, then reads what the revision logged about them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from xgw.plan.model import Probe, Reading, Subject, Verdict
from xgw.probes.http import client
from xgw.resources import LogLine

SUCCESSES, ERRORS = 120, 5


def logs_are_structured_and_sampled(role: str) -> Probe:
    """Every line is JSON with a severity at or above the planned level, every error is logged, and the share of logged
    successes fits the planned rate."""

    def measure(subject: Subject) -> Reading:
        rate = float(subject.wanted[role]["env.LOG_SAMPLE_RATE"])
        expected = f"JSON, no debug lines, all errors, {rate:.0%} of successes"
        began = datetime.now(UTC) - timedelta(milliseconds=200)
        with client(subject.urls[role]) as http:
            for _ in range(SUCCESSES):
                http.get("/health")
            for _ in range(ERRORS):
                http.get("/no-such-path-of-this-service")
        lines = _await_lines(subject, role, began)
        if not lines:
            return Reading(expected, "no log line of this revision", Verdict.INCONCLUSIVE)
        return _judge(lines, rate, expected)

    return Probe(f"logs of {role}", measure)


def _await_lines(subject: Subject, role: str, began: datetime) -> list[LogLine]:
    """The revision's lines since `began`, once their number has stopped growing."""
    service, revision = subject.target.names[role], subject.revisions[role]
    end = time.monotonic() + subject.target.settings.limits.measure_seconds
    lines: list[LogLine] = []
    while time.monotonic() < end:
        time.sleep(0.4)
        before, lines = len(lines), subject.target.logs.lines(service, revision=revision, since=began)
        if before == len(lines) and len(lines) >= ERRORS:
            break
    return lines


def _judge(lines: Sequence[LogLine], rate: float, expected: str) -> Reading:
    plain = [line for line in lines if isinstance(line.payload, str)]
    structured = [line for line in lines if not isinstance(line.payload, str)]
    debug = [
        line
        for line in lines
        if line.severity == "DEBUG" or (isinstance(line.payload, str) and "debug" in line.payload)
    ]
    errors = sum(1 for line in structured if line.status >= 400)
    kept = sum(1 for line in structured if 200 <= line.status < 400)
    unrated = sum(1 for line in structured if line.status and "sampleRate" not in str(line.payload))
    low, high = _bounds(SUCCESSES, rate)
    faults = [f"{len(plain)} of {len(lines)} lines are plain text"] if plain else []
    faults += [f"{len(debug)} debug lines"] if debug else []
    faults += [f"{errors} of {ERRORS} errors logged"] if errors < ERRORS else []
    faults += [f"{kept} of {SUCCESSES} successes logged"] if not low <= kept <= high else []
    faults += [f"{unrated} lines without their sample rate"] if unrated else []
    numbers = {"lines": len(lines), "successes": kept, "errors": errors, "plain": len(plain), "debug": len(debug)}
    if faults:
        return Reading(expected, "; ".join(faults), Verdict.FAILED, numbers)
    return Reading(
        expected, f"{len(lines)} JSON lines, {kept} of {SUCCESSES} successes, {errors} errors", Verdict.PASSED, numbers
    )


def _bounds(count: int, rate: float) -> tuple[float, float]:
    """Five standard deviations around the expected number, and at least one line: a right sampler is called wrong less than
    once in a million."""
    spread = 5 * (count * rate * (1 - rate)) ** 0.5
    return max(count * rate - spread, 1 if rate else 0), count * rate + spread
