"""`xgw rollback SERVICE`: back to what served before, by the record; pinned; undone; released; and killed in between."""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Callable

import pytest

from tests.helpers.builds import release, users
from tests.helpers.place import Place
from xgw import faults
from xgw.errors import ExitCode

pytestmark = pytest.mark.e2e

APPLY = ("phase1", "apply", "--only", "1.7")
BACK = ("rollback", "gateway")
RELEASE = ("rollback", "gateway", "--release")

PASSES = {"run-recorded": 1, "update-sending": 2, "update-sent": 2, "traffic-moved": 1, "put-back": 1}
"""What an unbroken `xgw rollback gateway` passes; none of the other points can kill it."""

PLACES = [f"{point}#{n}" for point in faults.POINTS for n in range(1, PASSES.get(point, 0) + 1)]


@pytest.fixture(scope="module")
def start(place: Place) -> tuple[str, str]:
    """The target as it is before anything: its state, and the gateway's first revision."""
    return place.state(), place.serving()


@pytest.fixture
def applied(place: Place, start: tuple[str, str]) -> tuple[str, str]:
    """(the revision that served before, the one that serves): step 1.7 applied and validated, nothing pinned."""
    state, first = start
    if place.step("1.7") == "validated":
        place.text("phase1", "rollback")
    if place.state() != state:  # pinned, or with values that came by an undo
        place.text(*BACK, "--to", first)
        place.text(*RELEASE)
    assert place.state() == state
    before = place.serving()
    place.text(*APPLY)
    assert place.serving() != before
    return before, place.serving()


@pytest.fixture
def before_and_after(place: Place) -> Callable[[], tuple[object, ...]]:
    return lambda: (place.state(), place.writes(), place.revisions(), place.serving())


def test_rollback_moves_the_traffic_and_no_request_fails(place: Place, applied: tuple[str, str]) -> None:
    older, newer = applied
    with users(place) as seen:
        done = place.json(*BACK)
    assert (done["from"], done["to"], done["undoes"]) == (newer, older, ["1.7"])
    assert 0 < done["traffic_seconds"] <= done["seconds"]
    assert seen.failed == {}
    assert place.serving() == older
    assert place.look("status")["pinned"] == {"gateway": older}
    assert place.step("1.7") == "reverted"


def test_the_undo_that_rollback_prints_undoes_it(place: Place, applied: tuple[str, str]) -> None:
    older, newer = applied
    done = place.ok(*BACK)
    assert place.serving() == older
    undo = re.search(r"Undo: xgw (rollback gateway --to \S+)", done.err)
    assert undo, done.err
    place.ok(*undo[1].split())
    assert place.serving() == newer


def test_a_pinned_service_is_not_deployed_to_until_it_is_released(
    place: Place, applied: tuple[str, str], before_and_after: Callable[[], tuple[object, ...]]
) -> None:
    place.ok(*BACK)
    there = before_and_after()
    place.run(*APPLY).assert_told(ExitCode.CONFLICT, "pinned", "xgw rollback --release gateway")
    assert before_and_after() == there
    fix = place.run(*APPLY).err.partition("fix:")[2].split()
    released = place.run(*fix[1:], "-o", "json")
    assert released.code == ExitCode.OK, released
    assert released.data["done"] is True
    assert place.look("status")["pinned"] == {}
    assert place.run(*APPLY).code == ExitCode.OK
    assert place.step("1.7") == "validated"
    assert place.ok(*RELEASE).err.count("is not pinned; nothing to do") == 1


def test_rollback_never_goes_to_a_revision_that_only_was_a_candidate(place: Place, applied: tuple[str, str]) -> None:
    older, newer = applied
    assert release(place, "fault-memory-under-load").exit_code is ExitCode.MISSED
    candidate = place.records(kind="intended")[-1].body["deltas"][0]["revision"]
    assert candidate in place.revisions()
    after = place.serving()
    assert (after, place.json(*BACK)["to"]) != (newer, older)
    assert place.serving() == newer
    place.text(*RELEASE)
    assert candidate not in {place.json(*BACK, "--dry-run")["to"], place.serving()}


def test_a_run_is_put_back_by_its_number(place: Place, applied: tuple[str, str]) -> None:
    run = place.look("history")[0]["run"]
    assert place.look("rollback", "--run", str(run), "--dry-run") == {"run": run, "steps": ["1.7"], "done": False}
    assert place.step("1.7") == "validated"
    done = place.json("rollback", "--run", str(run))
    assert [(step["step"], step["reason"]) for step in done["steps"]] == [("1.7", "put back")]
    assert place.step("1.7") == "reverted"
    assert "full" in place.state()
    assert place.look("status")["pinned"] == {}
    place.run("rollback", "--run", "9999").assert_told(ExitCode.USAGE, "run 9999 changed nothing here", "xgw history")
    place.json("phase1", "apply", "--only", "1.7")
    assert place.json("rollback", "--run", str(run))["steps"] == []  # what another run did since is not undone with it
    assert place.step("1.7") == "validated"


