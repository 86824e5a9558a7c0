from __future__ import annotations

import pytest

from tests.helpers.engine import NAMES, Engine, target_on, two_steps
from tests.helpers.local_cloud import LocalCloud
from xgw import rollback
from xgw.errors import Conflict, NotFound, Refused
from xgw.plan.model import CRM, GATEWAY, Verdict


def roll_back(engine: Engine, role: str = GATEWAY, to: str = "") -> rollback.Rollback:
    planned = rollback.previous(engine.target, engine.ledger(), role, to)
    return rollback.carry_out(engine.target, engine.ledger(), planned, command=f"rollback {role}")


def serving(engine: Engine, role: str = GATEWAY) -> str:
    return engine.target.service(role).main


def test_the_traffic_goes_to_the_revision_that_served_before(engine: Engine):
    engine.apply(only=["1.1"])
    before = serving(engine)
    engine.apply()
    done = roll_back(engine)
    assert serving(engine) == done.to.name == before
    assert engine.serving_mode(GATEWAY) == "loose"


def test_the_template_gets_the_old_values_so_that_the_next_deployment_does_not_bring_the_bad_ones_back(engine: Engine):
    engine.apply()
    roll_back(engine)
    assert engine.fields()[GATEWAY]["env.MODE"] == "loose"
    assert engine.fields()[GATEWAY]["memory"] == "1Gi"


def test_a_revision_that_only_was_a_candidate_is_never_gone_back_to(cloud: LocalCloud, tmp_path):
    verdicts: dict[str, Verdict] = {}
    engine = Engine(target_on(cloud.target, tmp_path), tmp_path, two_steps(verdicts))
    engine.apply(only=["1.1"])
    served = serving(engine)
    verdicts["candidate"] = Verdict.FAILED
    engine.apply()
    candidate = next(
        d["revision"] for d in engine.ledger().latest(engine.target.id)["1.2"].deltas if d["role"] == GATEWAY
    )
    planned = rollback.previous(engine.target, engine.ledger(), GATEWAY)
    assert planned.to.name == served != candidate


def test_a_second_rollback_goes_back_to_where_the_first_came_from(engine: Engine):
    engine.apply()
    first = serving(engine)
    roll_back(engine)
    assert roll_back(engine).to.name == first


def test_the_undo_line_undoes_it(engine: Engine):
    engine.apply()
    done = roll_back(engine)
    roll_back(engine, to=done.origin)
    assert serving(engine) == done.origin
    assert engine.serving_mode(GATEWAY) == "strict"


def test_a_service_deployed_by_other_means_goes_to_its_newest_older_ready_revision(engine: Engine, cloud: LocalCloud):
    first = serving(engine)
    cloud.deploy("app@sha256:2", "gateway")
    assert roll_back(engine).to.name == first


def test_without_an_earlier_revision_there_is_nothing_to_go_back_to(engine: Engine):
    with pytest.raises(NotFound, match="no earlier revision"):
        roll_back(engine)


def test_an_unknown_revision_is_refused_with_those_there_are(engine: Engine):
    with pytest.raises(NotFound, match="nope") as fault:
        roll_back(engine, to="nope")
    assert serving(engine) in fault.value.cause


def test_a_revision_that_never_became_ready_is_refused(engine: Engine, cloud: LocalCloud):
    from google.api_core.exceptions import GoogleAPICallError

    with pytest.raises(GoogleAPICallError):
        cloud.deploy("crash@sha256:2", "gateway")
    bad = engine.target.service(GATEWAY).latest_created
    with pytest.raises(Refused, match="not ready"):
        roll_back(engine, to=bad)


def test_steps_that_go_with_the_revision_are_marked_and_applied_again_later(engine: Engine):
    engine.apply()
    done = roll_back(engine)
    assert done.undoes == ("1.2",)
    assert engine.ledger().latest(engine.target.id)["1.2"].deltas[0]["role"] == CRM
    rollback.release(engine.target, engine.ledger(), GATEWAY, command="release")
    assert {p.step.id: p.state for p in engine.plan().steps} == {"1.1": "holds", "1.2": "change"}
    engine.apply()
    assert engine.serving_mode(GATEWAY) == "strict"


def test_the_other_services_of_such_a_step_are_still_put_back_by_a_revert(engine: Engine):
    before = engine.fields()
    engine.apply()
    roll_back(engine)
    rollback.release(engine.target, engine.ledger(), GATEWAY, command="release")
    engine.apply()
    engine.revert()
    assert engine.fields() == before


def test_a_pinned_service_is_refused_until_it_is_released(engine: Engine):
    engine.apply()
    done = roll_back(engine)
    assert rollback.pins(engine.ledger(), engine.target) == {GATEWAY: done.to.name}
    with pytest.raises(Conflict, match="pinned"):
        engine.apply()
    rollback.release(engine.target, engine.ledger(), GATEWAY, command="release")
    assert rollback.pins(engine.ledger(), engine.target) == {}
    assert not engine.target.service(GATEWAY).pinned
    assert engine.serving_mode(GATEWAY) == "loose"


