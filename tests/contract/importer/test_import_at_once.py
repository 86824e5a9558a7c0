"""Two imports that change the same contacts at the same time: who comes second changes nothing, and both books balance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.helpers.import_stage import Desk
from xgw import faults

OLD = "name,email\nAda,a@x.com\nBob,b@x.com\n"
NEW = "name,email\nAda2,a@x.com\nBob2,b@x.com\n"
UPDATE = ("--on-duplicate", "update")


@pytest.fixture
def faster(desk: Desk) -> Iterator[Desk]:
    """Somebody else, with a home of their own, who brings NEW in while the pictures of ours are just kept."""
    other = replace(desk, root=desk.root / "faster")
    other.file(NEW)
    waiting = ["pictures-kept"]

    def overtake(point: str) -> None:
        if point in waiting:
            waiting.remove(point)
            done = other.run("import", "leads.csv", *UPDATE)
            assert done.code == 0, done

    faults.watch(overtake)
    yield other
    faults.watch(None)


@pytest.mark.parametrize("size", ["1", "500"])
def test_a_change_that_somebody_else_made_first_leaves_no_picture_and_undo_leaves_it_alone(
    desk: Desk, faster: Desk, size: str
) -> None:
    desk.brought(desk.file(OLD))
    found = desk.brought(desk.file(NEW), *UPDATE, "--batch-size", size)
    assert (found["updated"], found["unchanged"]) == (0, 2)
    undone = desk.data("undo", desk.data("imports")[0]["run"])
    assert (undone["removed"], undone["restored"], undone["left_alone"]) == (0, 0, 0)
    assert {one.name for one in desk.stored().values()} == {"Ada2", "Bob2"}
    assert faster.data("undo", faster.data("imports")[0]["run"])["restored"] == 2
    assert {one.name for one in desk.stored().values()} == {"Ada", "Bob"}


@pytest.mark.parametrize("theirs", [NEW, OLD.replace("Ada", "Other")], ids=["the same", "something else"])
def test_a_change_that_was_meant_before_a_crash_and_is_not_needed_any_more_leaves_no_picture(
    desk: Desk, theirs: str
) -> None:
    desk.brought(desk.file(OLD))
    name = desk.file(NEW, "new.csv")
    assert desk.run("import", name, *UPDATE, fault="pictures-kept:crash").code < 0
    other = replace(desk, root=desk.root / "other")
    other.brought(other.file(theirs), *UPDATE)
    found = desk.brought(name, *UPDATE, "--resume")
    assert (found["updated"], found["unchanged"]) == ((0, 2) if theirs == NEW else (2, 0))
    assert {one.name for one in desk.stored().values()} == {"Ada2", "Bob2"}
