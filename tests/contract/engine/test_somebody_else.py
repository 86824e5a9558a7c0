"""Somebody else changes a service, with another client, while a step is under way or after it."""

from __future__ import annotations

import pytest

from tests.contract.engine.test_apply import set_variable
from tests.helpers.engine import Engine
from tests.helpers.local_cloud import LocalCloud
from xgw import faults, runner
from xgw.changes.service import ServiceSpec
from xgw.errors import Conflict, ExitCode, XgwError
from xgw.plan.model import CRM, GATEWAY, Delta, Phase, Probe, Reading, Step, Subject, Verdict
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


def test_a_revision_somebody_deployed_meanwhile_is_not_promoted_unproven(engine: Engine, cloud: LocalCloud):
    broken_off(engine, "applied-recorded#2")
    held = engine.target.service(GATEWAY).main
    cloud.deploy("app@sha256:2", "gateway")
    with pytest.raises(Conflict, match="somebody changed it"):
        engine.apply()
    assert engine.target.service(GATEWAY).main == held
    engine.revert()
    assert engine.fields()[GATEWAY]["image"] == "app@sha256:2"
    assert engine.fields()[GATEWAY]["env.MODE"] == "loose"


def test_traffic_that_somebody_moved_while_a_step_was_proven_stays_where_it_is(engine: Engine):
    first = engine.target.service(GATEWAY).main
    engine.apply(only=["1.1"])
    broken_off(engine, "applied-recorded")
    tags = tuple(Share(share.revision, 0, share.tag) for share in engine.target.service(GATEWAY).tags.values())
    engine.target.run.update("gateway", traffic=(Share(first, 100), *tags))
    for verb in (engine.apply, engine.revert):
        with pytest.raises(Conflict) as fault:
            verb()
        assert f"{first} 100%" in fault.value.cause
    assert engine.target.service(GATEWAY).main == first
    engine.revert(force=True)
    assert not engine.target.service(GATEWAY).pinned


def test_an_intent_that_the_target_has_outrun_is_given_up_and_planned_again(engine: Engine, cloud: LocalCloud):
    broken_off(engine, "intent-recorded")
    set_variable(cloud, "KEEP", "another")
    with pytest.raises(Conflict, match="moved"):
        engine.apply()
    assert engine.states()["1.1"] == "reverted"
    assert engine.apply().exit_code is ExitCode.OK
    assert engine.fields()[GATEWAY]["env.KEEP"] == "another"


def test_giving_up_an_intent_of_two_services_puts_back_the_one_that_was_made(engine: Engine, cloud: LocalCloud):
    engine.apply(only=["1.1"])
    crm = len(engine.target.revisions(CRM))
    broken_off(engine, "intent-recorded")
    delta = next(d for d in engine.ledger().latest(engine.target.id)["1.2"].deltas if d["role"] == GATEWAY)
    ServiceSpec(GATEWAY).apply(engine.target, Delta.from_json(delta))
    set_variable(cloud, "MODE", "own", "crm")
    with pytest.raises(Conflict, match="moved"):
        engine.apply()
    assert engine.states()["1.2"] == "reverted"
    assert engine.fields()[GATEWAY]["env.MODE"] == "loose"
    assert engine.fields()[CRM]["env.MODE"] == "own"
    assert len(engine.target.revisions(CRM)) == crm + 1
    assert engine.traffic()[GATEWAY] == [(None, 100, "")]


def test_putting_back_what_was_never_made_leaves_the_traffic_alone(engine: Engine):
    broken_off(engine, "intent-recorded")
    engine.target.run.update("gateway", traffic=engine.target.service(GATEWAY).holding)
    engine.revert()
    assert engine.states() == {"1.1": "reverted"}
    assert engine.target.service(GATEWAY).pinned


def test_values_that_only_the_template_has_do_not_hold_while_the_traffic_is_pinned_elsewhere(engine: Engine):
    first = engine.target.service(GATEWAY).main
    engine.apply()
    engine.target.run.update("gateway", traffic=(Share(first, 100),))
    assert {found.step.id: found.state for found in engine.plan().steps} == {"1.1": "pinned", "1.2": "pinned"}
    with pytest.raises(Conflict, match="pinned") as fault:
        engine.apply()
    assert fault.value.fix == "xgw rollback --release gateway"
    engine.target.run.update("gateway", traffic=(Share(engine.target.service(GATEWAY).latest_ready, 100),))
    assert {found.state for found in engine.plan().steps} == {"holds"}
