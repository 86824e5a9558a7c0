from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from xgw.cli.phase_screens import next_after_plan, next_after_status, plan_report
from xgw.plan.phase1 import PHASE1
from xgw.planning import PhasePlan, StepPlan
from xgw.report import Style
from xgw.settings import Settings
from xgw.target import Target

PLAIN = Style(colour=False, ascii=True)
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
