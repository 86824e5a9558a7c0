from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.terminal import span
from xgw.cli.phase_screens import plan_text
from xgw.plan.model import Delta, FieldChange
from xgw.plan.phase1 import PHASE1
from xgw.planning import PhasePlan, StepPlan
from xgw.report import Style
from xgw.settings import Settings
from xgw.target import Target

HERE = cast(Target, SimpleNamespace(label="local", settings=Settings(home=Path("."))))
ORIGINS = "https://xynergyos.clearforgetech.com,https://xynergy-platform.com,https://*.xynergy.com"
HEADS = ("STEP", "SERVICE", "FIELD", "CHANGE", "WHY")
VALUES = st.text(st.sampled_from("ab1,-_./: =é張伟"), min_size=1, max_size=200).filter(
    lambda text: text.strip() == text
)


def planned(values: Sequence[str]) -> PhasePlan:
    changes = tuple(FieldChange(f"env.A_FIELD_WITH_NUMBER_{n}", "before", value) for n, value in enumerate(values))
    steps = [StepPlan(step, "change", (Delta("gateway", changes),)) for step in PHASE1.steps]
    return PhasePlan(PHASE1, "t", tuple(steps), {})


def changes_in(text: str) -> str:
    """The column CHANGE, or what stands after that word where the rows stand one below the other; without any space."""
    lines = text.splitlines()
    header = next((line for line in lines if all(name in line for name in HEADS)), None)
    if header is not None:
        start, end = header.index("CHANGE"), header.index("WHY")
        return "".join(line[start:end] for line in lines[lines.index(header) + 1 :]).replace(" ", "")
    kept, shown = False, ""
    for line in lines:
        kept = line.startswith("CHANGE") or (kept and line.startswith(" "))
        shown += line[len("SERVICE") :] if kept else "\n"
    return shown.replace(" ", "")


@given(st.lists(VALUES, min_size=1, max_size=3), st.integers(20, 200), st.booleans())
def test_a_plan_fits_the_terminal_and_says_all_it_will_write(values: list[str], width: int, ascii: bool) -> None:
    text = plan_text(planned(values), HERE, Style(False, ascii, width))
    assert max(map(span, text.splitlines())) <= width
    shown = changes_in(text)
    for value in values:
        assert f"{'->' if ascii else '→'}{value.replace(' ', '')}" in shown


@pytest.mark.parametrize("width", range(20, 201))
def test_at_every_width_the_origins_are_whole(width: int) -> None:
    text = plan_text(planned([ORIGINS]), HERE, Style(False, False, width))
    assert max(map(len, text.splitlines())) <= width
    assert changes_in(text).count(f"→{ORIGINS}") == len(PHASE1.steps)


@pytest.mark.parametrize("width", range(80, 201))
def test_from_80_columns_on_a_plan_is_a_table(width: int) -> None:
    text = plan_text(planned([ORIGINS]), HERE, Style(False, False, width))
    assert any(all(name in line for name in HEADS) for line in text.splitlines())


def test_into_a_pipe_a_plan_has_one_line_for_each_value() -> None:
    lines = plan_text(planned([ORIGINS, "5"]), HERE, Style(False, False)).splitlines()
    assert sum(f"before → {ORIGINS}  " in line for line in lines) == len(PHASE1.steps)
    assert len(lines) == 2 + 1 + 2 * len(PHASE1.steps) + 2
