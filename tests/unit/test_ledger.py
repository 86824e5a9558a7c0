from __future__ import annotations

import errno
import multiprocessing
import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xgw.errors import LedgerFault
from xgw.ledger import MOVES, NOTES, Ledger, who

TARGET = "projects/p/locations/r"
DELTA = {"role": "gateway", "fields": [], "revision": "gw-1", "old": "gw-0", "carried": False}


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], Ledger]]:
    """The ledger, opened once more; closed with the test."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(closing(Ledger(tmp_path / "ledger.db")))


def walk(ledger: Ledger, *kinds: str, step: str = "1.1") -> int:
    attempt = 0
    for kind in kinds:
        body = {"deltas": [DELTA]} if kind == "intended" else {}
        attempt = ledger.append(kind, target=TARGET, run=1, attempt=attempt, step=step, body=body).attempt
    return attempt


def test_an_attempt_is_read_back_as_it_was_written(opened):
    ledger = opened()
    attempt = walk(ledger, "intended", "applied")
    ledger.append("evidence", target=TARGET, run=1, attempt=attempt, step="1.1", body={"probe": "memory"})
    found = opened().latest(TARGET)["1.1"]
    assert (found.state, found.deltas, found.evidence) == ("applied", (DELTA,), ({"probe": "memory"},))


@pytest.mark.parametrize(("state", "kind"), [(s, k) for s in MOVES for k in MOVES if k and k not in MOVES[s]])
def test_a_move_that_is_not_in_the_table_is_refused_and_writes_nothing(opened, state, kind):
    ledger = opened()
    attempt = walk(ledger, *road_to(state)) if state else 0
    before = ledger.check()
    with pytest.raises(LedgerFault):
        ledger.append(kind, target=TARGET, run=1, attempt=attempt, step="1.1", body={"deltas": []})
    assert ledger.check() == before


def road_to(state: str) -> list[str]:
    roads: dict[str, list[str]] = {"": []}
    while state not in roads:
        for known, road in list(roads.items()):
            for following in MOVES[known]:
                roads.setdefault(following, [*road, following])
    return roads[state]


def test_every_state_can_be_reached_and_only_reverted_is_final():
    assert all(road_to(state)[-1:] == [state] for state in MOVES if state)
    assert [state for state, following in MOVES.items() if not following] == ["reverted"]
    assert not NOTES & set(MOVES)


def test_records_cannot_be_changed_or_removed_through_the_database(opened):
    ledger = opened()
    walk(ledger, "intended")
    with closing(sqlite3.connect(ledger.path)) as db:
        for statement in ("UPDATE record SET step = '9.9'", "DELETE FROM record"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                db.execute(statement)


EDITS = {
    "a body": "UPDATE record SET body = '[]' WHERE serial = 2",
    "a time": "UPDATE record SET at = '2000-01-01' WHERE serial = 2",
    "a removed record": "DELETE FROM record WHERE serial = 2",
    "the last hash": "UPDATE record SET hash = '0' WHERE serial = 3",
    "two swapped": "UPDATE record SET serial = CASE serial WHEN 1 THEN -2 WHEN 2 THEN -1 ELSE serial END",
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_an_edit_behind_the_ledgers_back_is_found_when_it_is_opened(tmp_path, opened, edit):
    ledger = opened()
    walk(ledger, "intended", "applied", "promoting")
    ledger.close()
    db = sqlite3.connect(tmp_path / "ledger.db")
    db.executescript("DROP TRIGGER record_is_never_changed; DROP TRIGGER record_is_never_removed;")
    db.execute(edit)
    if "serial = CASE" in edit:
        db.execute("UPDATE record SET serial = -serial WHERE serial < 0")
    db.commit()
    db.close()
    with pytest.raises(LedgerFault, match="altered") as fault:
        opened()
    assert held_open(tmp_path) == [], fault


def held_open(folder: Path) -> list[str]:
    return [found.path for found in psutil.Process().open_files() if Path(found.path).is_relative_to(folder)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=8), st.data())
def test_any_prefix_of_the_ledger_holds_and_any_flip_is_found(tmp_path_factory, texts, data):
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    with closing(Ledger(path)) as ledger:
        for text in texts:
            ledger.append("run", target=TARGET, body={"command": text})
    with closing(sqlite3.connect(path)) as db:
        db.executescript("DROP TRIGGER record_is_never_changed; DROP TRIGGER record_is_never_removed;")
        keep = data.draw(st.integers(0, len(texts)))
        db.execute("DELETE FROM record WHERE serial > ?", (keep,))
        db.commit()
        with closing(Ledger(path)) as found:
            assert found.check() == keep
        if keep:
            serial = data.draw(st.integers(1, keep))
            column = data.draw(st.sampled_from(["at", "target", "run", "attempt", "step", "kind", "body", "hash"]))
            db.execute(f"UPDATE record SET {column} = {column} || '1' WHERE serial = ?", (serial,))
            db.commit()
            with pytest.raises(LedgerFault, match="altered"):
                Ledger(path)


def test_a_ledger_of_a_newer_format_is_refused_with_a_way_out(tmp_path, opened):
    opened().close()
    db = sqlite3.connect(tmp_path / "ledger.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(LedgerFault, match="newer") as fault:
        opened()
    assert "upgrade" in fault.value.fix


@pytest.mark.parametrize(
    "content", [b"this is not a database at all, not even nearly" * 10, b"SQLite format 3\0" + b"\xff" * 200]
)
def test_a_torn_ledger_is_refused_with_a_way_out(tmp_path, opened, content):
    (tmp_path / "ledger.db").write_bytes(content)
    with pytest.raises(LedgerFault) as fault:
        opened()
    assert "copy" in fault.value.fix
    assert held_open(tmp_path) == []


def test_a_ledger_of_no_bytes_is_lost_and_never_taken_for_a_new_one(tmp_path, opened):
    opened().append("run", target=TARGET)
    path = tmp_path / "ledger.db"
    path.write_bytes(b"")
    for side in tmp_path.glob("ledger.db-*"):
        side.unlink()
    for _ in range(2):
        with pytest.raises(LedgerFault, match="is empty") as fault:
            opened()
    assert "backup" in fault.value.fix
    assert path.read_bytes() == b""


def test_a_new_ledger_is_whole_from_its_first_moment_also_where_there_are_no_links(tmp_path, opened, monkeypatch):
    def unsupported(*_, **__):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", unsupported)
    opened().append("run", target=TARGET)
    assert opened().check() == 1
    assert {path.name for path in tmp_path.iterdir()} <= {"ledger.db", "ledger.db-wal", "ledger.db-shm"}


def test_many_who_open_a_new_ledger_at_once_share_one(tmp_path):
    def run(_):
        with closing(Ledger(tmp_path / "ledger.db")) as ledger:
            return ledger.append("run", target=TARGET).run

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(run, range(16))) == list(range(1, 17))


def test_a_login_name_that_is_no_text_can_be_recorded(opened, monkeypatch):
    monkeypatch.setenv("LOGNAME", os.fsdecode(b"j\xff"))
    record = opened().append("run", target=TARGET, body={"who": who()})
    assert record.body["who"].startswith("j\\udcff@")


def test_a_directory_that_cannot_be_made_is_a_clear_fault(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerFault, match="cannot be opened") as fault:
        Ledger(tmp_path / "file" / "ledger.db")
    assert "XGW_HOME" in fault.value.fix


def test_a_full_disk_is_a_clear_fault_and_leaves_a_whole_ledger(opened):
    ledger = opened()
    ledger.append("run", target=TARGET, body={"command": "first"})
    pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
    ledger._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LedgerFault, match="cannot be written") as fault:
        ledger.append("run", target=TARGET, body={"command": "x" * 400_000})
    assert "full" in fault.value.cause
    assert opened().records(kind="run")[0].body == {"command": "first"}


def test_run_numbers_count_up_whoever_takes_them(opened):
    one, two = opened(), opened()
    numbers = [ledger.append("run", target=TARGET).run for ledger in (one, two, one, two)]
    assert numbers == [1, 2, 3, 4]


def _append_many(path: str, count: int) -> None:
    ledger = Ledger(Path(path))
    for _ in range(count):
        ledger.append("run", target=TARGET)
    ledger.close()


def test_two_processes_append_whole_records_in_one_chain(tmp_path):
    path = tmp_path / "ledger.db"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(str(path), 150)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    with closing(Ledger(path)) as ledger:
        assert ledger.check() == 300
        assert [record.run for record in ledger.records()] == list(range(1, 301))


def test_the_attempts_of_one_target_are_not_those_of_another(opened):
    ledger = opened()
    walk(ledger, "intended", "applied")
    assert ledger.latest("projects/other/locations/r") == {}


def test_a_role_that_a_rollback_undid_is_left_out_of_what_the_attempt_wrote(opened):
    ledger = opened()
    attempt = walk(ledger, "intended", "applied")
    ledger.append("undone", target=TARGET, run=2, attempt=attempt, step="1.1", body={"roles": ["gateway"]})
    assert ledger.latest(TARGET)["1.1"].deltas == ()


def test_the_attempt_that_counts_is_the_one_left_in_the_middle_also_when_a_newer_one_ended(opened):
    ledger = opened()
    older = walk(ledger, "intended", "applied", "promoting", "promoted", "validated")
    newer = walk(ledger, "intended", "reverting", "reverted")
    assert ledger.latest(TARGET)["1.1"].id == newer
    ledger.append("reverting", target=TARGET, run=2, attempt=older, step="1.1")
    ledger.append("evidence", target=TARGET, run=2, attempt=older, step="1.1", body={"probe": "memory"})
    assert ledger.latest(TARGET)["1.1"].id == older
    ledger.append("reverted", target=TARGET, run=2, attempt=older, step="1.1")
    assert ledger.latest(TARGET)["1.1"].id == newer


def test_who_made_a_revision_is_told_for_steps_put_backs_and_rollbacks_also_of_older_ledgers(tmp_path):
    ledger = Ledger(tmp_path / "ledger.db")
    attempt = walk(ledger, "intended", "reverting")
    body = {"serving": {"gateway": "gw-2"}}
    ledger.append("reverted", target=TARGET, run=2, attempt=attempt, step="1.1", body=body)
    pin = {"role": "gateway", "from": "gw-2", "to": "gw-0"}
    ledger.append("pin", target=TARGET, run=3, body=pin)  # as it was written before it named the revision
    ledger.append("pin", target=TARGET, run=4, body={**pin, "revision": "gw-3"})
    ledger.append("pin", target=TARGET, run=5, body={"role": "gateway", "from": "", "to": ""})
    makers = ledger.makers(TARGET)
    ledger.close()
    assert makers == {
        "gw-1": "run 1 step 1.1",
        "gw-2": "run 2 put back step 1.1",
        "gw-3": "run 4 rollback",
    }


def test_the_ledger_and_its_side_files_are_for_their_owner_only(tmp_path):
    before = os.umask(0o022)
    try:
        ledger = Ledger(tmp_path / "home" / "ledger.db")
        ledger.append("run", target=TARGET)
    finally:
        os.umask(before)
    found = [tmp_path / "home", *(tmp_path / "home").iterdir()]
    assert {path.stat().st_mode & 0o077 for path in found} == {0}
    ledger.close()
