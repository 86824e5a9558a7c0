"""A run that comes to a fault after it has changed something: what it says, and with which exit code."""

from __future__ import annotations

import grpc
import pytest

from tests.contract.engine.test_apply import set_variable
from tests.helpers.engine import Engine
from tests.helpers.local_cloud import LocalCloud
from xgw import faults, runner
from xgw.cloud import faults as google_faults
from xgw.errors import Conflict, ExitCode, LedgerFault, Unreachable, XgwError
from xgw.plan.model import GATEWAY, Outcome


def meddle_at(cloud: LocalCloud, point: str, nth: int) -> None:
    passed: list[str] = []

    def watch(name: str) -> None:
        passed.append(name)
        if name == point and passed.count(point) == nth:
            set_variable(cloud, "KEEP", "another")

    faults.watch(watch)


def test_a_conflict_after_a_step_was_validated_leaves_that_step_unproven_and_tells_the_run(
    engine: Engine, cloud: LocalCloud
):
    meddle_at(cloud, "intent-recorded", 2)
    run = engine.apply()
    faults.watch(None)
    assert run.exit_code is ExitCode.UNPROVEN
    assert [result.outcome for result in run.steps] == [Outcome.VALIDATED, Outcome.UNPROVEN]
    assert "moved" in run.steps[1].reason
    assert run.steps[1].fix
    [*_, end] = engine.ledger().records(target=engine.target.id, kind="run-end")
    assert end.body["exit"] == ExitCode.UNPROVEN
    assert engine.apply().exit_code is ExitCode.OK


def test_a_conflict_at_the_first_change_still_says_that_nothing_was_changed(engine: Engine, cloud: LocalCloud):
    meddle_at(cloud, "intent-recorded", 1)
    with pytest.raises(Conflict) as fault:
        engine.apply()
    faults.watch(None)
    assert fault.value.so_far is None


def test_a_fault_after_a_step_was_validated_carries_what_was_done(engine: Engine):
    faults.arm("intent-recorded#2:exception")
    with pytest.raises(XgwError) as fault:
        engine.apply()
    faults.arm("")
    assert isinstance(fault.value.so_far, runner.Run)
    assert [result.outcome for result in fault.value.so_far.steps] == [Outcome.VALIDATED, Outcome.UNPROVEN]
    assert fault.value.so_far.exit_code is fault.value.exit_code


def test_a_ledger_that_cannot_be_written_any_more_hides_nothing_of_what_was_done(engine: Engine):
    planned, ledger = engine.plan(), engine.ledger()

    def watch(point: str) -> None:
        if point == "outcome-recorded":
            ledger._db.execute("PRAGMA query_only = ON")

    faults.watch(watch)
    with pytest.raises(LedgerFault, match="cannot be written") as fault:
        runner.apply(engine.bench(ledger), planned, command="apply")
    faults.watch(None)
    assert isinstance(fault.value.so_far, runner.Run)
    assert [result.outcome for result in fault.value.so_far.steps] == [Outcome.VALIDATED, Outcome.UNPROVEN]


def test_an_end_that_cannot_be_recorded_is_a_fault_with_its_result(engine: Engine):
    planned, ledger = engine.plan(only=["1.1"]), engine.ledger()
    faults.watch(lambda point: ledger._db.execute("PRAGMA query_only = ON") if point == "outcome-recorded" else None)
    with pytest.raises(LedgerFault) as fault:
        runner.apply(engine.bench(ledger), planned, command="apply")
    faults.watch(None)
    assert isinstance(fault.value.so_far, runner.Run)
    assert fault.value.so_far.steps[0].outcome is Outcome.VALIDATED
    assert engine.plan(only=["1.1"]).steps[0].state == "holds"


class Failing:
    """A stub's method that fails `times` times after (or without) doing what it is asked, then works."""

    def __init__(self, call, error: Exception, *, times: int = 1, does: bool = False) -> None:
        self.call, self.error, self.times, self.does, self.asked = call, error, times, does, 0

    def __call__(self, *args, **kwargs):
        self.asked += 1
        if self.asked > self.times:
            return self.call(*args, **kwargs)
        if self.does:
            self.call(*args, **kwargs)
        raise self.error


@pytest.mark.parametrize("code", ["RESOURCE_EXHAUSTED", "UNAVAILABLE", "INTERNAL"])
@pytest.mark.parametrize("read", ["get_service", "list_services"])
def test_a_read_that_fails_for_a_moment_is_tried_again(engine: Engine, monkeypatch, code, read):
    from google.api_core.exceptions import from_grpc_status

    error = from_grpc_status(getattr(grpc.StatusCode, code), "for a moment")
    services = engine.target.run._services
    failing = Failing(getattr(services, read), error)
    monkeypatch.setattr(services, read, failing)
    engine.target.run.get("gateway") if read == "get_service" else engine.target.run.names()
    assert failing.asked == 2


def test_a_change_that_was_made_although_the_platform_said_it_broke_is_made_once(engine: Engine, monkeypatch):
    from google.api_core.exceptions import InternalServerError

    services = engine.target.run._services
    failing = Failing(services.update_service, InternalServerError("boom"), does=True)
    monkeypatch.setattr(services, "update_service", failing)
    before = len(engine.target.revisions(GATEWAY))
    assert engine.apply(only=["1.1"]).exit_code is ExitCode.OK
    assert len(engine.target.revisions(GATEWAY)) == before + 1


def test_every_fault_of_the_platform_has_a_way_on():
    assert [
        foreign for foreign, _, _, fix in google_faults._MEANING if not fix and "InvalidArg" not in str(foreign)
    ] == []


def test_a_platform_that_stays_broken_is_unreachable_with_a_fix(engine: Engine, monkeypatch):
    from google.api_core.exceptions import InternalServerError

    services = engine.target.run._services
    monkeypatch.setattr(services, "update_service", Failing(None, InternalServerError("boom"), times=99))
    with pytest.raises(Unreachable) as fault:
        engine.apply()
    assert "again" in fault.value.fix
