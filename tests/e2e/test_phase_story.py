"""Phase 1 from end to end on one target: measured before, applied, applied again, measured after, put back."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.helpers.place import Done, Place
from xgw.errors import ExitCode
from xgw.plan.phase1 import PHASE1

pytestmark = pytest.mark.e2e

WAITING = tuple(step.id for step in PHASE1.steps if step.after)
STEPS = tuple(step.id for step in PHASE1.steps if not step.after)
READINGS = sum(len(step.probes) for step in PHASE1.steps if not step.after)


@dataclass(frozen=True)
class Story:
    """What each command of the story ended with, and the target's state between them."""

    before: str
    measured_before: Done
    applied: Done
    state_applied: str
    writes_applied: dict[str, int]
    revisions_applied: list[str]
    again: Done
    writes_again: dict[str, int]
    revisions_again: list[str]
    measured_after: Done
    writes_measured: dict[str, int]
    put_back: Done
    after: str
    put_back_again: Done
    verified: Done


@pytest.fixture(scope="module")
def story(place: Place) -> Story:
    before = place.run("state", "--json").out
    measured_before = place.run("phase1", "validate", "-o", "json")
    applied = place.run("phase1", "apply", "-o", "json")
    state_applied, writes_applied, revisions_applied = place.state(), place.writes(), place.revisions()
    again = place.run("phase1", "apply", "-o", "json")
    writes_again, revisions_again = place.writes(), place.revisions()
    measured_after = place.run("phase1", "validate", "-o", "json")
    writes_measured = place.writes()
    put_back = place.run("phase1", "rollback", "-o", "json")
    after = place.run("state", "--json").out
    put_back_again = place.run("phase1", "rollback")
    return Story(
        before,
        measured_before,
        applied,
        state_applied,
        writes_applied,
        revisions_applied,
        again,
        writes_again,
        revisions_again,
        measured_after,
        writes_measured,
        put_back,
        after,
        put_back_again,
        place.run("history", "verify", "-o", "json"),
    )


def outcomes(done: Done) -> dict[str, str]:
    """Of all steps but those that wait for a later phase, which nothing touches."""
    waiting = [step for step in done.data["steps"] if step["reason"].startswith("waits: for step 2.1")]
    assert [(step["step"], step["outcome"], step["evidence"]) for step in waiting] == [
        (id, "skipped", []) for id in WAITING
    ]
    return {step["step"]: step["outcome"] for step in done.data["steps"] if step not in waiting}


def readings(done: Done) -> list[tuple[str, str]]:
    return [(e["probe"], e["verdict"]) for step in done.data["steps"] for e in step["evidence"]]


def test_every_probe_fails_on_the_baseline_with_exit_3(story: Story) -> None:
    assert story.measured_before.code == ExitCode.MISSED
    assert outcomes(story.measured_before) == dict.fromkeys(STEPS, "rejected")
    found = readings(story.measured_before)
    assert len(found) == READINGS
    assert [reading for reading in found if reading[1] != "failed"] == []
    assert '"message": "step 1.1: the requirement does not hold"' in story.measured_before.err


def test_apply_validates_every_step_candidate_and_live(story: Story) -> None:
    assert story.applied.code == ExitCode.OK, story.applied.err
    assert outcomes(story.applied) == dict.fromkeys(STEPS, "validated")
    where = [e["where"] for step in story.applied.data["steps"] for e in step["evidence"]]
    assert (where.count("candidate"), where.count("live")) == (READINGS, READINGS)
    assert {verdict for _, verdict in readings(story.applied)} == {"passed"}
    assert story.state_applied != story.before


def test_every_probe_passes_after_apply_with_exit_0(story: Story) -> None:
    assert story.measured_after.code == ExitCode.OK, story.measured_after.err
    assert outcomes(story.measured_after) == dict.fromkeys(STEPS, "validated")
    assert len(readings(story.measured_after)) == READINGS
    assert {verdict for _, verdict in readings(story.measured_after)} == {"passed"}


def test_a_second_apply_changes_nothing_and_exits_0(story: Story) -> None:
    assert story.again.code == ExitCode.OK
    assert story.again.data["run"] == 0
    assert outcomes(story.again) == dict.fromkeys(STEPS, "validated")
    assert {step["reason"] for step in story.again.data["steps"] if step["step"] in STEPS} == {"holds already"}
    assert story.writes_again == story.writes_applied
    assert story.revisions_again == story.revisions_applied


def test_measuring_sends_no_rpc_that_could_change_anything(story: Story) -> None:
    assert story.writes_measured == story.writes_again


def test_apply_then_rollback_is_the_starting_state_byte_for_byte(story: Story) -> None:
    assert story.put_back.code == ExitCode.OK, story.put_back.err
    assert [step["step"] for step in story.put_back.data["steps"]] == list(reversed(STEPS))
    assert story.before.startswith("{")
    assert story.after == story.before


def test_a_second_rollback_finds_nothing_to_put_back(story: Story) -> None:
    assert story.put_back_again.code == ExitCode.OK
    assert "Nothing to put back." in story.put_back_again.err


def test_the_ledger_of_the_whole_story_verifies(story: Story) -> None:
    assert story.verified.code == ExitCode.OK
    assert story.verified.data["records"] > 60
