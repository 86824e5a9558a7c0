"""`kill -9` of the command at every point it passes, then the same command again: the end is that of an unbroken run.

The points are not chosen: PASSES must be exactly what an unbroken run passes, and together they must be all there are.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.helpers.place import Place
from xgw import faults
from xgw.errors import ExitCode

pytestmark = pytest.mark.e2e

APPLY = ("phase1", "apply", "--only", "1.7")
REVERT = ("phase1", "rollback")

PASSES = {
    APPLY: {
        "run-recorded": 1,
        "intent-recorded": 1,
        "update-sending": 2,
        "update-sent": 2,
        "change-made": 1,
        "applied-recorded": 1,
        "evidence-recorded": 2,
        "promoting-recorded": 1,
        "traffic-moved": 1,
        "promoted-recorded": 1,
        "outcome-recorded": 1,
    },
    REVERT: {
        "run-recorded": 1,
        "reverting-recorded": 1,
        "update-sending": 3,
        "update-sent": 3,
        "put-back": 1,
        "reverted-recorded": 1,
    },
}
"""How often an unbroken run of each command passes each point. A point that is not named is never passed by it."""

NEVER = {
    APPLY: {"reverting-recorded", "put-back", "reverted-recorded"},
    REVERT: {
        "intent-recorded",
        "change-made",
        "applied-recorded",
        "evidence-recorded",
        "promoting-recorded",
        "traffic-moved",
        "promoted-recorded",
        "outcome-recorded",
    },
}
"""The points an unbroken run of each command does not reach, so that nothing can be killed there."""


def places(command: tuple[str, ...]) -> list[str]:
    return [f"{point}#{nth}" for point in faults.POINTS for nth in range(1, PASSES[command].get(point, 0) + 1)]


def passed_by(run: Callable[[], object]) -> dict[str, int]:
    seen: list[str] = []
    faults.watch(seen.append)
    try:
        run()
    finally:
        faults.watch(None)
    return dict(Counter(seen))


@pytest.fixture(scope="module")
def ends(place: Place) -> dict[tuple[str, ...], str]:
    """The target's state after an unbroken run of each command; made in this process, to see what points it passes."""
    before = place.state()
    passed = {APPLY: passed_by(lambda: place.text(*APPLY))}
    applied = place.state()
    passed[REVERT] = passed_by(lambda: place.text(*REVERT))
    assert passed == PASSES
    assert applied != before
    assert place.state() == before
    return {APPLY: applied, REVERT: before}


@pytest.fixture(scope="module")
def lines(place: Place, ends: dict[tuple[str, ...], str]) -> Callable[[tuple[str, ...]], None]:
    """Brings the target to where a command has something to do."""

    def set_for(command: tuple[str, ...]) -> None:
        wanted = ends[REVERT if command == APPLY else APPLY]
        if place.state() != wanted:
            place.text(*(REVERT if command == APPLY else APPLY))
        assert place.state() == wanted

    return set_for


def interleaved() -> Iterator[tuple[tuple[str, ...], str]]:
    """Apply and revert in turn, so that most of them find the stage as the one before left it."""
    applies, reverts = places(APPLY), places(REVERT)
    for number in range(max(len(applies), len(reverts))):
        if number < len(applies):
            yield APPLY, applies[number]
        if number < len(reverts):
            yield REVERT, reverts[number]


def test_the_points_named_here_are_all_there_are(ends: dict[tuple[str, ...], str]) -> None:
    for command in (APPLY, REVERT):
        assert set(PASSES[command]) | NEVER[command] == set(faults.POINTS)
        assert not set(PASSES[command]) & NEVER[command]
    assert set(PASSES[APPLY]) | set(PASSES[REVERT]) == set(faults.POINTS)


