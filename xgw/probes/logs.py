"""MON-1: log lines are structured, carry no debug talk, and successful requests are sampled while errors are kept (plan 1.9).

The probe sends its own requests under a name of their own, then reads what the revision logged about them: a live service
logs its users' requests too, and Cloud Run adds its own request and system logs, which the program does not write.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from xgw.plan.model import Probe, Reading, Subject, Verdict
from xgw.probes.http import client
from xgw.resources import LogLine

SUCCESSES, ERRORS = 120, 5
SKEW_S = 10.0
"""How far this machine's clock may be from the platform's. What is the run's is told by its mark, never by the time."""
QUIET_S = 20.0
"""So long without a new line, and lines still missing are taken to be missing. Cloud Logging takes seconds to show a line."""
LONGEST_PAUSE_S = 8.0
"""Between two reads. Cloud Logging allows a project 60 reads a minute, and four services are read at once."""


def logs_are_structured_and_sampled(role: str) -> Probe:
    """Every line is JSON with a severity at or above the planned level, every error is logged, and the share of logged
    successes fits the planned rate."""

    def measure(subject: Subject) -> Reading:
        rate = float(subject.wanted[role]["env.LOG_SAMPLE_RATE"])
        expected = f"JSON, no debug lines, all errors, {rate:.0%} of successes"
        began, mark = datetime.now(UTC) - timedelta(seconds=SKEW_S), f"xgw-{secrets.token_hex(8)}"
        with client(subject.urls[role], subject.target.token()) as http:
            asked = [("/health", n) for n in range(SUCCESSES)] + [
                ("/no-such-path-of-this-service", n) for n in range(ERRORS)
            ]
            said = [http.get(path, headers={"X-Request-Id": f"{mark}-{path[1]}-{n}"}).status_code for path, n in asked]
        sent = sum(status < 400 for status in said[:SUCCESSES])
        if not sent:
            return Reading(expected, f"/health answers {said[0]}: the requests did not get in", Verdict.INCONCLUSIVE)
        lines = _await_lines(subject, role, began, lambda found: _missing(_since_ours(found, mark), mark, rate, sent))
        return _judge_or_not(lines, mark, rate, sent, expected)

    return Probe(f"logs of {role}", measure)


def _await_lines(
    subject: Subject, role: str, began: datetime, missing: Callable[[Sequence[LogLine]], bool]
) -> list[LogLine]:
    """The program's lines since `began`, once none is missing or none has come for a while."""
    service, revision = subject.target.names[role], subject.revisions[role]
    end = time.monotonic() + subject.target.settings.limits.measure_seconds
    lines: list[LogLine] = []
    pause, grew = 0.4, time.monotonic()
    while (now := time.monotonic()) < end and not (lines and now - grew > QUIET_S):
        time.sleep(pause)
        found = subject.target.logs.lines(service, revision=revision, since=began)
        if len(found) > len(lines):
            grew = time.monotonic()
        lines = found
        if lines and not missing(_written(lines)):
            break
        pause = min(pause * 1.5, LONGEST_PAUSE_S)
    return _written(lines)


def _written(lines: Sequence[LogLine]) -> list[LogLine]:
    """Without what the platform logs about the revision: requests, system and audit logs."""
    return [
        line
        for line in lines
        if line.log not in ("requests", "varlog/system") and not line.log.startswith("cloudaudit")
    ]


def _since_ours(lines: Sequence[LogLine], mark: str) -> list[LogLine]:
    """From our first line on, by the platform's clock; nothing when none of ours is there."""
    first = min((line.at for line in lines if mark in str(line.payload)), default=None)
    return [line for line in lines if first is not None and line.at >= first]


def _judge_or_not(lines: Sequence[LogLine], mark: str, rate: float, sent: int, expected: str) -> Reading:
    """Without a line of ours nothing is known of what is kept: plain text can be seen all the same, and nothing else."""
    if ours := _since_ours(lines, mark):
        return _judge(ours, mark, rate, sent, expected)
    plain = sum(isinstance(line.payload, str) for line in lines)
    if plain:
        return Reading(expected, f"{plain} of {len(lines)} lines are plain text", Verdict.FAILED, {"plain": plain})
    seen = "none of this run's requests is in the log" if lines else "no log line of this revision"
    return Reading(expected, seen, Verdict.INCONCLUSIVE)


def _missing(lines: Sequence[LogLine], mark: str, rate: float, sent: int) -> bool:
    """True while more lines could still turn the verdict: too few of ours, and none since then that is wrong."""
    if any(isinstance(line.payload, str) for line in lines):
        return False
    errors, kept = _counted(lines, mark)
    return errors < ERRORS or kept < _bounds(sent, rate)[0]


def _counted(lines: Sequence[LogLine], mark: str) -> tuple[int, int]:
    """How many of our errors and of our successes were logged."""
    ours = [line.status for line in lines if mark in str(line.payload)]
    return sum(status >= 400 for status in ours), sum(200 <= status < 400 for status in ours)


def _judge(lines: Sequence[LogLine], mark: str, rate: float, sent: int, expected: str) -> Reading:
    plain = [line for line in lines if isinstance(line.payload, str)]
    structured = [line for line in lines if not isinstance(line.payload, str)]
    debug = [
        line
        for line in lines
        if line.severity == "DEBUG" or (isinstance(line.payload, str) and "debug" in line.payload)
    ]
    errors, kept = _counted(lines, mark)
    unrated = sum(1 for line in structured if line.status and "sampleRate" not in line.payload)
    low, high = _bounds(sent, rate)
    faults = [f"{len(plain)} of {len(lines)} lines are plain text"] if plain else []
    faults += [f"{len(debug)} debug lines"] if debug else []
    faults += [f"{errors} of {ERRORS} errors logged"] if errors < ERRORS else []
    faults += [f"{kept} of {sent} successes logged"] if not low <= kept <= high else []
    faults += [f"{unrated} lines without their sample rate"] if unrated else []
    numbers = {"lines": len(lines), "successes": kept, "errors": errors, "plain": len(plain), "debug": len(debug)}
    if faults:
        return Reading(expected, "; ".join(faults), Verdict.FAILED, numbers)
    return Reading(
        expected, f"{len(lines)} JSON lines, {kept} of {sent} successes, {errors} errors", Verdict.PASSED, numbers
    )


def _bounds(count: int, rate: float) -> tuple[float, float]:
    """Five standard deviations around the expected number, and at least one line: a right sampler is called wrong less than
    once in a million."""
    spread = 5 * (count * rate * (1 - rate)) ** 0.5
    return max(count * rate - spread, 1 if rate else 0), count * rate + spread
