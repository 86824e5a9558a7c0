"""An import that somebody else ends: while another one is about to go on with it, or before a job tries its task again."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.import_stage import LIMIT_S, Desk
from xgw import lock
from xgw.errors import ExitCode
from xgw.importer import runs
from xgw.importer.journal import Journal
from xgw.importer.run import Recorder
from xgw.importer.undo import take_back

SIX = "name,email\n" + "".join(f"{name},{name}@x.com\n" for name in "abcdef")
BY_TWO = ("--batch-size", "2")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, f"sqlite://{tmp_path}/contacts.db")


@contextmanager
def about_to_go_on(desk: Desk, run: str) -> Iterator[Any]:
    """A process that has found the run open, and waits for its lock as long as this lasts."""
    path = lock._path(desk.home, f"contacts import {run}").with_suffix(".guard")
    with path.open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        with desk.popen("import", "leads.csv", *BY_TWO, "--resume") as process:
            try:
                while "going on with import" not in process.stderr.readline():
                    assert process.poll() is None
                yield process
                fcntl.flock(guard, fcntl.LOCK_UN)
                process.communicate(timeout=LIMIT_S)
            except BaseException:
                process.kill()
                raise


def undone(desk: Desk, journal: Journal) -> None:
    with closing(Recorder(journal)) as record:
        desk.ask(lambda store: take_back(journal, store, record, who="somebody"))


def begun_anew(_: Desk, journal: Journal) -> None:
    journal.end("left", "begun anew")


@pytest.mark.parametrize(("others", "state"), [(undone, "undone"), (begun_anew, "left")])
def test_who_was_about_to_go_on_with_an_import_that_others_have_ended_writes_nothing(
    desk: Desk, others: Callable[[Desk, Journal], None], state: str
) -> None:
    desk.file(SIX)
    assert desk.run("import", "leads.csv", *BY_TWO, fault="batch-settled#2:crash").code < 0
    run = desk.data("imports")[0]["run"]
    with about_to_go_on(desk, run) as process:
        with closing(runs.of_name(desk.home, run)[0]) as journal:
            others(desk, journal)
        there = desk.stored()
    assert process.returncode == ExitCode.CONFLICT
    assert desk.stored() == there
    assert desk.data("imports")[0]["shards"][0]["state"] == state


def test_a_task_that_is_tried_again_after_the_undo_of_its_import_does_not_count_as_done(desk: Desk) -> None:
    job = {"CLOUD_RUN_TASK_COUNT": "2", "CLOUD_RUN_TASK_INDEX": "0", "CLOUD_RUN_EXECUTION": "import-x7k2p"}
    desk.brought(desk.file(SIX), *BY_TWO, env=job)
    desk.data("undo", desk.data("imports")[0]["run"])
    again = desk.here("import", "leads.csv", *BY_TWO, env={**job, "CLOUD_RUN_TASK_ATTEMPT": "1"})
    again.assert_told(ExitCode.CONFLICT, "was taken back", "new execution")
    assert desk.stored() == {}
