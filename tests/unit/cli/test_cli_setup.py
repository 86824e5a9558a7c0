from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.helpers.command import xgw
from xgw.cli.main import main
from xgw.cli.setup import TEMPLATE
from xgw.errors import ExitCode
from xgw.settings import SCALARS, load, value_of


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("XGW_PROJECT", "XGW_REGION", "XGW_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XGW_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


def test_init_writes_what_the_defaults_are(tmp_path: Path) -> None:
    assert main(["init", "--no-input"]) == 0
    written = load({}, environ={}, cwd=tmp_path)
    assert written.config == tmp_path / "xgw.toml"
    unwritten = load({}, environ={}, cwd=tmp_path / "elsewhere")
    assert {name: value_of(written, name) for name in SCALARS} == {name: value_of(unwritten, name) for name in SCALARS}


def test_init_explains_every_key() -> None:
    named = {line.split("=")[0].strip("# ").strip() for line in TEMPLATE.splitlines() if "=" in line}
    assert {name.rpartition(".")[2] for name in SCALARS} - named - {"project"} == set()


def test_what_init_shows_commented_out_can_be_used(tmp_path: Path) -> None:
    text = TEMPLATE.format(project='# project = "my-project-1"', region="europe-west1")
    wanted = ("# project", "# [over", "# env", "# memory")
    lines = [line.removeprefix("# ") if line.startswith(wanted) else line for line in text.splitlines()]
    (tmp_path / "xgw.toml").write_text("\n".join(lines))
    read = load({}, environ={}, cwd=tmp_path)
    assert (read.project, read.region) == ("my-project-1", "europe-west1")
    assert set(read.overrides) == {"1.2", "1.8"}


def test_init_overwrites_only_by_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "xgw.toml"
    path.write_text("# mine\n")
    assert main(["init", "--no-input"]) == ExitCode.USAGE
    assert path.read_text() == "# mine\n"
    assert "xgw init --force" in capsys.readouterr().err
    assert main(["init", "--no-input", "--force", "--project", "my-project-1"]) == 0
    assert load({}, environ={}, cwd=tmp_path).project == "my-project-1"
    assert [p.name for p in tmp_path.iterdir()] == ["xgw.toml"]


def test_init_refuses_a_project_that_cannot_be_one(tmp_path: Path) -> None:
    assert main(["init", "--no-input", "--project", 'x"\nregion = "y']) == ExitCode.USAGE
    assert list(tmp_path.iterdir()) == []


def test_config_show_says_who_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "xgw.toml").write_text('environment = "staging"\n[limits]\np95_ms = 300\n')
    done = xgw(
        "config", "show", "-o", "json", "--project", "my-project-1", cwd=tmp_path, env={"XGW_REGION": "asia-east1"}
    )
    told = json.loads(done.stdout)["data"]
    assert told["project"] == {"value": "my-project-1", "origin": "flag --project"}
    assert told["region"] == {"value": "asia-east1", "origin": "variable XGW_REGION"}
    assert told["environment"] == {"value": "staging", "origin": "xgw.toml:1"}
    assert told["limits.p95_ms"] == {"value": 300, "origin": "xgw.toml:3"}
    assert told["services.crm"] == {"value": "crm-engine", "origin": "default"}
    assert set(SCALARS) <= set(told)


def test_config_path_needs_no_valid_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "xgw.toml").write_text("no toml")
    assert main(["config", "path", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"]["config"] == str(tmp_path / "xgw.toml")


def test_doctor_finds_a_good_machine_good(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert "all is well" in capsys.readouterr().out


def test_doctor_names_what_is_broken_and_how_to_mend_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "xgw.toml").write_text("[limits]\np95 = 300\n")
    monkeypatch.setenv("XGW_HOME", "/dev/null/state")
    assert main(["doctor", "-o", "json"]) == ExitCode.FAILED
    found = {line["check"]: line for line in json.loads(capsys.readouterr().out)["data"]}
    assert found["settings"]["result"] == "fail"
    assert found["settings"]["fix"] == "did you mean limits.p95_ms?"
    assert "xgw.toml:2" in found["settings"]["found"]
    assert found["state directory"]["result"] == "fail"
    assert "XGW_HOME" in found["state directory"]["fix"]
    assert found["python"]["result"] == "ok"


def test_doctor_leaves_no_port_open(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "-q"])
    with socket.create_server(("127.0.0.1", 0)):
        pass  # an unclosed socket would raise a ResourceWarning, which is an error here


def test_local_commands_say_that_nothing_runs(tmp_path: Path) -> None:
    status = xgw("local", "status", "-o", "json", cwd=tmp_path)
    assert status.returncode == ExitCode.UNREACHABLE
    assert json.loads(status.stdout)["data"] == {"running": False}
    down = xgw("local", "down", "-o", "json", cwd=tmp_path)
    assert (down.returncode, json.loads(down.stdout)["data"]) == (0, {"stopped": False})
    logs = xgw("local", "logs", cwd=tmp_path)
    assert logs.returncode == ExitCode.USAGE
    assert "fix:   xgw local up" in logs.stderr