def test_releasing_onto_a_revision_that_is_not_ready_is_refused(engine: Engine, cloud: LocalCloud):
    from google.api_core.exceptions import GoogleAPICallError

    engine.apply()
    roll_back(engine)
    with pytest.raises(GoogleAPICallError):
        cloud.deploy("crash@sha256:2", "gateway")
    with pytest.raises(Refused, match="not ready"):
        rollback.release(engine.target, engine.ledger(), GATEWAY, command="release")


def test_other_services_are_left_alone(engine: Engine):
    engine.apply()
    crm = (engine.fields()[CRM], engine.traffic()[CRM], serving(engine, CRM))
    roll_back(engine)
    assert (engine.fields()[CRM], engine.traffic()[CRM], serving(engine, CRM)) == crm
    assert set(NAMES) == {GATEWAY, CRM}


def test_putting_a_step_back_does_not_silently_undo_a_pin(engine: Engine):
    from xgw.resources import Share

    engine.apply()
    engine.target.run.update("gateway", traffic=(Share(serving(engine), 100),))
    with pytest.raises(Conflict, match="pinned"):
        engine.revert()
    assert engine.target.service(GATEWAY).pinned
    assert engine.serving_mode(GATEWAY) == "strict"


def test_an_unfinished_rollback_of_long_ago_is_not_taken_up_again(engine: Engine):
    from xgw import faults
    from xgw.errors import XgwError

    engine.apply()
    first = rollback.previous(engine.target, engine.ledger(), GATEWAY)
    faults.arm("run-recorded#1:exception")
    with pytest.raises(XgwError):
        rollback.carry_out(engine.target, engine.ledger(), first, command="rollback gateway")
    faults.arm("")
    assert rollback.unfinished(engine.ledger(), engine.target, GATEWAY) == (first.origin, first.to.name)
    engine.revert()
    assert rollback.unfinished(engine.ledger(), engine.target, GATEWAY) is None


def test_a_rollback_to_a_named_revision_that_broke_off_is_finished_by_the_same_command(engine: Engine):
    from xgw import faults
    from xgw.errors import XgwError

    first = serving(engine)
    engine.apply()
    faults.arm("put-back:exception")
    with pytest.raises(XgwError):
        roll_back(engine, to=first)
    faults.arm("")
    again = rollback.previous(engine.target, engine.ledger(), GATEWAY, first)
    assert again.origin != again.to.name == first  # what the command takes for "nothing to do" is when they are one
    roll_back(engine, to=first)
    assert engine.states() == {"1.1": "reverted", "1.2": "validated"}
    assert {d["role"] for d in engine.ledger().latest(engine.target.id)["1.2"].deltas} == {CRM}
    assert rollback.unfinished(engine.ledger(), engine.target, GATEWAY) is None


def test_everything_a_revision_has_is_given_back_not_only_what_the_plan_speaks_of(engine: Engine, cloud: LocalCloud):
    from google.cloud import run_v2

    before = cloud.get("gateway").template
    bad = cloud.get("gateway")
    bad.template.service_account = "wrong@example.com"
    bad.template.scaling = run_v2.RevisionScaling(max_instance_count=7)
    bad.template.containers[0].args = ["--wrong"]
    bad.template.revision = ""
    cloud.update(bad)
    roll_back(engine)
    after = cloud.get("gateway").template
    assert (after.service_account, after.scaling, after.containers) == (
        before.service_account,
        before.scaling,
        before.containers,
    )


def test_a_rollback_carried_out_twice_makes_one_revision(engine: Engine):
    engine.apply()
    planned = rollback.previous(engine.target, engine.ledger(), GATEWAY)
    rollback.carry_out(engine.target, engine.ledger(), planned, command="rollback gateway")
    made = len(engine.target.revisions(GATEWAY))
    rollback.carry_out(engine.target, engine.ledger(), planned, command="rollback gateway")
    assert len(engine.target.revisions(GATEWAY)) == made


def test_the_revision_that_a_rollback_makes_is_said_to_be_its_own(engine: Engine):
    engine.apply()
    there = {revision.name for revision in engine.target.revisions(GATEWAY)}
    done = roll_back(engine)
    [made] = {revision.name for revision in engine.target.revisions(GATEWAY)} - there
    makers = engine.ledger().makers(engine.target.id)
    assert makers[made] == f"run {done.run} rollback"
    assert makers[done.origin].endswith("step 1.2")
    assert engine.target.service(GATEWAY).generation == int(made.split("-")[-2])


def test_a_rollback_that_was_killed_still_made_the_revision_it_said_it_would(engine: Engine):
    from xgw import faults
    from xgw.errors import XgwError

    engine.apply()
    there = {revision.name for revision in engine.target.revisions(GATEWAY)}
    faults.arm("put-back:exception")
    with pytest.raises(XgwError):
        roll_back(engine)
    faults.arm("")
    roll_back(engine)
    [made] = {revision.name for revision in engine.target.revisions(GATEWAY)} - there
    assert engine.ledger().makers(engine.target.id)[made] == "run 2 rollback"
