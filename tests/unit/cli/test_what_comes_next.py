from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from xgw.cli.phase_screens import next_after_plan, next_after_status, plan_report, status_report
from xgw.ledger import Ledger
from xgw.plan import phases
from xgw.plan.model import Delta, FieldChange
from xgw.plan.phase1 import PHASE1
from xgw.plan.phase2 import PHASE2
from xgw.planning import PhasePlan, StepPlan, in_order
from xgw.report import Style, render
from xgw.settings import Settings
from xgw.target import Target

PLAIN = Style(colour=False, ascii=True)
WRITES = (StepPlan(PHASE2.steps[0], "change"),)
HERE = cast(Target, SimpleNamespace(label="local", settings=Settings(home=Path("."))))


def planned(*states: Any) -> PhasePlan:
    steps = [StepPlan(step, state) for step, state in zip(PHASE1.steps, states, strict=False)]
    return PhasePlan(PHASE1, "t", tuple(steps), {})


@pytest.mark.parametrize("state", ["holds", "measure", "skipped", "resume"])
def test_a_step_that_writes_nothing_names_no_field(state: str) -> None:
    row = plan_report(planned(state), HERE, PLAIN).rows[0]
    assert tuple(row[2:5]) == ("", "", "")


def test_why_a_step_writes_nothing_is_said() -> None:
    rows = plan_report(planned("holds", "measure"), HERE, PLAIN).rows
    assert [row[5] for row in rows] == ["the values are there, and proven", "the values are there, not yet proven"]


def test_a_phase_that_waits_says_for_what_and_that_this_comes_next() -> None:
    early, late = planned("holds", "change", "drift", "blocked", "measure"), PhasePlan(PHASE2, "t", WRITES, {})
    _, late = in_order([early, late])
    assert [found.step.id for found in late.waits_for] == ["1.2", "1.3", "1.4", "1.5"]
    shown = render(plan_report(late, HERE, PLAIN), "table", PLAIN)
    assert "Waits for 1.2 (not applied), 1.3 (drift), 1.4 (blocked) and 1 more" in shown
    assert next_after_plan(late) == "Next: xgw phase1 apply"


@pytest.mark.parametrize("number", [2, 3])
def test_what_a_phase_leaves_out_of_the_document_is_said(number: int) -> None:
    phase = phases()[number - 1]
    shown = render(plan_report(PhasePlan(phase, "t", (), {}), HERE, PLAIN), "table", PLAIN)
    assert phase.left_out
    assert all(name in shown for name in phase.left_out)


def test_the_step_offered_alone_is_one_that_has_something_to_do() -> None:
    assert next_after_plan(planned("holds", "change", "change")).endswith("--only 1.2")


@pytest.mark.parametrize(
    ("states", "command"),
    [
        (("holds", "holds"), "xgw phase1 validate"),
        (("holds", "resume"), "xgw phase1 apply"),
        (("holds", "measure"), "xgw phase1 apply"),
        (("change", "holds"), "xgw phase1 plan"),
        (("holds", "drift"), "xgw phase1 plan"),
    ],
)
def test_status_says_what_makes_sense_next(states: tuple[str, ...], command: str) -> None:
    assert next_after_status([planned(*states)]).startswith(f"Next: {command}")


@pytest.mark.parametrize(
    ("state", "settled"),
    [("holds", True), ("measure", True), ("skipped", True)]
    + [(state, False) for state in ("change", "resume", "blocked", "pinned", "drift")],
)
def test_a_plan_is_settled_when_there_is_nothing_to_write_and_nothing_in_the_way(state: str, settled: bool) -> None:
    assert planned("holds", state).settled is settled


def test_what_will_be_written_is_shown_whole_however_long_it_is() -> None:
    before, after = ("https://old.example.com " * 9, "https://new.example.com,https://two.example.com," * 12)
    delta = Delta("gateway", (FieldChange("env.CORS_ALLOWED_ORIGINS", before, after),))
    plan = PhasePlan(PHASE1, "t", (StepPlan(PHASE1.steps[7], "change", (delta,)),), {})
    shown = render(plan_report(plan, HERE, PLAIN), "table", PLAIN)
    assert f"-> {after}" in shown
    assert before not in shown, "what goes may be cut"


def test_status_names_the_run_whose_evidence_it_shows_also_where_nothing_was_applied(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    reading = {"probe": "memory", "expected": "", "verdict": "passed", "where": "live"}

    def measured(run: int, step: str, text: str, attempt: int = 0) -> None:
        body = {**reading, "measured": text, "at": "2026-11-29T04:29:18.169+00:00"}
        ledger.append("evidence", target="t", run=run, attempt=attempt, step=step, body=body)

    attempt = ledger.append("intended", target="t", run=1, step="1.1", body={"deltas": []}).attempt
    measured(1, "1.1", "by run 1", attempt)
    measured(2, "1.1", "by run 2", attempt)
    measured(2, "1.2", "by run 2")
    rows = status_report(planned("holds", "change", "change"), ledger.measured("t"), HERE).rows
    ledger.close()
    assert [(row[3], row[5]) for row in rows] == [
        ("memory: by run 2", 2),
        ("memory: by run 2", 2),
        ("never measured", None),
    ]
