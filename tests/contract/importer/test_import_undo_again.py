"""An undo that broke off, that came in another order, or that is repeated: on SQLite, whose file stands for any store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.import_stage import Desk
from xgw.errors import ExitCode

HEAD = "name,email\n"
SIX = HEAD + "".join(f"{name},{name}@x.com\n" for name in "abcdef")
UPDATE = ("--on-duplicate", "update")
BY_TWO = ("--batch-size", "2")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, f"sqlite://{tmp_path}/contacts.db")


def run_of(desk: Desk) -> str:
    return str(desk.data("imports")[0]["run"])


@pytest.mark.parametrize("fault", ["batch-settled#2:crash", ""], ids=["of an unfinished import", "of a finished one"])
def test_an_import_that_is_half_undone_is_not_resumed_and_its_undo_goes_on(desk: Desk, fault: str) -> None:
    name = desk.file(SIX)
    desk.run("import", name, *BY_TWO, fault=fault)
    run, there = run_of(desk), len(desk.stored())
    assert desk.run("undo", run, fault="undo-settled#1:crash").code < 0
    assert desk.data("imports")[0]["shards"][0]["state"] == "undoing"
    assert "half undone" in desk.here("imports").out
    refused = desk.here("import", name, *BY_TWO, "--resume")
    refused.assert_told(ExitCode.CONFLICT, "half undone", f"xgw contacts undo {run}")
    undone = desk.data("undo", run)
    assert (undone["removed"], undone["left_alone"]) == (there, 0)
    assert desk.stored() == {}
    assert desk.brought(name, *BY_TWO)["created"] == 6


def test_an_import_that_is_half_undone_can_be_left_for_a_new_one(desk: Desk) -> None:
    name = desk.file(SIX)
    desk.brought(name, *BY_TWO)
    desk.run("undo", run_of(desk), fault="undo-settled#1:crash")
    assert desk.brought(name, *BY_TWO, "--restart")["created"] == 2
    assert len(desk.stored()) == 6


@pytest.mark.parametrize("size", ["1", "500"])
def test_what_an_undo_left_alone_goes_when_the_change_after_it_was_undone(desk: Desk, size: str) -> None:
    desk.brought(desk.file(HEAD + "Old,old@x.com\n"))
    before = desk.stored()
    desk.brought(desk.file(HEAD + "Ann,a@x.com\nBob,b@x.com\nNew,old@x.com\n"), *UPDATE, "--batch-size", size)
    first = run_of(desk)
    desk.brought(desk.file(HEAD + "Ann2,a@x.com\nNewer,old@x.com\n"), *UPDATE)
    second = run_of(desk)
    undone = desk.data("undo", first)
    assert (undone["removed"], undone["restored"], undone["left_alone"]) == (1, 0, 2)
    assert desk.data("undo", first) == undone, "nothing has changed meanwhile"
    assert desk.data("undo", second)["restored"] == 2
    killed = desk.run("undo", first, fault="undo-sent#1:crash")
    assert killed.code < 0
    undone = desk.data("undo", first)
    assert (undone["removed"], undone["restored"], undone["left_alone"]) == (2, 1, 0)
    assert desk.stored() == before
    assert desk.data("undo", first) == undone
