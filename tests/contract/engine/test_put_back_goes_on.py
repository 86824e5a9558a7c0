"""A put-back that broke off, and what whoever comes next makes of it."""

from __future__ import annotations

import pytest

from tests.contract.engine.test_somebody_else import broken_off
from tests.helpers.engine import Engine
from tests.helpers.local_cloud import LocalCloud
from xgw import faults, runner
from xgw.errors import ExitCode, XgwError
from xgw.plan.model import GATEWAY, Outcome
from xgw.resources import LATEST

POINTS = ("reverting-recorded", "update-sent", "update-sent#2", "put-back", "put-back#2", "reverted-recorded")


def reverted_until(engine: Engine, place: str) -> None:
    """Both steps put back, newest first, as far as the named point."""
    faults.arm(f"{place}:exception")
    with pytest.raises(XgwError):
        engine.revert()
    faults.arm("")


@pytest.mark.parametrize("place", POINTS)
def test_a_rollback_that_broke_off_has_missed_nothing_and_the_next_apply_applies(engine: Engine, place: str):
    engine.apply()
    reverted_until(engine, place)
    run = engine.apply()
    assert run.exit_code is ExitCode.OK
    assert {result.outcome for result in run.steps} == {Outcome.VALIDATED}
    assert set(engine.states().values()) == {"validated"}
    assert engine.serving_mode(GATEWAY) == "strict"
    assert engine.traffic()[GATEWAY] == [(None, 100, "")]


def stranger(engine: Engine, cloud: LocalCloud) -> str:
    """Step 1.2 is open while somebody deploys; returns the revision that serves."""
    engine.apply(only=["1.1"])
    broken_off(engine, "applied-recorded")
    held = engine.target.service(GATEWAY).main
    cloud.deploy("app@sha256:2", "gateway")
    return held


def test_a_rollback_that_left_the_traffic_by_name_and_broke_off_is_finished_by_the_same_command(
    engine: Engine, cloud: LocalCloud
):
    stranger(engine, cloud)
    reverted_until(engine, "reverted-recorded")
    assert engine.states() == {"1.1": "validated", "1.2": "reverted"}
    engine.revert()
    assert set(engine.states().values()) == {"reverted"}
    assert engine.target.service(GATEWAY).pinned
    assert engine.target.service(GATEWAY).fields["image"] == "app@sha256:2"


def test_a_rejected_step_whose_put_back_broke_off_still_says_what_it_missed_and_what_is_left(
    engine: Engine, cloud: LocalCloud
):
    from tests.helpers.engine import two_steps
    from xgw.plan.model import Verdict

    stranger(engine, cloud)
    engine.phase = two_steps({"candidate": Verdict.FAILED})
    broken_off(engine, "put-back")
    run = engine.apply(only=["1.2"])
    assert run.exit_code is ExitCode.MISSED
    assert Verdict.FAILED in {evidence.verdict for evidence in run.steps[1].evidence}
    assert "never proven" in run.steps[1].left


def test_what_served_before_is_not_said_to_be_made_by_a_put_back_that_left_it_there(engine: Engine, cloud: LocalCloud):
    engine.apply(only=["1.1"])
    cloud.deploy("app@sha256:7", "gateway")
    theirs = engine.target.service(GATEWAY).main
    broken_off(engine, "applied-recorded")
    cloud.deploy("app@sha256:2", "gateway")
    runner.revert(engine.bench(), engine.phase.steps[1:], command="rollback")
    assert engine.target.service(GATEWAY).main == theirs
    assert theirs not in engine.ledger().makers(engine.target.id)


def test_a_step_that_wrote_nothing_is_not_said_to_be_changed_by_its_rollback(engine: Engine):
    engine.target.run.update("gateway", fields={"memory": "1Gi"}, revision="gateway-by-hand", traffic=LATEST)
    engine.apply(only=["1.1"])
    [result] = engine.revert().steps
    assert (result.reason, result.changed) == ("put back", False)
    assert engine.fields()[GATEWAY]["memory"] == "1Gi"
