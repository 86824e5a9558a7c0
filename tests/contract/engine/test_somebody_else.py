"""Somebody else changes a service, with another client, while a step is under way or after it."""

from __future__ import annotations

import pytest

from tests.helpers.engine import Engine
from tests.helpers.local_cloud import LocalCloud
from xgw import faults, runner
from xgw.changes.service import ServiceSpec
from xgw.errors import Conflict, ExitCode, XgwError
from xgw.plan.model import GATEWAY, Phase, Probe, Reading, Step, Subject, Verdict
from xgw.resources import Share


def broken_off(engine: Engine, place: str) -> None:
    """An apply that ends at a named point, as by a crash."""
    faults.arm(f"{place}:exception")
    with pytest.raises(XgwError):
        engine.apply()
    faults.arm("")


def test_a_candidate_whose_tag_was_taken_away_is_not_measured_somewhere_else(engine: Engine, cloud: LocalCloud):
    def measure(subject: Subject) -> Reading:
        return Reading("here", subject.urls[GATEWAY], Verdict.PASSED)

    step = Step("1.1", "Mode", (ServiceSpec(GATEWAY, env={"MODE": "strict"}),), (Probe("where", measure),), ())
    alone = Engine(engine.target, engine.home, Phase(1, "Test", (step,)))
    broken_off(alone, "applied-recorded")
    alone.target.run.update("gateway", traffic=alone.target.service(GATEWAY).holding)
    with pytest.raises(Conflict, match="without traffic"):
        alone.apply()
    assert alone.states() == {"1.1": "applied"}
    assert alone.ledger().latest(alone.target.id)["1.1"].evidence == ()


def test_live_is_what_gets_the_traffic_and_not_the_latest_revision(engine: Engine):
    first = engine.target.service(GATEWAY).main
    engine.apply()
    engine.target.run.update("gateway", traffic=(Share(first, 100),))
    assert engine.serving_mode(GATEWAY) == "loose"
    run = runner.validate(engine.bench(), engine.phase, command="validate")
    assert run.exit_code is ExitCode.MISSED
    assert "MODE loose" in [evidence.measured for evidence in run.steps[1].evidence]
