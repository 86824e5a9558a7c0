from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from xgw import lock
from xgw.errors import Conflict

TARGET = "projects/p/locations/r"


def other_holder(home, **changes):
    """Write a lock as somebody else would have."""
    with lock.held(home, TARGET, "apply"):
        path = next((home / "locks").glob("*.json"))
        data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, **changes}))


def test_a_held_lock_names_its_holder(tmp_path):
    with (
        lock.held(tmp_path, TARGET, "phase1 apply"),
        pytest.raises(Conflict) as fault,
        lock.held(tmp_path, TARGET, "rollback"),
    ):
        pass
    assert "phase1 apply" in fault.value.message
    assert f"pid {os.getpid()}" in fault.value.cause
    assert "unlock" in fault.value.fix


def test_a_lock_is_free_again_when_its_work_ends_in_a_fault(tmp_path):
    with pytest.raises(ZeroDivisionError), lock.held(tmp_path, TARGET, "apply"):
        raise ZeroDivisionError
    assert lock.holder(tmp_path, TARGET) is None


def test_another_target_is_not_locked(tmp_path):
    with lock.held(tmp_path, TARGET, "a"), lock.held(tmp_path, "projects/q/locations/r", "b") as stale:
        assert stale is None


def test_a_lock_of_a_dead_process_is_taken_over(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    other_holder(tmp_path, pid=child.pid)
    with lock.held(tmp_path, TARGET, "apply") as stale:
        assert stale is not None
        assert stale.pid == child.pid


def test_a_pid_that_belongs_to_a_younger_process_is_stale(tmp_path):
    other_holder(tmp_path, started=1.0)
    with lock.held(tmp_path, TARGET, "apply") as stale:
        assert stale is not None


def test_a_lock_of_another_machine_is_never_guessed_about(tmp_path):
    other_holder(tmp_path, host="elsewhere", pid=1, started=1.0)
    with pytest.raises(Conflict, match="working on this target"), lock.held(tmp_path, TARGET, "apply"):
        pass
    with pytest.raises(Conflict, match="still holds"):
        lock.release(tmp_path, TARGET)
    broken = lock.release(tmp_path, TARGET, force=True)
    assert broken is not None
    assert broken.host == "elsewhere"


@pytest.mark.parametrize("torn", ["", "{", "{}", "[]", '{"target": "x"}'])
def test_a_torn_lock_holds_nobody(tmp_path, torn):
    other_holder(tmp_path)
    next((tmp_path / "locks").glob("*.json")).write_text(torn)
    with lock.held(tmp_path, TARGET, "apply") as stale:
        assert stale is None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the platform tells the time since the epoch")
def test_a_lock_survives_an_adjusted_clock():
    since_boot = int(Path(f"/proc/{os.getpid()}/stat").read_text().rsplit(")", 1)[1].split()[19])
    assert abs(lock._started(os.getpid()) - since_boot / os.sysconf("SC_CLK_TCK")) < 1
