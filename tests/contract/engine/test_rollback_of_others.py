"""A rollback and a release beside what others did to the service."""

from __future__ import annotations

import pytest

from tests.contract.engine.test_rollback import roll_back, serving
from tests.helpers.engine import Engine
from tests.helpers.local_cloud import PARENT, LocalCloud
from xgw import rollback
from xgw.errors import Conflict, ExitCode
from xgw.plan.model import GATEWAY
from xgw.resources import Share


def let_go(engine: Engine) -> None:
    rollback.release(engine.target, engine.ledger(), GATEWAY, command="release")


def delete(cloud: LocalCloud, revision: str) -> None:
    cloud.revisions.delete_revision(name=f"{PARENT}/services/gateway/revisions/{revision}").result(timeout=60)


def test_a_candidate_of_another_ledger_gets_no_traffic_by_a_release(engine: Engine, cloud: LocalCloud):
    held = engine.target.service(GATEWAY).main
    engine.target.run.update(
        "gateway",
        fields={"env.MODE": "strict"},
        revision="gateway-theirs",
        traffic=(Share(held, 100), Share("gateway-theirs", 0, "xgw-abc123")),
    )
    with pytest.raises(Conflict, match="not proven") as fault:
        let_go(engine)
    assert "xgw-abc123" in fault.value.message
    assert fault.value.fix
    assert serving(engine) == held


def test_a_revision_that_never_served_gets_no_traffic_by_a_release_until_somebody_names_it(
    engine: Engine, cloud: LocalCloud
):
    engine.apply()
    roll_back(engine)
    held = serving(engine)
    cloud.deploy("app@sha256:9", "gateway")
    theirs = engine.target.service(GATEWAY).latest_created
    with pytest.raises(Conflict, match="never served") as fault:
        let_go(engine)
    assert f"--to {theirs}" in fault.value.fix
    assert serving(engine) == held
    roll_back(engine, to=theirs)
    let_go(engine)
    assert not engine.target.service(GATEWAY).pinned


def test_the_larger_part_of_the_traffic_is_not_all_of_it(engine: Engine):
    first = serving(engine)
    engine.apply()
    now = serving(engine)
    engine.target.run.update("gateway", traffic=(Share(now, 60), Share(first, 40)))
    planned = rollback.previous(engine.target, engine.ledger(), GATEWAY, now)
    assert not rollback.done_already(engine.target, engine.ledger(), planned)
    rollback.carry_out(engine.target, engine.ledger(), planned, command="rollback gateway")
    assert engine.traffic()[GATEWAY] == [(now, 100, "")]
    assert rollback.done_already(engine.target, engine.ledger(), planned)


def test_a_previous_revision_that_is_gone_is_passed_over_and_said(engine: Engine, cloud: LocalCloud):
    first = serving(engine)
    engine.apply(only=["1.1"])
    second = serving(engine)
    engine.apply()
    delete(cloud, second)
    planned = rollback.previous(engine.target, engine.ledger(), GATEWAY)
    assert (planned.to.name, planned.gone) == (first, (second,))
    assert roll_back(engine).to.name == serving(engine) == first


def test_a_service_that_does_not_answer_after_its_rollback_is_recorded_as_failed(engine: Engine):
    engine.apply()
    done = roll_back(engine)  # nothing listens at the addresses of this stage
    assert done.answered == 0
    assert done.faults == ["the service answers 0 of 5 requests"]
    [*_, end] = engine.ledger().records(target=engine.target.id, kind="run-end")
    assert end.body["exit"] == ExitCode.MISSED
    assert "0 of 5" in end.body["error"]


def test_a_restored_revision_that_does_not_become_ready_is_recorded_as_failed(engine: Engine, cloud: LocalCloud):
    engine.apply()
    cloud.instances.fail_all = True
    done = roll_back(engine)
    assert "did not become ready" in "; ".join(done.faults)
    [*_, end] = engine.ledger().records(target=engine.target.id, kind="run-end")
    assert end.body["exit"] == ExitCode.MISSED


def test_everything_that_a_revision_and_a_template_share_is_restored():
    from google.cloud import run_v2

    from xgw.cloud.run import RESTORED

    shared = set(run_v2.Revision.meta.fields) & set(run_v2.RevisionTemplate.meta.fields)
    assert shared - set(RESTORED) == {"labels", "annotations"}
