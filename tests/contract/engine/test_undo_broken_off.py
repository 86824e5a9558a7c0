"""A live step that is undone because a later measurement missed, broken off anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.engine.test_crash_points import Stage
from tests.helpers.engine import Engine, reads_mode
from xgw import faults, runner
from xgw.changes.service import ServiceSpec
from xgw.errors import ExitCode, XgwError
from xgw.plan.model import GATEWAY, Phase, Step, Verdict


def missed_later(stage: Stage) -> Engine:
    """A step validated, then measured once more, and missed."""
    verdicts: dict[str, Verdict] = {}
    spec = ServiceSpec(GATEWAY, env={"MODE": "strict"})
    stage.engine.phase = Phase(1, "Test", (Step("1.1", "Mode", (spec,), (reads_mode(GATEWAY, verdicts),), ()),))
    stage.engine.apply()
    verdicts["live"] = Verdict.FAILED
    runner.validate(stage.engine.bench(), stage.engine.phase, command="validate")
    return stage.engine


def points(home: Path) -> list[str]:
    """The points of an apply that undoes the step, from where it begins to."""
    passed: list[str] = []
    with Stage(home) as stage:
        engine = missed_later(stage)
        faults.watch(passed.append)
        assert engine.apply().exit_code is ExitCode.MISSED
        faults.watch(None)
    found = [f"{point}#{passed[: n + 1].count(point)}" for n, point in enumerate(passed)]
    return found[found.index("reverting-recorded#1") :]  # what comes before is that of any apply


def test_it_is_undone_to_its_end_by_the_same_command(tmp_path):
    found = points(tmp_path / "unbroken")
    assert found[-1] == "reverted-recorded#2"
    for place in found:
        with Stage(tmp_path / place) as stage:
            engine = missed_later(stage)
            faults.arm(f"{place}:exception")
            with pytest.raises(XgwError):
                engine.apply()
            faults.arm("")
            assert engine.apply().exit_code is ExitCode.MISSED, place
            assert engine.serving_mode(GATEWAY) == "loose", place
            assert engine.traffic()[GATEWAY] == [(None, 100, "")], place
            assert engine.ledger().standing(engine.target.id, "1.1") == [], place
