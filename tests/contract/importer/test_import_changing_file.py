"""A file that somebody writes to while it is imported: it is not called done, and cannot be gone on with."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.import_stage import Desk
from xgw import faults
from xgw.errors import ExitCode

OLD = "name,email\n" + "".join(f"Old{n},p{n}@x.com\n" for n in range(20_000))
NEW = OLD.replace("Old", "New")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, f"sqlite://{tmp_path}/contacts.db")


@pytest.fixture
def meanwhile() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Once, after a batch was sent."""

    def does(work: Callable[[], object]) -> None:
        waiting = ["batch-sent"]

        def do(point: str) -> None:
            if point in waiting:
                waiting.remove(point)
                work()

        faults.watch(do)

    yield does
    faults.watch(None)


def written_over(path: Path, text: str) -> None:
    with path.open("r+b") as file:
        file.write(text.encode())


def test_a_file_that_is_written_over_during_its_import_ends_it_with_an_error_and_is_never_done(
    desk: Desk, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    name = desk.file(OLD)
    meanwhile(lambda: written_over(desk.root / name, NEW))
    done = desk.here("import", name)
    done.assert_told(ExitCode.CONFLICT, "changed while it was read", "20,000 rows are settled", "xgw contacts undo")
    run = desk.data("imports")[0]
    assert (run["shards"][0]["state"], done.out) == ("mixed", "")
    for text in (NEW, OLD):  # also when the first bytes are back
        desk.here("import", desk.file(text), "--resume").assert_told(ExitCode.CONFLICT, "two files", "undo")
    assert {one.name[:3] for one in desk.stored().values()} == {"Old", "New"}
    assert desk.data("undo", run["run"])["removed"] == 20_000
    assert desk.brought(name)["created"] == 20_000
    assert {one.name[:3] for one in desk.stored().values()} == {"Old"}


def test_a_file_that_is_written_over_before_its_import_is_stopped_is_not_gone_on_with_either(desk: Desk) -> None:
    words, passed = (desk.file(OLD), "--batch-size", "500"), Counter[str]()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def do(point: str) -> None:
        passed[point] += 1
        if passed["batch-sent"] == 1 and point == "batch-sent":
            written_over(desk.root / "leads.csv", NEW)
        if passed["batch-settled"] == 30 and point == "batch-settled":
            signal.raise_signal(signal.SIGINT)

    faults.watch(do)
    try:
        done = desk.here("import", *words)
    finally:
        faults.watch(None)
        signal.signal(signal.SIGINT, before)
    assert {one.name[:3] for one in desk.stored().values()} == {"Old", "New"}
    desk.file(OLD)
    desk.here("import", *words, "--resume").assert_told(ExitCode.CONFLICT, "two files", "undo")
    done.assert_told(ExitCode.CONFLICT, "changed while it was read", "xgw contacts undo")
    assert desk.data("imports")[0]["shards"][0]["state"] == "mixed"


class Killed(BaseException):
    """The code after the point is not reached."""


def test_a_file_that_is_written_over_is_known_to_be_so_though_the_import_is_killed_right_after_it_saw_it(
    desk: Desk,
) -> None:
    name = desk.file(OLD + "Bad,bad\n")

    def do(point: str) -> None:
        if point == "batch-sent":
            written_over(desk.root / name, NEW)
        if point == "rejects-written":
            raise Killed

    faults.watch(do)
    try:
        with pytest.raises(Killed):
            desk.here("import", name)
    finally:
        faults.watch(None)
    assert {one.name[:3] for one in desk.stored().values()} == {"Old", "New"}
    desk.here("import", desk.file(OLD + "Bad,bad\n"), "--resume").assert_told(ExitCode.CONFLICT, "two files", "undo")


def test_a_file_that_is_replaced_or_grows_during_its_import_is_imported_as_it_was(
    desk: Desk, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    name = desk.file(OLD)

    def replaced() -> None:
        with (desk.root / name).open("a") as file:
            file.write("Late,late@x.com\n")
        desk.file(NEW, "new.csv")
        (desk.root / "new.csv").rename(desk.root / name)

    meanwhile(replaced)
    assert desk.brought(name)["created"] == 20_000
    assert {one.name[:3] for one in desk.stored().values()} == {"Old"}


def test_a_dry_run_of_a_file_that_changes_is_no_report(
    desk: Desk, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    name = desk.file(OLD)
    meanwhile(lambda: written_over(desk.root / name, NEW))
    done = desk.here("import", name, "--dry-run")
    done.assert_told(ExitCode.CONFLICT, "changed while it was read", "import a copy")
    assert (done.out, desk.data("imports")) == ("", [])
