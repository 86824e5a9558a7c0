"""Another file where the store of an import was: what its journal calls settled is not there, so nobody goes on from it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.helpers.import_stage import Desk
from xgw.errors import ExitCode

SIX = "name,email\n" + "".join(f"{name},{name}@x.com\n" for name in "abcdef")
BY_TWO = ("--batch-size", "2")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, f"sqlite://{tmp_path}/contacts.db")


def moved_away(desk: Desk) -> Path:
    """The folder with the store's files."""
    away = desk.root / "away"
    away.mkdir()
    for path in desk.root.glob("contacts.db*"):
        path.rename(away / path.name)
    return away


@pytest.mark.parametrize("fault", ["batch-settled#2:crash", ""], ids=["unfinished", "finished"])
def test_an_import_whose_store_was_moved_away_is_not_resumed_and_a_new_one_has_every_row(
    desk: Desk, fault: str
) -> None:
    name = desk.file(SIX)
    assert desk.run("import", name, *BY_TWO, fault=fault).code == (-signal.SIGKILL if fault else 0)
    moved_away(desk)
    refused = desk.here("import", name, *BY_TWO, "--resume")
    refused.assert_told(ExitCode.CONFLICT, "another store", "--restart")
    assert desk.stored() == {}
    assert desk.brought(name, *BY_TWO, "--restart")["created"] == 6


def test_an_import_goes_on_when_its_store_is_put_back_though_it_was_copied(desk: Desk) -> None:
    name = desk.file(SIX)
    desk.run("import", name, *BY_TWO, fault="batch-settled#2:crash")
    away = moved_away(desk)
    assert desk.here("import", name, *BY_TWO, "--resume").code == ExitCode.CONFLICT
    for path in desk.root.glob("contacts.db*"):
        path.unlink()
    for path in away.iterdir():
        (desk.root / path.name).write_bytes(path.read_bytes())
    assert desk.brought(name, *BY_TWO, "--resume")["created"] == 6
    assert len(desk.stored()) == 6


def test_an_undo_takes_nothing_back_from_another_store(desk: Desk) -> None:
    desk.brought(desk.file(SIX))
    run = desk.data("imports")[0]["run"]
    away = moved_away(desk)
    desk.here("undo", run).assert_told(ExitCode.CONFLICT, "another store", "put that file back")
    for path in away.iterdir():
        path.rename(desk.root / path.name)
    assert desk.data("undo", run)["removed"] == 6
    assert desk.stored() == {}
