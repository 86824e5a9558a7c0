"""One writer per target: the second is told who, a lock of the dead is taken over, and Ctrl-C ends between two steps."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from tests.helpers.place import TARGET, Place
from tests.helpers.waiting import until
from xgw import lock
from xgw.errors import ExitCode

pytestmark = pytest.mark.e2e

APPLY = ("phase1", "apply", "--only", "1.7,1.8")


@pytest.fixture(autouse=True)
def _put_back(place: Place) -> Iterator[None]:
    place.text("phase1", "rollback")
    yield
    assert lock.holder(place.home, TARGET) is None


@contextlib.contextmanager
def held_up(place: Place) -> Iterator[subprocess.Popen[str]]:
    """An apply that holds the lock and stands still, alive, until the block ends; then it goes on to its end."""
    with in_flight(place) as running:
        until(lambda: place.step("1.7") == "intended")  # asleep, and not in the middle of a call that has a deadline
        psutil.Process(running.pid).suspend()
        try:
            yield running
            assert running.poll() is None
        finally:
            psutil.Process(running.pid).resume()


@contextlib.contextmanager
def in_flight(place: Place, point: str = "intent-recorded") -> Iterator[subprocess.Popen[str]]:
    """An apply that holds the lock, and stays two seconds at the point."""
    before = len(place.records(kind="run"))
    with place.popen(*APPLY, fault=f"{point}:delay") as running:
        try:
            until(lambda: len(place.records(kind="run")) > before)
            yield running
            running.wait(timeout=240)
        finally:
            running.kill()


@pytest.mark.parametrize("second", [APPLY, ("phase1", "rollback"), ("rollback", "gateway"), ("phase1", "validate")])
def test_the_second_is_told_who_is_at_it_and_changes_nothing(place: Place, second: tuple[str, ...]) -> None:
    with held_up(place) as first:
        told = place.run(*second)
        told.assert_told(
            ExitCode.CONFLICT,
            "is working on this target: phase1 apply",
            f"pid {first.pid} on {socket.gethostname()} holds the lock",
            "xgw unlock --force",
        )
        place.run("unlock").assert_told(ExitCode.CONFLICT, "still holds the lock", f"pid {first.pid}")
        assert place.look("status")["lock"]["pid"] == first.pid
    assert first.returncode == ExitCode.OK
    assert (place.step("1.7"), place.step("1.8")) == ("validated", "validated")


def test_those_who_only_read_are_not_held_up(place: Place) -> None:
    with held_up(place) as first:
        assert place.run("phase1", "plan").code == ExitCode.OK
    assert first.returncode == ExitCode.OK


def test_a_lock_of_a_killed_one_is_taken_over_and_the_ledger_says_so(place: Place) -> None:
    assert place.run(*APPLY, fault="applied-recorded:crash").code == -signal.SIGKILL
    held = lock.holder(place.home, TARGET)
    assert held
    assert held.stale
    again = place.run(*APPLY)
    assert again.code == ExitCode.OK, again
    assert f"took over the lock of {held.who} (pid {held.pid} is gone): phase1 apply" in again.err
    assert place.records(kind="lock")[-1].body["pid"] == held.pid


def test_unlock_removes_a_lock_of_the_dead_and_says_when_there_is_none(place: Place) -> None:
    assert place.run(*APPLY, fault="run-recorded:crash").code == -signal.SIGKILL
    removed = place.json("unlock")
    assert (removed["removed"], removed["doing"]) == (True, "phase1 apply")
    assert place.json("unlock") == {"removed": False, **dict.fromkeys(("who", "pid", "since", "doing"))}
    assert "doing" in place.records(kind="lock")[-1].body


def test_a_lock_of_the_living_is_broken_only_by_force(place: Place) -> None:
    with held_up(place) as first:
        place.run("unlock").assert_told(ExitCode.CONFLICT, "is alive")
        assert place.json("unlock", "--force")["removed"] is True
        taken = place.records(kind="lock")[-1].body
        assert (taken["pid"], taken["doing"]) == (first.pid, "phase1 apply")


def test_ctrl_c_finishes_the_step_and_the_next_apply_goes_on(place: Place) -> None:
    revisions = len(place.revisions())
    with in_flight(place, "change-made") as running:
        until(lambda: place.step("1.7") == "intended")
        os.kill(running.pid, signal.SIGINT)
        out, err = running.communicate(timeout=240)
    assert running.returncode == ExitCode.INTERRUPTED, err
    assert "finishing this step; Ctrl-C again stops at once" in err
    assert "Traceback" not in err
    assert "validated" in out
    assert place.step("1.7") == "validated"
    assert place.step("1.8") in ("", "reverted")  # not begun by this run
    end = place.look("history")[0]["end"]
    assert {s["step"]: s["reason"] for s in end["steps"] if s["step"] == "1.8"} == {"1.8": "interrupted"}
    assert end["exit"] == ExitCode.INTERRUPTED
    assert "interrupted: run it again" in place.text("history", "-n", "1")

    again = place.run(*APPLY)
    assert again.code == ExitCode.OK, again
    assert (place.step("1.7"), place.step("1.8")) == ("validated", "validated")
    assert len(place.revisions()) == revisions + 2


def test_ctrl_c_twice_stops_at_once_and_the_next_apply_goes_on(place: Place) -> None:
    revisions = len(place.revisions())
    with in_flight(place, "change-made") as running:
        until(lambda: place.step("1.7") == "intended")
        os.kill(running.pid, signal.SIGINT)
        next(line for line in running.stderr if "Ctrl-C again stops at once" in line)
        os.kill(running.pid, signal.SIGINT)
        _, err = running.communicate(timeout=240)
    assert running.returncode == ExitCode.INTERRUPTED, err
    assert "Traceback" not in err
    assert place.step("1.7") in ("intended", "applied", "promoting", "promoted")
    assert place.look("history")[0]["end"]["error"] == "interrupted"

    again = place.run(*APPLY)
    assert again.code == ExitCode.OK, again
    assert "took over the lock" not in again.err
    assert (place.step("1.7"), place.step("1.8")) == ("validated", "validated")
    assert len(place.revisions()) == revisions + 2
