from __future__ import annotations

from pathlib import Path

import pytest

from xgw.cli.main import main


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
