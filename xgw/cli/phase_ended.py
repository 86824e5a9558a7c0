"""How a run of a phase is told when it did not end well: error, cause, fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xgw.errors import ExitCode, Missed, Refused, Unproven

if TYPE_CHECKING:
    from xgw.runner import Run


def conclude(run: Run, number: int, scope: str, *, applied: bool = True) -> int:
    """The exit code; a run that did not end well says so as a fault: error, cause, fix."""
    bad = next(
        (r for r in run.steps if r.outcome.value in ("rejected", "unproven") or r.reason.startswith("blocked")), None
    )
    evidence = next((e for e in bad.evidence if e.verdict.value != "passed"), None) if bad else None
    cause = (
        f"{evidence.probe}: {evidence.measured}; expected {evidence.expected}"
        if evidence
        else bad.reason
        if bad
        else ""
    )
    if bad and run.exit_code is ExitCode.MISSED:
        undone = "its change is undone" if bad.changed else "its values were there before, and stay"
        message = f"its check failed; {undone}" if applied else "the requirement does not hold"
        fix = f"evidence: xgw history show {run.id}" if applied else f"xgw phase{number} apply{scope}"
        raise Missed(f"step {bad.step.id}: {message}", cause=cause, fix=fix)
    if bad and run.exit_code is ExitCode.FAILED:
        fix = f"give it another value in xgw.toml, or: xgw phase{number} apply --skip {bad.step.id}"
        raise Refused(
            f"step {bad.step.id}: the platform refused its change; nothing of it is left", cause=cause, fix=fix
        )
    if bad and run.exit_code is ExitCode.UNPROVEN:
        fix = f"xgw phase{number} apply{scope} goes on from here; evidence: xgw history show {run.id}"
        fix = bad.fix or fix
        message = "blocked" if bad.reason.startswith("blocked") else "not proven, so nothing more was promoted"
        raise Unproven(f"step {bad.step.id}: {message}", cause=cause, fix=fix)
    return run.exit_code
