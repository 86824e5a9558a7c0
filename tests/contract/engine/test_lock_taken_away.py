"""A run whose lock somebody breaks while it is at work."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.helpers.engine import Engine
from xgw import faults, lock, runner
from xgw.cli.bench import still_held
from xgw.errors import Conflict, ExitCode
from xgw.ledger import Ledger
from xgw.plan.model import GATEWAY, Outcome


def apply_robbed_at(engine: Engine, point: str, nth: int) -> runner.Run:
    """An apply as the command does it, whose lock is broken when it passes a point for the nth time."""
    passed: list[str] = []

    def watch(name: str) -> None:
        passed.append(name)
        if name == point and passed.count(point) == nth:
            lock.release(engine.home, engine.target.id, force=True)

    planned = engine.plan()
    with lock.held(engine.home, engine.target.id, "apply"), closing(Ledger(engine.home / "ledger.db")) as ledger:
        ledger.guard = still_held(engine.home, engine.target.id)
        faults.watch(watch)
        try:
            return runner.apply(engine.bench(ledger), planned, command="apply")
        finally:
            faults.watch(None)


def test_it_stops_before_its_next_write_and_the_next_run_goes_on_from_there(engine: Engine):
    with pytest.raises(Conflict, match="taken away") as fault:
        apply_robbed_at(engine, "applied-recorded", 1)
    assert fault.value.exit_code is ExitCode.CONFLICT
    assert engine.states() == {"1.1": "applied"}
    assert engine.target.service(GATEWAY).fields["memory"] == "1Gi"
    [*_, end] = engine.ledger().records(target=engine.target.id, kind="run-end")
    assert end.body["exit"] == ExitCode.CONFLICT
    assert engine.apply().exit_code is ExitCode.OK


def test_after_a_step_was_validated_the_run_is_told_as_far_as_it_came(engine: Engine):
    before = len(engine.target.revisions(GATEWAY))
    run = apply_robbed_at(engine, "outcome-recorded", 1)
    assert run.exit_code is ExitCode.UNPROVEN
    assert [result.outcome for result in run.steps] == [Outcome.VALIDATED, Outcome.UNPROVEN]
    assert engine.states() == {"1.1": "validated"}
    assert len(engine.target.revisions(GATEWAY)) == before + 1
