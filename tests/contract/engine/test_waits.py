"""A step that comes before the one it needs: it waits, holds up nobody, and is carried out when that is there."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest
from google.cloud import run_v2

from tests.helpers.engine import Engine, target_on, two_steps
from tests.helpers.local_cloud import LocalCloud
from xgw import runner
from xgw.changes.service import ServiceSpec
from xgw.errors import ExitCode
from xgw.ledger import Ledger
from xgw.plan.model import CRM, GATEWAY, Blocked, Delta, Need, Outcome, Phase, Step
from xgw.planning import in_order, plan

NEED = Need("2.1", CRM, "env.NETWORK")
SECOND = Phase(2, "Second", (Step("2.1", "Network", (ServiceSpec(CRM, env={"NETWORK": "there"}),), (), ("DEP-2",)),))


@pytest.fixture
def engine(cloud: LocalCloud, tmp_path) -> Engine:
    phase = two_steps()
    memory, mode = phase.steps
    return Engine(
        target_on(cloud.target, tmp_path), tmp_path, replace(phase, steps=(memory, replace(mode, after=NEED)))
    )


def state(engine: Engine, **wishes) -> tuple[str, str]:
    found = engine.plan(**wishes).steps[1]
    return found.state, found.reason


def test_it_waits_and_the_others_are_carried_out_and_the_run_is_well(engine: Engine):
    assert state(engine) == ("waits", "for step 2.1: without env.NETWORK of crm there is nothing to measure")
    run = engine.apply()
    assert run.exit_code is ExitCode.OK
    assert [result.outcome for result in run.steps] == [Outcome.VALIDATED, Outcome.SKIPPED]
    assert engine.states() == {"1.1": "validated"}
    assert engine.fields()["gateway"]["env.MODE"] == "loose"
    assert engine.apply().id == 0, "nothing is left to do"


def test_a_measurement_passes_it_over_and_says_why(engine: Engine):
    with closing(Ledger(engine.home / "ledger.db")) as ledger:
        run = runner.validate(engine.bench(ledger), engine.phase, command="validate")
    assert [result.outcome for result in run.steps] == [Outcome.VALIDATED, Outcome.SKIPPED]
    assert run.steps[1].reason.startswith("waits: for step 2.1")
    assert run.exit_code is ExitCode.OK


def test_the_phase_after_does_not_wait_for_it_until_what_it_needs_is_there(engine: Engine):
    def waits_for() -> list[str]:
        with closing(Ledger(engine.home / "ledger.db")) as ledger:
            plans = in_order([plan(engine.target, ledger, phase) for phase in (engine.phase, SECOND)])
        return [found.step.id for found in plans[1].waits_for]

    engine.apply()
    assert waits_for() == []
    Engine(engine.target, engine.home, SECOND).apply()
    assert waits_for() == ["1.2"]


def test_once_what_it_needs_is_there_it_is_carried_out_and_stays(engine: Engine):
    second = Engine(engine.target, engine.home, SECOND)
    second.apply()
    assert state(engine)[0] == "change"
    assert engine.apply().exit_code is ExitCode.OK
    assert engine.states()["1.2"] == "validated"
    second.revert()
    assert state(engine)[0] == "holds", "what is applied and proven waits for nothing"
    engine.revert()
    assert state(engine)[0] == "waits"


def test_vpc_access_that_is_there_is_not_exchanged_for_the_plans_own_unless_it_is_told_to(cloud: LocalCloud, tmp_path):
    message = cloud.get("gateway")
    message.template.vpc_access = run_v2.VpcAccess(
        egress="ALL_TRAFFIC", network_interfaces=[{"network": "projects/p/global/networks/default"}]
    )
    message.template.revision = ""
    cloud.update(message)
    target = target_on(cloud.target, tmp_path)
    there = "direct:projects/p/global/networks/default:"
    found = ServiceSpec(GATEWAY, vpc="direct:default:default", vpc_egress="private-ranges-only").inspect(target)
    assert isinstance(found, Blocked)
    assert (found.reason, f'vpc = "{there}"' in found.fix) == (f"it has VPC access already: {there}", True)
    for told, written in ((there, []), ("direct:default:", []), ("direct:default:default", ["vpc"])):
        delta = ServiceSpec(GATEWAY, vpc="direct:other:other", overrides={"vpc": told}).inspect(target)
        assert isinstance(delta, Delta)
        assert [change.field for change in delta.fields] == written


def test_asked_for_by_its_name_it_waits_for_nothing(engine: Engine):
    assert state(engine, only=("1.2",))[0] == "change"
    assert engine.apply(only=("1.2",)).exit_code is ExitCode.OK
    assert engine.fields()["gateway"]["env.MODE"] == "strict"
