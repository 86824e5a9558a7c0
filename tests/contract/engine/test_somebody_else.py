"""Somebody else changes a service, with another client, while a step is under way or after it."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.contract.engine.test_apply import set_variable
from tests.helpers.engine import Engine
from tests.helpers.local_cloud import PARENT, LocalCloud
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


def test_putting_a_step_back_gives_no_traffic_to_what_somebody_else_deployed_meanwhile(
    engine: Engine, cloud: LocalCloud
):
    engine.apply(only=["1.1"])
    broken_off(engine, "applied-recorded")
    held = engine.target.service(GATEWAY).main
    cloud.deploy("app@sha256:2", "gateway")
    run = runner.revert(engine.bench(), engine.phase.steps[1:], command="rollback")
    assert engine.target.service(GATEWAY).main == held
    assert engine.target.service(GATEWAY).pinned
    assert "never proven" in run.steps[0].left
    assert held in run.steps[0].left
    assert engine.fields()[GATEWAY]["env.MODE"] == "loose"


def test_what_differs_from_the_serving_revision_in_no_field_of_the_plan_is_still_somebody_elses(
    engine: Engine, cloud: LocalCloud
):
    broken_off(engine, "applied-recorded#2")
    held = engine.target.service(GATEWAY).main
    theirs = cloud.get("gateway")
    theirs.template.containers[0].args = ["--experiment"]
    theirs.template.revision = ""
    cloud.update(theirs)
    runner.revert(engine.bench(), engine.phase.steps[1:], command="rollback")
    assert engine.target.service(GATEWAY).main == held


def test_a_revert_broken_off_after_its_revision_was_made_still_gives_the_stranger_nothing(
    engine: Engine, cloud: LocalCloud
):
    broken_off(engine, "applied-recorded#2")
    held = engine.target.service(GATEWAY).main
    cloud.deploy("app@sha256:2", "gateway")
    faults.arm("update-sent#2:exception")
    for _ in range(2):
        with suppress(XgwError):
            runner.revert(engine.bench(), engine.phase.steps[1:], command="rollback")
        faults.arm("")
    assert engine.states()["1.2"] == "reverted"
    assert engine.target.service(GATEWAY).main == held


def test_a_deployment_of_somebody_else_that_serves_already_keeps_serving_after_a_revert(
    engine: Engine, cloud: LocalCloud
):
    engine.apply()
    cloud.deploy("app@sha256:2", "gateway")
    run = engine.revert()
    assert [step.left for step in run.steps] == ["", ""]
    assert engine.traffic()[GATEWAY] == [(None, 100, "")]
    assert engine.fields()[GATEWAY]["image"] == "app@sha256:2"


def test_a_candidate_is_not_called_unready_because_of_somebody_elses_later_revision(engine: Engine, cloud: LocalCloud):
    faults.watch(lambda point: cloud.deploy("app@sha256:2", "gateway") if point == "update-sent" else None)
    delta = engine.plan().steps[0].deltas[0]
    ServiceSpec(GATEWAY).apply(engine.target, delta)
    faults.watch(None)
    assert engine.target.service(GATEWAY).latest_created != delta.revision


def test_a_tag_that_somebody_sets_while_a_step_is_open_is_kept(engine: Engine):
    first = engine.target.service(GATEWAY).main
    broken_off(engine, "applied-recorded")
    service = engine.target.service(GATEWAY)
    engine.target.run.update("gateway", traffic=(*service.traffic, Share(first, 0, "preview")))
    engine.apply()
    assert engine.traffic()[GATEWAY] == [(None, 100, ""), (first, 0, "preview")]
    engine.revert()
    assert engine.traffic()[GATEWAY] == [(None, 100, ""), (first, 0, "preview")]


def test_a_tag_and_its_revision_that_are_gone_do_not_hold_a_revert_up(engine: Engine, cloud: LocalCloud):
    first = engine.target.service(GATEWAY).main
    cloud.deploy("app@sha256:2", "gateway")
    engine.target.run.update("gateway", traffic=(Share(None, 100), Share(first, 0, "old")))
    engine.apply()
    engine.target.run.update("gateway", traffic=(Share(None, 100),))
    cloud.revisions.delete_revision(name=f"{PARENT}/services/gateway/revisions/{first}").result(timeout=60)
    engine.revert()
    assert engine.traffic()[GATEWAY] == [(None, 100, "")]
    assert engine.fields()[GATEWAY]["env.MODE"] == "loose"


def test_an_unfinished_step_is_resumed_though_a_tagged_revision_of_before_is_gone(engine: Engine, cloud: LocalCloud):
    first = engine.target.service(GATEWAY).main
    cloud.deploy("app@sha256:2", "gateway")
    engine.target.run.update("gateway", traffic=(Share(None, 100), Share(first, 0, "old")))
    broken_off(engine, "applied-recorded")
    service = engine.target.service(GATEWAY)
    engine.target.run.update("gateway", traffic=tuple(s for s in service.traffic if s.tag != "old"))
    cloud.revisions.delete_revision(name=f"{PARENT}/services/gateway/revisions/{first}").result(timeout=60)
    assert engine.apply().exit_code is ExitCode.OK
    assert engine.traffic()[GATEWAY] == [(None, 100, "")]


def test_a_traffic_that_one_step_had_to_leave_by_name_does_not_stop_the_steps_before_it(
    engine: Engine, cloud: LocalCloud
):
    first = engine.target.service(GATEWAY).main
    broken_off(engine, "applied-recorded#2")
    cloud.deploy("app@sha256:2", "gateway")
    engine.revert()
    assert engine.target.service(GATEWAY).main == first
    assert set(engine.states().values()) == {"reverted"}
