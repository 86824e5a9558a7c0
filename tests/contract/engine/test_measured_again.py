"""What a later measurement says about a step that was validated once."""

from __future__ import annotations

import pytest

from tests.helpers.engine import NAMES, Engine, target_on, two_steps
from tests.helpers.local_cloud import LocalCloud
from xgw import runner
from xgw.errors import Conflict, ExitCode
from xgw.plan.model import GATEWAY, Outcome, Verdict
from xgw.resources import LATEST


@pytest.fixture
def verdicts() -> dict[str, Verdict]:
    return {}


@pytest.fixture
def engine(cloud: LocalCloud, tmp_path, verdicts) -> Engine:
    return Engine(target_on(cloud.target, tmp_path), tmp_path, two_steps(verdicts))


def measure(engine: Engine) -> runner.Run:
    return runner.validate(engine.bench(), engine.phase, command="validate")


def state(engine: Engine, step: str = "1.2") -> tuple[str, str]:
    return next((found.state, found.reason) for found in engine.plan().steps if found.step.id == step)


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.ERRORED])
def test_a_step_whose_newest_reading_did_not_pass_does_not_hold(engine: Engine, verdicts, verdict):
    engine.apply()
    assert state(engine) == ("holds", "")
    verdicts["live"] = verdict
    measure(engine)
    found, reason = state(engine)
    assert found == "measure"
    assert reason.startswith(f"run 2 {verdict}: mode of")


def test_a_reading_that_passes_again_makes_it_hold(engine: Engine, verdicts):
    engine.apply()
    verdicts["live"] = Verdict.FAILED
    measure(engine)
    verdicts.clear()
    assert engine.apply().exit_code is ExitCode.OK
    assert state(engine) == ("holds", "")
    assert engine.serving_mode(GATEWAY) == "strict"


def test_an_apply_that_measures_a_live_step_and_misses_undoes_it(engine: Engine, verdicts):
    before = engine.fields()
    engine.apply()
    verdicts["live"] = Verdict.FAILED
    measure(engine)
    run = engine.apply()
    assert run.exit_code is ExitCode.MISSED
    assert [result.outcome for result in run.steps] == [Outcome.VALIDATED, Outcome.REJECTED]
    assert run.steps[1].changed
    assert engine.fields()[GATEWAY]["env.MODE"] == before[GATEWAY]["env.MODE"] == engine.serving_mode(GATEWAY)
    assert set(map(tuple, engine.traffic().values())) == {((None, 100, ""),)}
    assert engine.ledger().standing(engine.target.id, "1.2") == []


def test_an_apply_that_cannot_measure_a_live_step_leaves_it(engine: Engine, verdicts):
    engine.apply()
    verdicts["live"] = Verdict.INCONCLUSIVE
    measure(engine)
    assert engine.apply().exit_code is ExitCode.UNPROVEN
    assert engine.serving_mode(GATEWAY) == "strict"
    verdicts["live"] = Verdict.FAILED
    assert engine.apply().exit_code is ExitCode.MISSED
    assert engine.serving_mode(GATEWAY) == "loose"


def test_values_that_somebody_else_set_and_that_miss_stay_as_they_are(engine: Engine, verdicts):
    fields = {"env.MODE": "strict"}
    for service in NAMES.values():
        engine.target.run.update(service, fields=fields, revision=f"{service}-by-hand", traffic=LATEST)
    verdicts["live"] = Verdict.FAILED
    run = engine.apply(only=["1.2"])
    assert (run.exit_code, run.steps[1].changed) == (ExitCode.MISSED, False)
    assert engine.serving_mode(GATEWAY) == "strict"


def divide(engine: Engine, old: str, percent: int) -> None:
    from xgw.resources import Share

    engine.target.run.update("gateway", traffic=(Share(None, 100 - percent), Share(old, percent)))


def test_values_that_a_part_of_the_traffic_runs_without_do_not_hold(engine: Engine):
    first = engine.target.service(GATEWAY).main
    engine.apply()
    divide(engine, first, 40)
    found, reason = state(engine)
    assert found == "pinned"
    assert f"40% on {first}" in reason
    with pytest.raises(Conflict, match="40%") as fault:
        engine.apply()
    assert fault.value.fix == "xgw rollback --release gateway"


def test_parts_of_the_traffic_on_revisions_that_all_have_the_values_hold(engine: Engine, cloud: LocalCloud):
    engine.apply()
    proven = engine.target.service(GATEWAY).main
    cloud.deploy("app@sha256:2", "gateway")
    divide(engine, proven, 40)
    assert state(engine) == ("holds", "")


def test_a_change_that_would_get_only_a_part_of_the_traffic_is_refused(engine: Engine, cloud: LocalCloud):
    first = engine.target.service(GATEWAY).main
    cloud.deploy("app@sha256:2", "gateway")
    divide(engine, first, 40)
    with pytest.raises(Conflict, match="in part"):
        engine.apply()
