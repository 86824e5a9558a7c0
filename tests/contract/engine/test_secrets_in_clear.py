"""A secret that stands in clear on a service is never recorded or shown, and still is what is put back."""

from __future__ import annotations

import pytest
from google.cloud import run_v2

from tests.helpers.engine import Engine
from tests.helpers.local_cloud import PARENT, LocalCloud
from xgw.changes.service import ServiceSpec
from xgw.cli import phase_screens
from xgw.cli.history import _one
from xgw.cli.saved_plan import save
from xgw.errors import Conflict, ExitCode, Refused
from xgw.plan.model import GATEWAY, Phase, Step
from xgw.report import OUTPUTS, PLAIN, render

CLEAR = {"API_TOKEN": "hunter2", "REDIS_URL": "redis://:hunter2@10.0.0.3:6379", "MODE": "secret:hunter2"}
WISHED = {"REDIS_URL": "redis://10.0.0.3:6379", "MODE": "strict"}


@pytest.fixture
def secretive(engine: Engine, cloud: LocalCloud) -> Engine:
    change(cloud, CLEAR)
    step = Step("1.1", "Secrets", (ServiceSpec(GATEWAY, env=WISHED),), (), ())
    return Engine(engine.target, engine.home, Phase(1, "Test", (step,)))


def change(cloud: LocalCloud, variables: dict[str, str]) -> None:
    """As a colleague with another client would."""
    message = cloud.get("gateway")
    message.template.containers[0].env = [run_v2.EnvVar(name=name, value=value) for name, value in variables.items()]
    message.template.revision = ""
    cloud.update(message)


def variables(cloud: LocalCloud) -> dict[str, str]:
    return {variable.name: variable.value for variable in cloud.get("gateway").template.containers[0].env}


def test_it_is_in_no_plan_no_record_and_no_file_and_is_put_back_as_it_was(
    secretive: Engine, cloud: LocalCloud, tmp_path
) -> None:
    planned = secretive.plan()
    shown = [render(phase_screens.plan_report(planned, secretive.target, PLAIN), o) for o in OUTPUTS]
    save(tmp_path / "p.json", planned)
    run = secretive.apply()
    assert variables(cloud)["REDIS_URL"] == WISHED["REDIS_URL"]
    records = secretive.ledger().records(run=run.id)
    shown += [render(_one(run.id, records), output) for output in OUTPUTS]
    assert secretive.revert().exit_code is ExitCode.OK
    assert variables(cloud) == CLEAR
    assert "masked:" in "".join(shown)
    assert "redis://***@10.0.0.3:6379" in "".join(shown)
    written = [path.read_bytes() for path in (tmp_path / "p.json", *tmp_path.glob("ledger.db*"))]
    assert CLEAR["REDIS_URL"] not in "".join(shown)
    assert not [raw for raw in written if CLEAR["REDIS_URL"].encode() in raw]


def test_a_token_in_clear_is_there_again_when_a_reference_in_its_place_was_rejected(
    secretive: Engine, cloud: LocalCloud, tmp_path
) -> None:
    wish = ServiceSpec(GATEWAY, env={"API_TOKEN": "secret:api-token/latest"})  # the embedded cloud cannot read it
    secretive.phase = Phase(1, "Test", (Step("1.1", "Token", (wish,), (), ()),))
    assert secretive.apply().exit_code is ExitCode.MISSED
    assert variables(cloud) == CLEAR
    assert not [path for path in tmp_path.glob("ledger.db*") if b"hunter2" in path.read_bytes()]


def test_another_secret_than_the_recorded_one_is_drift_that_does_not_say_it(
    secretive: Engine, cloud: LocalCloud
) -> None:
    secretive.apply()
    change(cloud, {**CLEAR, **WISHED, "REDIS_URL": "redis://:hunter3@10.0.0.3:6379"})
    with pytest.raises(Conflict, match="drifted") as fault:
        secretive.revert()
    assert "hunter" not in fault.value.cause


def test_a_secret_that_no_revision_has_any_more_is_refused_with_a_way_out(secretive: Engine, cloud: LocalCloud) -> None:
    secretive.apply()
    serving = secretive.target.service(GATEWAY).main
    for name in (name for name in cloud.revision_names("gateway") if name != serving):
        cloud.revisions.delete_revision(name=f"{PARENT}/services/gateway/revisions/{name}").result()
    with pytest.raises(Refused, match=r"the value that env\.\w+ had is gone") as fault:
        secretive.revert()
    assert "set it by hand" in fault.value.fix
    change(cloud, CLEAR)
    assert secretive.revert().exit_code is ExitCode.OK
    assert variables(cloud) == CLEAR
