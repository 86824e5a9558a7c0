"""Phases 2 and 3 on one target: measured before, refused before their turn, applied out of order, measured after, put back."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.helpers.place import Done, Place
from xgw.errors import ExitCode

pytestmark = pytest.mark.e2e

EARLY = "--out-of-order"
TIMED = "3.2"
"""What it measures is time: it has a test for itself."""


@dataclass(frozen=True)
class Story:
    """What each command of the story ended with, and the target's state around them."""

    before: str
    measured_before: list[Done]
    refused: Done
    state_refused: str
    applied: list[Done]
    waited: Done
    measured_after: list[Done]
    put_back: list[Done]
    after: str
    commands: list[str]


@pytest.fixture(scope="module")
def story(place: Place) -> Story:
    json = ("-o", "json")
    before = place.run("state", "--json").out
    return Story(
        before,
        [place.run("phase2", "validate", *json), place.run("phase3", "validate", "--only", "3.3", *json)],
        place.run("phase3", "apply"),
        place.run("state", "--json").out,
        [
            place.run("phase2", "apply", EARLY, *json),
            place.run("phase3", "apply", "--skip", TIMED, EARLY, *json),
        ],
        place.run("phase1", "apply", "--only", "1.3", *json),
        [place.run("phase2", "validate", *json), place.run("phase3", "validate", "--only", "3.3", *json)],
        [place.run(phase, "rollback", *json) for phase in ("phase1", "phase3", "phase2")],
        place.run("state", "--json").out,
        [record.body["command"] for record in place.records(kind="run")],
    )


def readings(done: Done) -> list[tuple[str, str, str]]:
    return [(s["step"], e["where"], e["verdict"]) for s in done.data["steps"] for e in s["evidence"]]


def test_every_probe_fails_on_the_baseline(story: Story) -> None:
    assert [done.code for done in story.measured_before] == [ExitCode.MISSED] * 2
    found = [reading for done in story.measured_before for reading in readings(done)]
    assert found == [(step, "live", "failed") for step in ("2.1", "2.2", "3.3")]


def test_a_phase_before_its_turn_is_refused_and_nothing_is_written(story: Story) -> None:
    story.refused.assert_told(ExitCode.UNPROVEN, "phase 3 waits for 1.1 (not applied)", "and 7 more", EARLY)
    assert story.state_refused == story.before


def test_out_of_order_the_steps_are_proven_all_the_same_and_the_ledger_says_so(story: Story) -> None:
    assert [done.code for done in story.applied] == [ExitCode.OK] * 2, story.applied
    passed = [(step, where) for done in story.applied for step, where, verdict in readings(done) if verdict == "passed"]
    assert passed == [
        *((step, where) for step in ("2.1", "2.2") for where in ("candidate", "live")),
        *(("3.3", where) for where in ("candidate", "at 10%", "at 50%", "live")),
    ]
    told = [command for command in story.commands if EARLY in command]
    assert told[0].startswith(f"phase2 apply {EARLY}, before 1.1, 1.2, 1.4")
    assert told[1].startswith(f"phase3 apply {EARLY}, before 1.1, 1.2, 1.3")


def test_the_step_that_waited_for_the_network_is_proven_on_it(story: Story) -> None:
    assert story.waited.code == ExitCode.OK, story.waited
    assert readings(story.waited) == [("1.3", "candidate", "passed"), ("1.3", "live", "passed")]


def test_every_probe_passes_after_it(story: Story) -> None:
    assert [done.code for done in story.measured_after] == [ExitCode.OK] * 2, story.measured_after


def test_put_back_the_target_is_as_it_was_byte_for_byte(story: Story) -> None:
    assert [done.code for done in story.put_back] == [ExitCode.OK] * 3, story.put_back
    assert story.before.startswith("{")
    assert story.after == story.before


@pytest.mark.alone
def test_batch_creation_is_applied_where_it_is_ten_times_as_fast(place: Place) -> None:
    before = place.run("phase3", "validate", "--only", TIMED)
    assert before.code == ExitCode.MISSED, before
    done = place.run("phase3", "apply", "--only", TIMED, EARLY, "-o", "json")
    assert done.code == ExitCode.OK, done
    assert readings(done) == [(TIMED, "candidate", "passed"), (TIMED, "live", "passed")]
