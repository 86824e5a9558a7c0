from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.helpers.command import xgw
from xgw.errors import ExitCode

pytestmark = pytest.mark.e2e


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    xgw("local", "reset", "--yes", cwd=tmp_path)


def test_up_status_logs_down_and_reset_do_what_they_say(place: Path) -> None:
    first = xgw("local", "up", "-o", "json", cwd=place)
    assert first.returncode == 0, first.stderr
    endpoint = json.loads(first.stdout)["data"]

    again = xgw("local", "up", "-o", "json", "-q", cwd=place)
    assert json.loads(again.stdout)["data"] == endpoint
    assert again.stderr == ""

    told = json.loads(xgw("local", "status", "-o", "json", cwd=place).stdout)["data"]
    assert told["running"] is True
    assert {service["name"] for service in told["services"]} >= {"crm-engine", "xynergyos-intelligence-gateway"}
    pids = [revision["pid"] for service in told["services"] for revision in service["revisions"] if revision["pid"]]
    table = xgw("local", "status", cwd=place).stdout
    assert table.isascii() or "✓ serving" in table
    assert "100%" in table

    assert "ready" in xgw("local", "logs", cwd=place).stdout
    assert "running, pid" in xgw("doctor", cwd=place).stdout

    assert xgw("local", "down", cwd=place).stdout == "local target stopped\n"
    assert [pid for pid in (endpoint["pid"], *pids) if _lives(pid)] == []
    assert xgw("local", "status", cwd=place).returncode == ExitCode.UNREACHABLE
    assert xgw("local", "reset", "-y", cwd=place).returncode == 0


def _lives(pid: int) -> bool:
    """A process that has ended but whose parent has not looked yet does not count."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
