"""Ctrl-C while the last rows go in, and after: there is nothing left to stop, so the import ends as it would have."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.import_stage import Desk
from xgw import faults
from xgw.errors import ExitCode

GOOD = "name,email\nAnn,a@x.com\nBob,b@x.com\n"
BAD = GOOD + "Cy,bad\n"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, f"sqlite://{tmp_path}/contacts.db")


@pytest.fixture
def interrupted_at() -> Iterator[Callable[..., None]]:
    """Ctrl-C, once or several times, when each of these points is passed first."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell had it ignored

    def at(*points: str, times: int = 1) -> None:
        waiting = set(points)

        def interrupt(point: str) -> None:
            if point in waiting:
                waiting.remove(point)
                for _ in range(times):
                    signal.raise_signal(signal.SIGINT)

        faults.watch(interrupt)

    yield at
    faults.watch(None)
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("point", ["batch-sent", "batch-settled", "import-ended", "rejects-written"])
@pytest.mark.parametrize(("text", "code"), [(GOOD, ExitCode.OK), (BAD, ExitCode.REJECTS)])
def test_interrupted_when_no_row_is_left_it_ends_with_its_summary_and_its_own_code(
    desk: Desk, interrupted_at: Callable[..., None], point: str, text: str, code: ExitCode
) -> None:
    interrupted_at(point)
    done = desk.here("import", desk.file(text))
    assert done.code == code, done
    assert "created 2" in done.out
    assert desk.data("imports")[0]["shards"][0]["state"] == "done"


def test_interrupted_while_the_last_batch_waits_for_room_it_is_not_left_out(
    desk: Desk, interrupted_at: Callable[..., None]
) -> None:
    interrupted_at("batch-settled")  # two are on their way, and the third is read
    done = desk.here("import", desk.file(BAD), "--batch-size", "1")
    assert done.code == ExitCode.REJECTS, done
    assert "read 3" in done.out


def test_interrupted_before_and_after_the_end_it_still_ends_as_it_would_have(
    desk: Desk, interrupted_at: Callable[..., None]
) -> None:
    interrupted_at("batch-settled", "rejects-written")
    done = desk.here("import", desk.file(BAD))
    assert done.code == ExitCode.REJECTS, done
    assert "rejected 1" in done.out


def test_a_second_interrupt_after_the_end_leaves_at_once_and_the_report_can_be_had_again(
    desk: Desk, interrupted_at: Callable[..., None]
) -> None:
    interrupted_at("rejects-written", times=2)
    done = desk.here("import", desk.file(BAD))
    assert done.code == ExitCode.INTERRUPTED, done
    interrupted_at()
    again = desk.here("import", "leads.csv", "--resume")
    assert again.code == ExitCode.REJECTS
    assert "rejected 1" in again.out


def test_an_undo_interrupted_in_its_last_batch_ends_as_it_would_have(
    desk: Desk, interrupted_at: Callable[..., None]
) -> None:
    desk.brought(desk.file(GOOD))
    interrupted_at("undo-settled")
    done = desk.here("undo", desk.data("imports")[0]["run"])
    assert done.code == ExitCode.OK, done
    assert "removed 2" in done.out
