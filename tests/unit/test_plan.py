"""The plan as data, over all its phases."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from xgw.cli.phase_wishes import FIRST_STEP
from xgw.plan import phases, steps

DOCUMENTED = {"1": 9, "2": 3, "3": 4, "4": 2}
"""How many steps the plan document has in each phase."""


def test_no_two_steps_own_one_field_of_one_service() -> None:
    owners = Counter(
        (change.role, name) for step in steps().values() for change in step.changes for name in change.wanted()
    )
    assert [field for field, count in owners.items() if count > 1] == []


def test_steps_stand_in_their_phase_in_order_and_each_has_a_probe_and_a_requirement() -> None:
    for phase in phases():
        ids = [step.id for step in phase.steps]
        assert ids == sorted(ids)
        assert {step.partition(".")[0] for step in ids} == {str(phase.number)}
        assert all(step.changes and step.probes and step.requirements for step in phase.steps)


def test_every_step_of_the_document_is_in_its_phase_or_named_as_left_out() -> None:
    for phase in phases():
        left_out = [re.match(r"\d\.\d", name) for name in phase.left_out]
        ids = [step.id for step in phase.steps] + [match[0] for match in left_out if match]
        number = str(phase.number)
        assert sorted(ids) == [f"{number}.{at}" for at in range(1, DOCUMENTED[number] + 1)]


def test_the_steps_in_the_examples_of_the_help_are_there() -> None:
    assert {phase.number: phase.steps[0].id for phase in phases()} == FIRST_STEP


def test_the_explanation_has_a_section_about_every_step() -> None:
    page = (Path(__file__).parents[2] / "docs" / "explanation" / "plan-and-document.md").read_text(encoding="utf-8")
    assert [step for step in steps() if f"\n## {step} " not in page] == []
