"""What the phase commands say in csv and tsv: one record a row, every value whole and in a column of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xgw.report import Report

if TYPE_CHECKING:
    from xgw.plan.model import Evidence
    from xgw.planning import PhasePlan, StepPlan
    from xgw.runner import Run, StepResult

_READING = ("probe", "measured", "expected", "verdict", "where", "at")
_PLAN = ("step", "title", "state", "service", "field", "before", "after", "reason", "requirements", "fix")
_RUN = ("run", "step", "title", "outcome", "reason", "changed", "seconds", *_READING)


def plan(planned: PhasePlan) -> Report:
    """One row per field that would be written, and per service where it is blocked; one per step where nothing would."""
    return Report("phase-plan", _PLAN, [row for found in planned.steps for row in _writes(found)])


def _writes(found: StepPlan) -> list[tuple[Any, ...]]:
    step, needs = (found.step.id, found.step.title, found.state), " ".join(found.step.requirements)
    rows: list[tuple[Any, ...]] = [
        (*step, delta.role, change.field, change.before, change.after, found.reason, needs, "")
        for delta in found.deltas
        for change in delta.fields
    ]
    rows += [(*step, held.role, "", "", "", held.reason, needs, held.fix) for held in found.blocked]
    return rows or [(*step, "", "", "", "", found.reason, needs, "")]


def run(ended: Run) -> Report:
    """One row per step, with the reading that decided it."""
    return Report("run", _RUN, [_result(ended, result) for result in ended.steps])


def _result(ended: Run, result: StepResult) -> tuple[Any, ...]:
    reading = deciding(result)
    told = reading.to_json() if reading else {}
    words = (result.step.id, result.step.title, result.outcome.value, result.reason, result.changed)
    return ended.id, *words, round(result.seconds, 3), *(told.get(name) for name in _READING)


def deciding(result: StepResult) -> Evidence | None:
    """The reading that says most of a step: the last that did not pass, else the last."""
    bad = [evidence for evidence in result.evidence if evidence.verdict.value != "passed"]
    return next(reversed(bad or result.evidence), None)


def status(steps: Sequence[Mapping[str, Any]]) -> Report:
    """One row per step; its newest evidence spread out."""
    rows = []
    for step in steps:
        plain = {name: value for name, value in step.items() if name != "evidence"}
        rows.append({**plain, **{name: (step["evidence"] or {}).get(name) for name in _READING}})
    return Report("phase-status", data=rows)