def test_a_point_that_is_never_reached_kills_nothing(
    place: Place, ends: dict[tuple[str, ...], str], lines: Callable[[tuple[str, ...]], None]
) -> None:
    lines(APPLY)
    never = f"{sorted(NEVER[APPLY])[0]}:crash"
    assert place.run(*APPLY, fault=never).code == ExitCode.OK
    beyond = "update-sent#4:crash"
    assert place.run(*REVERT, fault=beyond).code == ExitCode.OK
    assert place.state() == ends[REVERT]


@pytest.mark.parametrize(("command", "where"), [pytest.param(c, w, id=f"{c[1]}-{w}") for c, w in interleaved()])
def test_killed_here_the_same_command_ends_as_an_unbroken_one(
    place: Place,
    ends: dict[tuple[str, ...], str],
    lines: Callable[[tuple[str, ...]], None],
    command: tuple[str, ...],
    where: str,
) -> None:
    lines(command)
    revisions, serial = len(place.revisions()), len(place.records())

    killed = place.run(*command, fault=f"{where}:crash")
    assert killed.code == -signal.SIGKILL, killed
    assert killed.out == ""
    again = place.run(*command)

    assert again.code == ExitCode.OK, again
    assert "took over the lock of" in again.err
    assert place.state() == ends[command]
    assert len(place.revisions()) == revisions + 1
    assert place.step("1.7") == ("validated" if command == APPLY else "reverted")
    kinds = Counter(record.kind for record in place.records()[serial:])
    assert kinds["intended"] == (1 if command == APPLY else 0)
    assert kinds["promoted"] == kinds["validated"] == kinds["intended"]
    assert kinds["reverting"] == kinds["reverted"] == (0 if command == APPLY else 1)
    assert place.look("history", "verify")["records"] == len(place.records())


@pytest.mark.parametrize("where", ["update-sent#1", "update-sent#2", "update-sending#1"])
def test_an_answer_that_is_lost_is_looked_up_and_nothing_is_made_twice(
    place: Place, ends: dict[tuple[str, ...], str], lines: Callable[[tuple[str, ...]], None], where: str
) -> None:
    lines(APPLY)
    revisions, writes = len(place.revisions()), sum(place.writes().values())
    done = place.run(*APPLY, fault=f"{where}:lost-answer")
    assert done.code == ExitCode.OK, done
    assert place.state() == ends[APPLY]
    assert len(place.revisions()) == revisions + 1
    assert sum(place.writes().values()) == writes + 2
    place.text(*REVERT)


@pytest.mark.parametrize("where", ["intent-recorded", "change-made", "traffic-moved"])
def test_a_run_that_breaks_says_where_and_the_same_command_goes_on(
    place: Place, ends: dict[tuple[str, ...], str], lines: Callable[[tuple[str, ...]], None], where: str
) -> None:
    lines(APPLY)
    revisions = len(place.revisions())
    place.run(*APPLY, fault=f"{where}:exception").assert_told(ExitCode.FAILED, f"the run broke at {where}")
    newest = place.look("history")[0]
    assert newest["end"]["error"] == f"the run broke at {where}"
    again = place.run(*APPLY)
    assert again.code == ExitCode.OK, again
    assert "took over the lock" not in again.err
    assert place.state() == ends[APPLY]
    assert len(place.revisions()) == revisions + 1
    place.text(*REVERT)


@pytest.mark.parametrize("spec", ["nowhere:crash", "update-sent:explode", "update-sent", "update-sent#x:crash"])
def test_a_fault_that_does_not_exist_is_refused(place: Place, spec: str) -> None:
    writes = place.writes()
    place.run(*APPLY, fault=spec).assert_told(ExitCode.USAGE, "XGW_FAULT=", "POINT[#N]:KIND", "update-sent")
    assert place.writes() == writes


def test_faults_are_refused_outside_the_local_target(place: Place) -> None:
    endpoint = {"XGW_ENDPOINT": place.endpoint().grpc}
    done = place.run(*APPLY, "--project", "xgw-local", "--yes", fault="run-recorded:crash", env=endpoint)
    done.assert_told(ExitCode.USAGE, "XGW_FAULT is for the local target only", "--project xgw-local")
