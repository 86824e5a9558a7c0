from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xgw.cli.main import main
from xgw.cli.saved_plan import save
from xgw.errors import UsageFault
from xgw.plan.model import Delta, FieldChange
from xgw.plan.phase1 import PHASE1
from xgw.planning import PhasePlan, StepPlan


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XGW_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("wish", [("--only", "1.7"), ("--skip", "1.1"), ("--only", "9.9", "--dry-run")])
def test_a_saved_plan_takes_no_other_steps(wish: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["phase1", "apply", "p.json", *wish]) == 2
    told = capsys.readouterr().err
    assert f"p.json says which steps, and so does {wish[0]}" in told
    assert f"xgw phase1 plan {wish[0]} {wish[1]} --out FILE" in told
    assert not Path("state").exists(), "nothing was opened"


def planned(value: str) -> PhasePlan:
    delta = Delta("gateway", (FieldChange("env.GREETING", None, value),))
    return PhasePlan(PHASE1, "t", (StepPlan(PHASE1.steps[0], "change", (delta,)),), {})


def test_a_plan_is_saved_and_read_whatever_the_locale(tmp_path: Path) -> None:
    """Its own process: Python decides at its start what text files are written in."""
    script = (
        "from tests.unit.cli.test_saved_plan import *; import locale; from xgw.cli.saved_plan import *; "
        "assert locale.getpreferredencoding(False) not in ('UTF-8', 'utf-8'); p = Path('p.json'); "
        "save(p, planned('gr\\u00fc\\u00dfe')); require_same(p, planned('gr\\u00fc\\u00dfe')); print(steps_of(p, 't'))"
    )
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "('1.1',)\n"), done.stderr
    assert "gr\u00fc\u00dfe" in (tmp_path / "p.json").read_text(encoding="utf-8")


def test_a_plan_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.json"
    save(path, planned("one"))
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UsageFault, match="cannot be written"):
        save(path, planned("two"))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_plan_goes_where_a_link_points_and_into_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "p.json"
    link.symlink_to("there/p.json")
    save(link, planned("one"))
    assert link.is_symlink()
    assert (tmp_path / "there" / "p.json").is_file()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    save(pipe, planned("one"))
    assert os.read(reader, 65536) == (tmp_path / "there" / "p.json").read_bytes()
    os.close(reader)
    assert pipe.is_fifo()
