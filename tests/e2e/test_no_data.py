"""No data is never a pass: nothing is promoted, nothing is undone, and the same command goes on when there is data."""

from __future__ import annotations

import signal
import time

import psutil
import pytest

from tests.helpers.place import Done, Place
from xgw.errors import ExitCode
from xgw.local import lifecycle
from xgw.local.images import GATEWAY_RUNTIME, pinned
from xgw.plan.model import GATEWAY

pytestmark = pytest.mark.e2e

GATEWAY_NAME = "xynergyos-intelligence-gateway"
APPLY = ("phase1", "apply", "--only", "1.7,1.8")


def outcomes(done: Done) -> dict[str, str]:
    return {step["step"]: step["outcome"] for step in done.data["steps"] if step["step"] in ("1.7", "1.8")}


def verdicts(done: Done) -> set[str]:
    return {e["verdict"] for step in done.data["steps"] for e in step["evidence"]}


def test_a_probe_without_data_is_inconclusive_and_nothing_is_promoted(place: Place) -> None:
    # This build answers 200 to whatever it is asked: no error can be provoked, so nothing can be said about errors.
    place.change_by_hand(GATEWAY_NAME, image=pinned("xgw.local/fault-memory-under-load"))
    serving, revisions, service = place.serving(), len(place.revisions()), place.target().service(GATEWAY)
    for _ in range(2):
        done = place.run(*APPLY, "-o", "json")
        assert done.code == ExitCode.UNPROVEN, done
        assert outcomes(done) == {"1.7": "unproven", "1.8": "skipped"}
        assert verdicts(done) == {"inconclusive"}
        assert "not proven, so nothing more was promoted" in done.err
        assert place.step("1.7") == "unproven"
        assert place.step("1.8") == ""
        assert place.serving() == serving
        assert place.target().service(GATEWAY).holding == service.holding
        assert len(place.revisions()) == revisions + 1
    assert [r.kind for r in place.records() if r.kind in ("promoting", "promoted", "reverting")] == []
    place.ok("phase1", "rollback")
    place.change_by_hand(GATEWAY_NAME, image=GATEWAY_RUNTIME)
    assert place.step("1.7") == "reverted"


def test_what_could_not_be_measured_goes_on_with_the_same_command_when_it_can(place: Place) -> None:
    serving, revisions = place.serving(), len(place.revisions())
    with place.popen(*APPLY, "-o", "json", fault="applied-recorded:delay") as running:
        candidate = _the_candidate(place)
        candidate.suspend()
        try:
            out, err = running.communicate(timeout=240)
        finally:
            candidate.resume()
    done = Done(running.returncode, out, err)
    assert done.code == ExitCode.UNPROVEN, done
    assert outcomes(done) == {"1.7": "unproven", "1.8": "skipped"}
    assert verdicts(done) == {"errored"}
    assert place.serving() == serving

    again = place.run(*APPLY, "-o", "json")
    assert again.code == ExitCode.OK, again
    assert outcomes(again) == {"1.7": "validated", "1.8": "validated"}
    assert len(place.revisions()) == revisions + 2
    assert place.serving() != serving


def _the_candidate(place: Place) -> psutil.Process:
    """The process behind the revision that has a tag and no traffic, once the step stands at "applied"."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if place.step("1.7") == "applied":
            found = lifecycle.status(place.home)
            assert found
            rows = [r for s in found.services if s["name"] == GATEWAY_NAME for r in s["revisions"]]
            return psutil.Process(next(r["pid"] for r in rows if str(r.get("tag") or "").startswith("xgw-")))
        time.sleep(0.02)
    raise AssertionError("the step was never applied")


def test_a_killed_local_target_comes_back_as_it_was_with_the_next_command(place: Place) -> None:
    state = place.state()
    daemon = place.endpoint().pid
    psutil.Process(daemon).send_signal(signal.SIGKILL)
    psutil.wait_procs([psutil.Process(daemon)] if psutil.pid_exists(daemon) else [], timeout=60)
    assert place.run("phase1", "validate", "--only", "1.7").code == ExitCode.OK
    assert place.state() == state
    assert place.endpoint().pid != daemon