@pytest.mark.parametrize("words", [BACK, (*BACK, "--to", "older"), RELEASE], ids=["previous", "named", "release"])
def test_a_dry_run_of_a_rollback_changes_nothing(
    place: Place, applied: tuple[str, str], before_and_after: Callable[[], tuple[object, ...]], words: tuple[str, ...]
) -> None:
    if words == RELEASE:
        place.text(*BACK)
    there, records = before_and_after(), len(place.records())
    data = place.json(*[applied[0] if word == "older" else word for word in words], "--dry-run")
    assert data["done"] is False
    assert (before_and_after(), len(place.records())) == (there, records)


def test_the_points_a_rollback_passes_are_exactly_these(place: Place, applied: tuple[str, str]) -> None:
    seen: list[str] = []
    faults.watch(seen.append)
    try:
        place.text(*BACK)
    finally:
        faults.watch(None)
    assert dict(Counter(seen)) == PASSES
    assert place.serving() == applied[0]


@pytest.mark.parametrize("where", PLACES)
def test_killed_here_a_rollback_is_finished_in_the_same_direction(
    place: Place, applied: tuple[str, str], where: str
) -> None:
    older, newer = applied
    revisions = len(place.revisions())
    assert place.run(*BACK, fault=f"{where}:crash").code == -signal.SIGKILL
    done = place.run(*BACK, "-o", "json")
    assert done.code == ExitCode.OK, done
    assert (done.data["from"], done.data["to"]) == (newer, older)
    assert place.serving() == older
    assert place.look("status")["pinned"] == {"gateway": older}
    assert place.step("1.7") == "reverted"
    assert len(place.revisions()) == revisions + 1
    assert '"env.ERROR_DETAIL": "full"' in place.state()
    assert place.look("history", "verify")["records"] == len(place.records())


@pytest.mark.parametrize("where", ["update-sending", "update-sent"])
def test_killed_here_a_release_is_finished_by_the_same_command(
    place: Place, start: tuple[str, str], applied: tuple[str, str], where: str
) -> None:
    place.text(*BACK)
    assert place.run(*RELEASE, fault=f"{where}:crash").code == -signal.SIGKILL
    place.ok(*RELEASE)
    assert place.look("status")["pinned"] == {}
    assert place.state() == start[0]
    assert place.look("revisions", "gateway")[0]["traffic"] == "100%"


def test_a_release_gives_no_traffic_to_the_candidate_of_an_unfinished_step(
    place: Place, start: tuple[str, str]
) -> None:
    if place.step("1.7") == "validated":
        place.text("phase1", "rollback")
    serving = place.serving()
    assert place.run(*APPLY, fault="applied-recorded:crash").code == -signal.SIGKILL
    place.run("phase1", "apply", "--only", "1.8").assert_told(ExitCode.CONFLICT, "step 1.8", "pinned")
    told = place.run(*RELEASE)
    told.assert_told(
        ExitCode.CONFLICT, "is not proven", "left step 1.7 applied", "xgw phase1 apply", "xgw rollback --run"
    )
    assert place.serving() == serving
    place.ok(*APPLY)
    assert place.step("1.7") == "validated"


def test_a_revision_that_does_not_exist_is_refused(
    place: Place, applied: tuple[str, str], before_and_after: Callable[[], tuple[object, ...]]
) -> None:
    there = before_and_after()
    done = place.run(*BACK, "--to", "no-such-revision")
    done.assert_told(ExitCode.USAGE, "no revision 'no-such-revision'", applied[1], "xgw revisions gateway")
    assert before_and_after() == there


def test_rolling_back_to_what_serves_already_does_nothing(
    place: Place, applied: tuple[str, str], before_and_after: Callable[[], tuple[object, ...]]
) -> None:
    there = before_and_after()
    assert "serves already; nothing to do" in place.ok(*BACK, "--to", applied[1]).err
    assert before_and_after() == there


@pytest.mark.parametrize(
    "words", [(), ("gateway", "--run", "1"), ("gateway", "--to", "x", "--release"), ("--run", "1", "--to", "x")]
)
def test_a_rollback_that_says_too_little_or_too_much_is_refused(place: Place, words: tuple[str, ...]) -> None:
    place.run("rollback", *words).assert_told(ExitCode.USAGE, "say what to roll back")
