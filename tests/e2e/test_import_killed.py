"""`kill -9` of an import of 10 001 rows, then --resume: rows, books and rejects are those of an unbroken run.

A selection of places here, over all points; `make soak` takes every one of them, on both stores.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway_runtime.contacts.model import Contact
from tests.helpers import import_kills as kills
from tests.helpers.import_stage import Desk, copied
from xgw import faults
from xgw.errors import ExitCode

pytestmark = pytest.mark.e2e

BATCHES = 21
PASSES = {
    "import-begun": 1,
    "batch-intended": BATCHES,
    "batch-sent": BATCHES,
    "pictures-kept": BATCHES - 1,
    "updates-sent": BATCHES - 1,
    "batch-settled": BATCHES,
    "import-ended": 1,
    "rejects-written": 1,
    "undo-recorded": 1,
    "undo-sent": BATCHES,
    "undo-settled": BATCHES,
}
"""How often an unbroken import and its undo pass each point."""
PLACES = (
    "import-begun#1", "batch-intended#1", "batch-sent#1", "batch-sent#11", "pictures-kept#2", "updates-sent#1",
    "updates-sent#20", "batch-settled#4", "import-ended#1", "rejects-written#1",
)  # fmt: skip
UNDO_PLACES = ("undo-recorded#1", "undo-sent#3", "undo-settled#21")


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Desk, Path, Mapping[str, Contact], kills.End]:
    """A store as it was before, kept to be copied; and how an unbroken run ends."""
    root = tmp_path_factory.mktemp("seeded")
    desk = Desk(root, f"sqlite://{root}/contacts.db")
    before = kills.prepared(desk)
    copied(root / "contacts.db", root / "kept.db")
    end = kills.unbroken(desk)
    assert desk.stored() == before
    return desk, root / "kept.db", before, end


@pytest.fixture
def desk(seeded: tuple[Desk, Path, Mapping[str, Contact], kills.End], tmp_path: Path) -> Desk:
    first, kept, _, _ = seeded
    copied(kept, tmp_path / "contacts.db")
    made = Desk(tmp_path, f"sqlite://{tmp_path}/contacts.db")
    made.file((first.root / "leads.csv").read_bytes())
    return made


def test_the_points_named_here_are_all_there_are(seeded: tuple[Desk, Path, Mapping[str, Contact], kills.End]) -> None:
    end = seeded[3]
    assert dict(end.passed) == PASSES
    assert set(PASSES) == set(faults.IMPORT_POINTS)
    assert len(kills.places(end)) >= 40
    assert set(PLACES) <= set(kills.places(end))
    assert set(UNDO_PLACES) <= set(kills.undo_places(end))
    assert end.books["updated"] > 100
    assert end.books["duplicate"] > 100
    assert end.books["rejected"] > 100


@pytest.mark.parametrize("place", PLACES)
def test_killed_here_a_resumed_import_ends_as_an_unbroken_one(
    desk: Desk, seeded: tuple[Desk, Path, Mapping[str, Contact], kills.End], place: str
) -> None:
    kills.killed_and_resumed(desk, place, seeded[3])


@pytest.mark.parametrize("place", UNDO_PLACES)
def test_killed_here_an_undo_that_is_repeated_restores_everything(
    desk: Desk, seeded: tuple[Desk, Path, Mapping[str, Contact], kills.End], place: str
) -> None:
    kills.killed_while_undone(desk, place, seeded[3], seeded[2])


def test_killed_again_and_again_it_still_ends_as_an_unbroken_one(
    desk: Desk, seeded: tuple[Desk, Path, Mapping[str, Contact], kills.End]
) -> None:
    resume: tuple[str, ...] = ()
    for fault in ("batch-sent#2", "updates-sent#3", "batch-intended#6"):
        killed = desk.run("import", "leads.csv", *kills.WORDS, *resume, "-q", fault=f"{fault}:crash")
        assert killed.code == kills.KILLED
        resume = ("--resume",)
    assert desk.brought("leads.csv", *kills.WORDS, "--resume", code=7) == seeded[3].books
    assert kills.told(desk.stored()) == seeded[3].stored


def test_undo_of_an_import_that_was_killed_takes_back_what_nobody_recorded(
    desk: Desk, seeded: tuple[Desk, Path, Mapping[str, Contact], kills.End]
) -> None:
    for fault in ("batch-sent#5", "updates-sent#2"):
        assert (
            desk.run("import", "leads.csv", *kills.WORDS, "-q", "--restart", fault=f"{fault}:crash").code
            == kills.KILLED
        )
        desk.data("undo", kills.newest(desk))
        assert desk.stored() == seeded[2]


def test_an_unfinished_import_is_said_and_not_begun_twice(
    desk: Desk, seeded: tuple[Desk, Path, Mapping[str, Contact], kills.End]
) -> None:
    assert desk.run("import", "leads.csv", *kills.WORDS, "-q", fault="batch-sent#3:crash").code == kills.KILLED
    desk.here("import", "leads.csv", *kills.WORDS).assert_told(
        ExitCode.CONFLICT, "is not finished", "--resume", "--restart"
    )
    other = desk.here("import", "leads.csv", "--unmapped", "custom", "--batch-size", "500", "--resume")
    other.assert_told(ExitCode.CONFLICT, "other options", "on_duplicate")
    whole = (desk.root / "leads.csv").read_bytes()
    desk.file(whole.replace(b"Person 9000", b"Person 9OOO"))
    changed = desk.here("import", "leads.csv", *kills.WORDS, "--resume")
    changed.assert_told(ExitCode.CONFLICT, "the file changed")
    desk.file(whole)
    assert desk.brought("leads.csv", *kills.WORDS, "--resume", code=7) == seeded[3].books
