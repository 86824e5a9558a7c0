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


UNREADABLE = {
    "empty": "",
    "torn": '{"target": "x"',
    "hollow": "{}",
    "a list": "[]",
    "half of it": '{"target": "x"}',
    "no moment": {"since": "yesterday"},
    "a moment of no zone": {"since": "2026-11-29T05:00:00"},
    "no pid": {"pid": "7"},
    "a pid of nobody": {"pid": -1},
    "not utf-8": b"\xff",
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_lock_is_held_by_somebody_unknown_until_it_is_broken(tmp_path, content):
    other_holder(tmp_path, **(content if isinstance(content, dict) else {}))
    path = next((tmp_path / "locks").glob("*.json"))
    if not isinstance(content, dict):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = lock.holder(tmp_path, TARGET)
    assert found is not None
    assert (found.stale, found.age < 60) == (False, True)
    with pytest.raises(Conflict, match="somebody unknown is working on this target") as fault:
        lock.held(tmp_path, TARGET, "apply").__enter__()
    assert "cannot be read" in fault.value.cause
    assert "xgw unlock --force" in fault.value.fix
    with pytest.raises(Conflict, match="somebody unknown still holds"):
        lock.release(tmp_path, TARGET)
    assert lock.release(tmp_path, TARGET, force=True) is not None
    with lock.held(tmp_path, TARGET, "apply") as stale:
        assert stale is None


def test_a_lock_that_says_more_than_this_version_knows_is_held(tmp_path):
    with lock.held(tmp_path, TARGET, "phase1 apply") as _:
        path = next((tmp_path / "locks").glob("*.json"))
        path.write_text(json.dumps({**json.loads(path.read_text()), "colour": "blue"}))
        with pytest.raises(Conflict, match="phase1 apply"), lock.held(tmp_path, TARGET, "rollback"):
            pass
        assert [holder.doing for holder in lock.working(tmp_path)] == ["phase1 apply"]
    assert lock.holder(tmp_path, TARGET) is None


def test_who_is_gone_works_on_nothing(tmp_path):
    assert lock.working(tmp_path) == []
    other_holder(tmp_path, started=1.0)
    assert lock.working(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the platform tells the time since the epoch")
def test_a_lock_survives_an_adjusted_clock():
    since_boot = int(Path(f"/proc/{os.getpid()}/stat").read_text().rsplit(")", 1)[1].split()[19])
    assert abs(lock._started(os.getpid()) - since_boot / os.sysconf("SC_CLK_TCK")) < 1
