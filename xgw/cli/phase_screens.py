"""What the phase commands show: plans, runs and standings as reports. Text is made here, formats in `xgw.report`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from xgw.cli import phase_flat
from xgw.planning import IDLE
from xgw.report import Cell, Report, Sign, Style, When, render, safe, symbol
from xgw.words import duration

if TYPE_CHECKING:
    from xgw.ledger import Record
    from xgw.planning import PhasePlan, StepPlan
    from xgw.runner import Run
    from xgw.target import Target

_SIGNS: Mapping[str, Sign] = {
    "change": "change",
    "measure": "change",
    "resume": "change",
    "holds": "ok",
    "blocked": "warn",
    "pinned": "fail",
    "drift": "fail",
    "skipped": "skip",
    "waits": "skip",
    "validated": "ok",
    "rejected": "fail",
    "unproven": "warn",
    "reverted": "skip",
}


def plan_report(planned: PhasePlan, target: Target, style: Style) -> Report:
    """One row per field that would be written; one per step where nothing would."""
    rows = [row for found in planned.steps for row in _plan_rows(found, symbol("to", style))]
    counted = {state: sum(found.state == state for found in planned.steps) for state in _SIGNS}
    revisions = sum(len(found.deltas) for found in planned.steps if found.state == "change")
    change = counted["change"] + counted["measure"] + counted["resume"]
    foot = f"Plan: {change} to change, {counted['blocked'] + counted['pinned'] + counted['drift']} blocked, "
    foot += f"{counted['holds']} hold.  New revisions: {revisions}; each gets traffic only after its checks pass."
    return Report(
        "phase-plan",
        ("step", "", "service", "field", "change", "why"),
        rows,
        head=(_title(planned, target), ""),
        foot=("", foot, *_beside(planned)),
        data=_plan_data(planned),
        flat=phase_flat.plan(planned),
    )


def _beside(planned: PhasePlan) -> list[str]:
    """What else there is to know about a phase: what comes before it, and what of the document is not in it."""
    waits = f"Waits for {waiting(planned)}: until then, apply wants --out-of-order."
    left_out = f"Not carried out by this version: {', '.join(planned.phase.left_out)}."
    return ([waits] if planned.waits_for and not planned.done else []) + ([left_out] if planned.phase.left_out else [])


def waiting(planned: PhasePlan) -> str:
    """The steps of earlier phases that a phase waits for, in words; the first of many."""
    told = [f"{found.step.id} ({_STANDING.get(found.state, found.state)})" for found in planned.waits_for]
    return ", ".join(told[:3]) + (f" and {len(told) - 3} more" if len(told) > 3 else "")


def plan_text(planned: PhasePlan, target: Target, style: Style) -> str:
    """The plan as people read it."""
    return render(plan_report(planned, target, style), "table", style)


def _title(planned: PhasePlan, target: Target) -> str:
    environment = target.settings.environment
    return f"Phase {planned.phase.number}  {planned.phase.title}    target {safe(target.label)}   environment {environment}"


def _plan_rows(found: StepPlan, arrow: str) -> list[tuple[Any, ...]]:
    word = Cell(found.state, _SIGNS[found.state])
    if not found.deltas or found.state in ("skipped", "resume"):
        return [(found.step.id, word, "", "", "", found.reason or _UNWRITTEN.get(found.state, ""))]
    rows: list[tuple[Any, ...]] = []
    for delta in found.deltas:
        for change in delta.fields:
            before = _short(change.before) if change.before is not None else "not set"
            text = f"{before} {arrow} {change.after or 'not set'}"  # what will be written is what is agreed to: whole
            name = change.field.removeprefix("env.")
            first = not rows
            why = (found.reason or ", ".join(found.step.requirements)) if first else _SAME
            role = delta.role if change is delta.fields[0] else _SAME
            rows.append((found.step.id if first else _SAME, word if first else _SAME, role, name, text, why))
    rows += [(_SAME, _SAME, held.role, _SAME, _SAME, f"fix: {held.fix}") for held in found.blocked]
    return rows


_STANDING: Mapping[str, str] = {"change": "not applied", "measure": "unproven"}
"""What apply would do with a step, said of the step."""
_UNWRITTEN: Mapping[str, str] = {
    "holds": "the values are there, and proven",
    "measure": "the values are there, not yet proven",
}
_SAME = " "
"""A cell that goes on saying what the one above it says."""


def _short(value: str) -> str:
    return value if len(value) <= 34 else f"{value[:31]}..."


def _plan_data(planned: PhasePlan) -> dict[str, Any]:
    return {
        "phase": planned.phase.number,
        "target": planned.target,
        "changes": planned.changes,
        "waits_for": [{"step": found.step.id, "state": found.state} for found in planned.waits_for],
        "left_out": list(planned.phase.left_out),
        "steps": [
            {
                "step": found.step.id,
                "title": found.step.title,
                "state": found.state,
                "reason": found.reason,
                "requirements": list(found.step.requirements),
                "writes": [
                    {"service": delta.role, "field": change.field, "before": change.before, "after": change.after}
                    for delta in found.deltas
                    for change in delta.fields
                ],
                "blocked": [{"service": b.role, "reason": b.reason, "fix": b.fix} for b in found.blocked],
            }
            for found in planned.steps
        ],
    }


def next_after_plan(planned: PhasePlan, scope: str = "") -> str:
    """What to type next; `scope` are the options that said which steps, and the advice stays within them."""
    name = f"xgw phase{planned.phase.number}"
    if planned.waits_for and not planned.done:
        return f"Next: xgw phase{planned.waits_for[0].step.id.partition('.')[0]} apply"
    if not planned.changes and not any(found.state == "measure" for found in planned.steps):
        return f"Next: {name} status"
    first = next(found for found in planned.steps if found.state in ("change", "measure", "resume"))
    return f"Next: {name} apply{scope}" + ("" if scope else f"        or  {name} apply --only {first.step.id}")


def next_after_status(plans: Sequence[PhasePlan]) -> str:
    """What to type next: of the first phase that is not through, or a new measurement when all are."""
    open_ = next((planned for planned in plans if not planned.done), None)
    if open_ is None:
        return f"Next: xgw phase{plans[-1].phase.number} validate        measures again; there is nothing to apply"
    states = {found.state for found in open_.steps}
    verb = "apply" if states <= {*IDLE, "resume", "measure"} else "plan"
    return f"Next: xgw phase{open_.phase.number} {verb}"


def run_report(run: Run, target: Target, style: Style) -> Report:
    """One row per step: its outcome, and what its last reading said."""
    rows = []
    for result in run.steps:
        reading = phase_flat.deciding(result)
        measured = f"{reading.probe}: {reading.measured}" if reading else result.reason
        outcome = "reverted" if result.reason == "put back" else result.outcome.value
        seconds = duration(result.seconds) if result.seconds else ""
        rows.append((result.step.id, Cell(outcome, _SIGNS[outcome]), result.step.title, measured, seconds))
    held = sum(result.reason == "holds already" for result in run.steps)
    foot = f"Run {run.id}  {run.command}  target {safe(target.label)}  {duration(run.seconds)}"
    if not run.id:
        waits = [result.step.id for result in run.steps if result.reason.startswith("waits")]
        rest = f"; {', '.join(waits)} waits" if waits else ""
        foot = f"No changes. {held} of {len(run.steps)} steps already hold{rest}." if held else "No changes."
    left = [f"Left to do: {safe(result.left)}" for result in run.steps if result.left]
    columns = ("step", "outcome", "title", "measured", "time")
    flat = phase_flat.run(run)
    return Report("run", columns, rows, foot=("", *left, foot), data=_run_data(run), brief=("title",), flat=flat)


def _run_data(run: Run) -> dict[str, Any]:
    return {
        "run": run.id,
        "command": run.command,
        "exit_code": int(run.exit_code),
        "seconds": run.seconds,
        "steps": [
            {
                "step": result.step.id,
                "outcome": result.outcome.value,
                "reason": result.reason,
                "changed": result.changed,
                "left": result.left,
                "seconds": round(result.seconds, 3),
                "evidence": [evidence.to_json() for evidence in result.evidence],
            }
            for result in run.steps
        ],
    }


def status_report(planned: PhasePlan, evidence: Mapping[str, Record], target: Target) -> Report:
    """One row per step: what apply would do, and its newest evidence with the run that measured it."""
    rows: list[tuple[Any, ...]] = []
    data: list[dict[str, Any]] = []
    for found in planned.steps:
        record = evidence.get(found.step.id)
        newest = record.body if record else None
        measured = f"{newest['probe']}: {newest['measured']}" if newest else "never measured"
        when = When(datetime.fromisoformat(str(newest["at"]))) if newest else ""
        state = "validated" if found.state == "holds" else found.state
        run = record.run if record else None
        words = Cell(_STANDING.get(state, state), _SIGNS[state])
        rows.append((found.step.id, words, found.step.title, measured, when, run))
        data.append(
            {
                "step": found.step.id,
                "title": found.step.title,
                "state": state,
                "reason": found.reason,
                "run": run,
                "evidence": dict(newest) if newest else None,
            }
        )
    columns, head = ("step", "state", "title", "newest evidence", "when", "run"), (_title(planned, target), "")
    flat, foot = phase_flat.status(data), _beside(planned)
    foot = ["", *foot] if foot else []
    return Report("phase-status", columns, rows, head=head, foot=foot, data=data, brief=("title",), flat=flat)
