from __future__ import annotations

from pathlib import Path

import pytest

from xgw import lock
from xgw.cli.main import main
from xgw.errors import ExitCode
from xgw.local import files

TARGETS = ["projects/xgw-local/locations/us-central1", "projects/my-project-1/locations/us-central1@loopback"]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XGW_HOME", str(tmp_path))
    (files.instances(tmp_path)).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("verb", ["down", "reset"])
def test_the_local_target_is_not_taken_away_under_a_command_that_works_on_it(
    verb: str, target: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with lock.held(home, target, "phase1 apply"):
        assert main(["local", verb, "--yes"]) == ExitCode.CONFLICT
        told = capsys.readouterr().err
        assert "is working on the local target: phase1 apply" in told
        assert f"xgw local {verb} --force" in told
        assert files.root(home).is_dir()
        assert main(["local", verb, "--yes", "--force"]) == ExitCode.OK
    assert files.root(home).is_dir() == (verb == "down")
    assert main(["local", verb, "--yes"]) == ExitCode.OK


def test_work_on_another_target_is_no_reason_to_keep_the_local_one(home: Path) -> None:
    with lock.held(home, "projects/my-project-1/locations/us-central1", "phase1 apply"):
        assert main(["local", "down"]) == ExitCode.OK


def test_down_where_nothing_ever_was_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XGW_HOME", str(tmp_path / "new"))
    assert main(["local", "down"]) == ExitCode.OK
    assert not (tmp_path / "new").exists()
