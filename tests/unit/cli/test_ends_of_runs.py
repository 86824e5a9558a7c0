"""How the commands end when a run does not: exit code, what stdout has, and error, cause and fix on stderr."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.helpers.engine import two_steps
from tests.helpers.local_cloud import LocalCloud
from xgw import faults
from xgw.cli.main import main
from xgw.errors import ExitCode

NAMES = ("gateway", "crm", "slack", "gmail")
CLOUD = ("--project", "xgw-local", "--region", "us-central1", "-o", "json", "-q", "--yes")


@pytest.fixture
def cloud(tmp_path, monkeypatch) -> Iterator[LocalCloud]:
    (tmp_path / "cloud").mkdir()
    cloud = LocalCloud(tmp_path / "cloud")
    for name in NAMES:
        cloud.create(name=name)
    services = "\n".join(f'{name} = "{name}"' for name in NAMES)
    (tmp_path / "xgw.toml").write_text(f'[services]\n{services}\n[overrides."1.7".gateway]\ncpu = "0.5"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XGW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XGW_ENDPOINT", cloud.target)
    yield cloud
    faults.watch(None)
    cloud.kill()


def test_a_change_that_the_platform_refuses_ends_with_1_and_missed_no_limit(cloud: LocalCloud, capsys):
    assert main(["phase1", "apply", "--only", "1.7", *CLOUD]) == ExitCode.FAILED
    out, err = capsys.readouterr()
    [step] = [step for step in json.loads(out)["data"]["steps"] if step["step"] == "1.7"]
    assert (step["outcome"], step["evidence"]) == ("rejected", [])
    told = json.loads(err.strip().splitlines()[-1])
    assert "the platform refused its change" in str(told)
    assert "Total cpu < 1" in str(told)
    assert "its check failed" not in err
    assert len(cloud.revision_names("gateway")) == 1


def test_a_phase_that_waits_for_an_earlier_one_is_refused_with_8_before_anything_is_written(cloud: LocalCloud, capsys):
    assert main(["phase2", "apply", *CLOUD]) == ExitCode.UNPROVEN
    out, err = capsys.readouterr()
    assert out == ""
    told = json.loads(err.strip().splitlines()[-1])["error"]
    assert told["message"].startswith("phase 2 waits for 1.1 (unproven), 1.2 (not applied)")
    assert told["fix"].endswith("xgw phase2 apply --project xgw-local --region us-central1 --out-of-order")
    assert len(cloud.revision_names("gateway")) == 1


def test_a_rollback_after_which_the_service_does_not_answer_ends_with_3_and_is_recorded_so(cloud: LocalCloud, capsys):
    cloud.deploy("app@sha256:2", "gateway")
    assert main(["rollback", "gateway", *CLOUD]) == ExitCode.MISSED
    out, err = capsys.readouterr()
    assert json.loads(out)["data"]["answered"] == 0
    assert "answers 0 of 5" in err
    assert main(["history", *CLOUD]) == ExitCode.OK
    [run] = json.loads(capsys.readouterr().out)["data"]
    assert run["end"]["exit"] == ExitCode.MISSED


@pytest.fixture
def two(monkeypatch) -> None:
    """Two small steps in place of the plan's nine, whose probes need no service that answers."""
    monkeypatch.setattr("xgw.cli.phase_wishes.phase_of", lambda *_: two_steps())


def somebody_deploys(cloud: LocalCloud) -> None:
    """Between the intent of the second step and its change."""
    passed: list[str] = []

    def watch(point: str) -> None:
        passed.append(point)
        if point == "intent-recorded" and passed.count(point) == 2:
            cloud.deploy("app@sha256:2", "gateway")

    faults.watch(watch)


def test_a_run_that_meets_a_conflict_after_its_first_step_is_told_and_ends_with_8(cloud, two, capsys):
    somebody_deploys(cloud)
    assert main(["phase1", "apply", *CLOUD]) == ExitCode.UNPROVEN
    out, err = capsys.readouterr()
    data = json.loads(out)["data"]
    assert data["exit_code"] == ExitCode.UNPROVEN
    assert [step["outcome"] for step in data["steps"]] == ["validated", "unproven"]
    told = json.loads(err.strip().splitlines()[-1])
    assert "moved" in str(told)


def test_a_run_that_breaks_after_its_first_step_is_told_as_far_as_it_came(cloud, two, capsys):
    faults.arm("intent-recorded#2:lost-answer")
    assert main(["phase1", "apply", *CLOUD]) == ExitCode.UNREACHABLE
    faults.arm("")
    out, err = capsys.readouterr()
    data = json.loads(out)["data"]
    assert data["exit_code"] == ExitCode.UNREACHABLE
    assert [step["outcome"] for step in data["steps"]] == ["validated", "unproven"]
    assert "the answer was lost" in err
