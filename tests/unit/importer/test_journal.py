from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from gateway_runtime.contacts.model import Contact
from xgw.errors import Conflict, LedgerFault, NotFound
from xgw.importer import books, entries, journal, runs
from xgw.importer.books import BooksDiffer
from xgw.importer.entries import Counts, Fate, Refused, Run, Slice
from xgw.importer.journal import Journal
from xgw.importer.sheet import Position

RUN = Run(
    "abc", "abc", 0, 1, "2026-11-22T10:00:00.000+00:00", 5, "me@here", "/f/leads.csv", 100, "f" * 64, "acme", "sqlite:///x",
    500, {"on_duplicate": "skip"}, {},
)  # fmt: skip
ANN = Contact(
    "id1", "person", "Ann", "a@x.com", "lead", "active", "web", 1, 2, 3, 4, 5, "me", {"k": "v", "n": 1.5}, "m", "v1"
)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Journal]:
    with closing(journal.create(tmp_path / "imports" / "abc.db", RUN)) as made:
        yield made


def part(n: int, rows: int = 10) -> Slice:
    return Slice(
        n, n + 1, rows, {"byte": 20 + n, "row": n, "line": n + 2}, {"byte": 20 + n + rows, "row": n + rows, "line": 9}
    )


def settled(kept: Journal, n: int, *, made: int = 10, refused: int = 0, **counts: int) -> None:
    rows = list(range(n + 1, n + 11))
    kept.intend(part(n), [(row, f"id{row}") for row in rows[: 10 - refused]])
    lost = [
        Refused(row, "REQUIRED", {"line": row, "byte": 0, "column": "", "reason": "r", "example": ""}, b"x")
        for row in rows[10 - refused :]
    ]
    kept.settle(n, Fate(Counts(10, made, rejected=refused, **counts), rows[:made], lost))


def test_what_was_written_is_there_when_it_is_opened_again(kept: Journal) -> None:
    settled(kept, 0)
    kept.close()
    with closing(journal.opened(kept.path)) as again:
        assert again.run == RUN
        assert again.counts() == Counts(10, created=10)
        assert again.settled() == {0}
        assert again.state.state == "open"


def test_a_journal_is_its_owners_alone(kept: Journal) -> None:
    assert kept.path.stat().st_mode & 0o077 == 0
    assert kept.path.parent.stat().st_mode & 0o077 == 0


def test_two_starts_never_share_a_journal(kept: Journal) -> None:
    with pytest.raises(LedgerFault):
        journal.create(kept.path, RUN)


def test_an_intention_says_nothing_about_what_became_of_it(kept: Journal) -> None:
    kept.intend(part(0), [(1, "id1")])
    assert kept.counts() == Counts()
    assert kept.settled() == set()
    assert kept.tallies()["unsettled"] == 1
    assert kept.to_undo(0).made == {1: "id1"}


def test_a_picture_is_the_contact_to_the_last_field(kept: Journal) -> None:
    kept.keep(0, [(7, ANN)])
    assert kept.pictures(0) == {7: ANN}
    kept.forget([7])
    assert kept.pictures(0) == {}


def test_an_undo_knows_what_was_created_and_what_was_changed(kept: Journal) -> None:
    kept.intend(part(0), [(1, "id1"), (2, "id2"), (3, "id3")])
    kept.keep(0, [(2, ANN)])
    kept.settle(0, Fate(Counts(10, created=1, updated=1, duplicate=8), [3]))
    sent = kept.to_undo(0)
    assert sent.made == {3: "id3"}
    assert sent.pictures == {2: ANN}
    assert kept.created([1, 2, 3, 4]) == {3}


def test_books_that_hold_are_told(kept: Journal) -> None:
    settled(kept, 0)
    settled(kept, 10, made=6, refused=1, unchanged=1, duplicate=2)
    assert books.check(kept, end=Position(40, 20, 22)) == Counts(20, 16, 0, 1, 2, 1)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("UPDATE batch SET created = 9 WHERE n = 0", "20 rows read, 19 have a fate"),
        ("UPDATE batch SET created = 9, unchanged = 1 WHERE n = 0", "15 created by the batches, 16 one by one"),
        ("DELETE FROM reject", "1 rejected by the batches, 0 one by one"),
        ("INSERT INTO picture VALUES (3, 0, 'id', '{}')", "0 updated by the batches, 1 one by one"),
        ("DELETE FROM batch WHERE n = 0", "rows 1 to 10 are missing"),
        ("UPDATE batch SET settled = 0 WHERE n = 10", "1 batch without an end"),
        ("UPDATE batch SET rows = 11, unchanged = 1 WHERE n = 0", "batch 0 counts 11 rows"),
        ('UPDATE batch SET start = \'{"byte": 31, "row": 10, "line": 3}\' WHERE n = 10', "rows 11 to 10 are missing"),
    ],
)
def test_books_that_do_not_hold_are_told_and_how(kept: Journal, spoil: str, words: str) -> None:
    settled(kept, 0)
    settled(kept, 10, made=6, refused=1, unchanged=1, duplicate=2)
    with closing(sqlite3.connect(kept.path, isolation_level=None)) as other:
        other.execute(spoil)
    with pytest.raises(BooksDiffer) as found:
        books.check(kept, end=Position(40, 20, 22))
    assert words in found.value.cause


