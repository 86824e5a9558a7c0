"""What somebody else changed in between is never written over unasked, and a saved plan does exactly that or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.helpers.place import Place
from xgw.errors import ExitCode

pytestmark = pytest.mark.e2e

GATEWAY_NAME = "xynergyos-intelligence-gateway"
APPLY = ("phase1", "apply", "--only", "1.7")


@pytest.fixture(autouse=True)
def start(place: Place) -> Iterator[str]:
    """Every test begins at the plan's current state."""
    place.text("phase1", "rollback", "--force")
    state = place.state()
    yield state
    place.text("phase1", "rollback", "--force")
    assert place.state() == state


def unchanged(place: Place) -> tuple[object, ...]:
    return place.state(), place.revisions(), place.writes(), place.step("1.7")


def states(place: Place) -> dict[str, str]:
    return {step["step"]: step["state"] for step in place.look("phase1", "plan")["steps"]}


def test_a_value_changed_by_hand_is_shown_refused_and_overwritten_only_by_force(place: Place) -> None:
    place.ok(*APPLY)
    place.change_by_hand(GATEWAY_NAME, ERROR_DETAIL="full")
    there = unchanged(place)
    assert states(place)["1.7"] == "drift"
    shown = place.ok("phase1", "plan").out
    assert "gateway env.ERROR_DETAIL is 'full', was 'none'" in shown
    place.run(*APPLY).assert_told(ExitCode.CONFLICT, "step 1.7: changed since run", "ERROR_DETAIL", "--force")
    assert unchanged(place) == there
    done = place.run(*APPLY, "--force")
    assert done.code == ExitCode.OK, done
    assert states(place)["1.7"] == "holds"


def test_memory_changed_by_hand_is_drift(place: Place) -> None:
    place.ok("phase1", "apply", "--only", "1.1")
    place.change_by_hand(GATEWAY_NAME, memory="768Mi")
    there = unchanged(place)
    assert states(place)["1.1"] == "drift"
    place.run("phase1", "apply", "--only", "1.1").assert_told(
        ExitCode.CONFLICT, "step 1.1", "memory is '768Mi', was '512Mi'", "--force"
    )
    rollback = place.run("phase1", "rollback")
    rollback.assert_told(ExitCode.CONFLICT, "drifted", "memory is '768Mi', the ledger wrote '512Mi'", "--force")
    assert unchanged(place) == there
    assert place.step("1.1") == "validated"


def test_a_value_that_the_plan_does_not_own_is_nobodys_drift(place: Place) -> None:
    place.ok(*APPLY)
    place.change_by_hand(GATEWAY_NAME, LOG_LEVEL="warning")
    assert states(place)["1.7"] == "holds"
    place.ok("phase1", "rollback")
    assert '"env.LOG_LEVEL": "warning"' in place.state()
    place.change_by_hand(GATEWAY_NAME, LOG_LEVEL="debug")


def test_a_saved_plan_is_applied_as_it_was_saved(place: Place) -> None:
    place.ok("phase1", "plan", "--only", "1.7", "--out", "p.json")
    document = json.loads((place.root / "p.json").read_text())
    assert document["schema"] == "xgw.saved-plan/v1"
    done = place.run("phase1", "apply", "p.json", "-o", "json")
    assert done.code == ExitCode.OK, done
    assert {s["step"] for s in done.data["steps"] if s["outcome"] == "validated"} == {"1.7"}
    assert place.step("1.8") in ("", "reverted")


def test_a_saved_plan_is_refused_when_the_target_moved(place: Place) -> None:
    place.ok("phase1", "plan", "--only", "1.7", "--out", "p.json")
    place.change_by_hand(GATEWAY_NAME, LOG_LEVEL="info")
    there = unchanged(place)
    place.run("phase1", "apply", "p.json").assert_told(
        ExitCode.CONFLICT, "p.json is stale: the target moved", "changed since: gateway", "plan --only 1.7 --out p.json"
    )
    assert unchanged(place) == there
    place.change_by_hand(GATEWAY_NAME, LOG_LEVEL="debug")


def test_a_saved_plan_is_not_applied_twice(place: Place) -> None:
    place.ok("phase1", "plan", "--only", "1.7", "--out", "p.json")
    place.ok("phase1", "apply", "p.json")
    there = unchanged(place)
    place.run("phase1", "apply", "p.json").assert_told(ExitCode.CONFLICT, "p.json is stale")
    assert unchanged(place) == there


def test_a_plan_of_another_target_is_refused(place: Place) -> None:
    place.ok("phase1", "plan", "--only", "1.7", "--out", "p.json")
    path = place.root / "p.json"
    path.write_text(path.read_text().replace("projects/xgw-local/", "projects/another-one/"))
    there = unchanged(place)
    place.run("phase1", "apply", "p.json").assert_told(
        ExitCode.CONFLICT, "planned for another target", "projects/another-one/"
    )
    assert unchanged(place) == there


def detailed(place: Place, step: str) -> tuple[int, str]:
    """(exit code, state of the step) of a plan of one step."""
    done = place.run("phase1", "plan", "--only", step, "--detailed-exitcode", "-o", "json")
    return done.code, {one["step"]: one["state"] for one in done.data["steps"]}[step]


def test_the_detailed_exit_code_tells_of_what_is_in_the_way_too(place: Place) -> None:
    (place.root / "xgw.toml").write_text('[overrides."1.1"]\nmemory = "256Mi"\nexecution_environment = "gen2"\n')
    assert detailed(place, "1.1") == (ExitCode.CHANGES, "blocked")
    (place.root / "xgw.toml").unlink()
    place.ok(*APPLY)
    assert detailed(place, "1.7") == (ExitCode.OK, "holds")
    place.ok("rollback", "gateway")
    assert detailed(place, "1.7") == (ExitCode.CHANGES, "pinned")
    place.ok("rollback", "gateway", "--release")
    assert detailed(place, "1.7") == (ExitCode.CHANGES, "change")


GARBAGE = {
    "text": "not a plan",
    "empty": "",
    "list": "[]",
    "number": "7",
    "other": '{"schema": "xgw.run/v1", "data": {}}',
    "hollow": '{"schema": "xgw.saved-plan/v1", "data": {}}',
    "wrong": '{"schema": "xgw.saved-plan/v1", "data": {"phase": 1, "target": 1, "etags": {}, "steps": {"1.7": 3}}}',
    "binary": "\x00\x01\ufffe",
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_a_file_that_is_no_plan_is_refused(place: Place, kind: str) -> None:
    (place.root / "g.json").write_text(
        GARBAGE[kind].replace('"target": 1', '"target": "projects/xgw-local/locations/us-central1"')
    )
    there = unchanged(place)
    place.run("phase1", "apply", "g.json").assert_told(ExitCode.USAGE, "g.json is not a saved plan", "plan --out")
    assert unchanged(place) == there


def test_a_plan_that_is_not_there_is_refused(place: Place) -> None:
    place.run("phase1", "apply", "absent.json").assert_told(ExitCode.USAGE, "absent.json cannot be read")
    done = place.run("phase1", "plan", "--out", "no/such/dir/p.json")
    assert done.code == ExitCode.USAGE
    assert "cannot be written" in done.err
