from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.helpers.engine import Engine
from tests.helpers.local_cloud import LocalCloud
from xgw.cli.main import main

BEGAN = datetime.now(UTC) - timedelta(minutes=1)


def write(cloud: LocalCloud, count: int) -> None:
    def lines() -> None:
        for n in range(count):
            cloud.logs.append("gateway", "gateway-00001-abc", "INFO", f"line {n}", BEGAN + timedelta(milliseconds=n))

    cloud.call(lines)


@pytest.mark.parametrize("count", [2, 3, 30])
def test_of_more_lines_than_are_asked_for_the_newest_are_told_oldest_first(
    count: int, engine: Engine, cloud: LocalCloud
) -> None:
    write(cloud, count)
    found = engine.target.logs.lines("gateway", since=BEGAN, limit=3, newest=True)
    assert [line.payload for line in found] == [f"line {n}" for n in range(max(count - 3, 0), count)]
    first = engine.target.logs.lines("gateway", since=BEGAN, limit=3)
    assert [line.payload for line in first] == [f"line {n}" for n in range(min(count, 3))]


def test_the_newest_lines_of_a_busy_service_are_shown(
    cloud: LocalCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(cloud, 5100)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XGW_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XGW_ENDPOINT", cloud.target)
    (tmp_path / "xgw.toml").write_text('project = "xgw-local"\n[services]\ngateway = "gateway"\n')
    assert main(["logs", "gateway", "-n", "3", "-o", "json"]) == 0
    assert [line["payload"] for line in json.loads(capsys.readouterr().out)["data"]] == [
        "line 5097",
        "line 5098",
        "line 5099",
    ]