@pytest.mark.parametrize("end", ["open", "left", "mixed", "undone"])
def test_batches_may_be_missing_in_an_import_that_never_came_to_its_end_whatever_became_of_it(
    kept: Journal, end: str
) -> None:
    settled(kept, 10)  # the one before it was still on its way
    if end == "undone":
        kept.undoing("me")
        kept.undo_ended()
    else:
        kept.end(end)
    merged = books.merged([kept])
    assert (merged["gaps"], merged["balanced"], merged["whole"]) == ([], True, False)


def test_batches_that_are_missing_in_an_import_that_is_done_are_told_after_its_undo_too(kept: Journal) -> None:
    settled(kept, 10)
    kept.end("done", books={"seconds": 1})
    for _ in range(2):
        assert books.merged([kept])["gaps"] == ["rows 1 to 10 are missing"]
        kept.undoing("me")
        kept.undo_ended()


def test_an_end_that_was_not_reached_is_told(kept: Journal) -> None:
    settled(kept, 0)
    with pytest.raises(BooksDiffer, match="do not balance") as found:
        books.check(kept, end=Position(40, 20, 22))
    assert "reading ended at row 20" in found.value.cause


@pytest.mark.parametrize(
    ("wished", "words"),
    [
        (replace(RUN, sha256="0" * 64), "the file changed"),
        (replace(RUN, size=99), "the file changed"),
        (replace(RUN, options={"on_duplicate": "update"}), "other options: on_duplicate"),
        (replace(RUN, batch_size=1), "other options: batch_size"),
        (replace(RUN, tenant="other"), "other options: tenant"),
        (replace(RUN, store="sqlite:///y"), "other options: store"),
    ],
)
def test_a_run_goes_on_only_as_it_began(wished: Run, words: str) -> None:
    with pytest.raises(Conflict) as found:
        entries.resumable(RUN, wished)
    assert words in found.value.message


def test_a_file_of_another_form_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE a (b)")
    with pytest.raises(LedgerFault, match="no journal of this version"):
        journal.opened(path)
    (tmp_path / "y.db").write_text("not a database, not at all, by no means whatever, and long enough to be told")
    with pytest.raises(LedgerFault) as found:
        journal.opened(tmp_path / "y.db")
    assert found.value.cause == "SQLITE_NOTADB"
    assert [it.path for it in psutil.Process().open_files() if Path(it.path).parent == tmp_path] == []


def test_runs_are_found_by_their_file_tenant_and_store(tmp_path: Path) -> None:
    wished = replace(RUN, id="", family="")
    runs.begin(tmp_path, wished, {}).close()
    found = runs.same_again(tmp_path, replace(wished, file="elsewhere"), state="open")
    assert found
    found.close()
    for other in (replace(wished, tenant="x"), replace(wished, store="x"), replace(wished, sha256="0", file="x")):
        assert runs.same_again(tmp_path, other, state="open") is None
    changed = runs.same_again(tmp_path, replace(wished, sha256="0"), state="open")
    assert changed, "the same name with other bytes: for --resume to refuse"
    changed.close()
    with pytest.raises(NotFound):
        runs.of_name(tmp_path, "nothing")


def test_parts_without_a_job_find_each_other_and_a_second_round_begins_anew(tmp_path: Path) -> None:
    families = []
    for _ in range(2):
        for shard in range(3):
            with closing(runs.begin(tmp_path, replace(RUN, shard=shard, shards=3), {})) as one:
                families.append(one.run.family)
                one.end("done")
    assert families[:3] == [families[0]] * 3
    assert families[3:] == [families[3]] * 3
    assert families[0] != families[3]


def test_tasks_of_one_execution_agree_on_a_name_and_those_of_another_do_not() -> None:
    tasks = {
        runs.derived(replace(RUN, shard=shard, shards=3, made=shard, who=str(shard)), "run-1") for shard in range(3)
    }
    assert len(tasks) == 1
    assert runs.derived(replace(RUN, shards=3), "run-2") not in tasks
    assert runs.derived(replace(RUN, shards=3, options={"on_duplicate": "fill"}), "run-1") not in tasks
