"""What is typed wrong, broken on disk, or missing: error, cause, fix and the right exit code; nothing is lost."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.place import Place
from xgw.errors import ExitCode

pytestmark = pytest.mark.e2e

APPLY = ("phase1", "apply", "--only", "1.7")

TYPED = {
    "unknown service": (("revisions", "gatway"), "there is no service 'gatway'", "did you mean gateway?"),
    "service to roll back": (("rollback", "slak"), "there is no service 'slak'", "did you mean slack?"),
    "service like nothing": (("revisions", "zzz"), "there is no service 'zzz'", "xgw.toml may name others"),
    "unknown revision": (("rollback", "gateway", "--to", "x-1"), "no revision 'x-1'", "xgw revisions gateway"),
    "step of apply": (("phase1", "apply", "--only", "1.77"), "phase 1 has no step '1.77'", "did you mean 1.7?"),
    "step of plan": (("phase1", "plan", "--skip", "9"), "phase 1 has no step '9'", "xgw phase1 plan"),
    "step of validate": (("phase1", "validate", "--only", "x"), "phase 1 has no step 'x'", "1.1, 1.2, 1.3"),
    "step of rollback": (("phase1", "rollback", "--only", "2.1"), "phase 1 has no step '2.1'", "did you mean 1.1?"),
    "no step where a variable was empty": (("phase1", "apply", "--only", ""), "--only names no step", "leave it away"),
    "no step but commas": (("phase1", "rollback", "--only", " , "), "--only names no step", "leave it away"),
    "run of history": (("history", "show", "4711"), "there is no run 4711", "xgw history"),
    "run beyond counting": (("history", "show", "9" * 20), "is not a command", "xgw history show 3"),
    "run in other digits": (("history", "show", "²"), "is not a command", "xgw history show 3"),
    "words of history": (("history", "tell"), "history tell is not a command", "xgw history show 3"),
    "negative run": (("rollback", "--run", "-1"), "--run", "rollback --help"),
    "phase": (("phase9", "plan"), "phase9", "did you mean"),
}


@pytest.mark.parametrize("case", TYPED)
def test_what_is_typed_wrong_is_answered_with_what_could_be_meant(place: Place, case: str) -> None:
    words, *said = TYPED[case]
    writes = place.writes() if place.home.exists() else {}
    done = place.run(*words)
    done.assert_told(ExitCode.USAGE, *said)
    assert {name: n for name, n in place.writes().items() if name in writes} == writes


@pytest.fixture
def kept(place: Place) -> Iterator[Path]:
    """The ledger of a place where something was done, as a copy that is put back after the test."""
    if not (place.home / "ledger.db").exists() or not place.records():
        place.text(*APPLY)
    ledger, copy = place.home / "ledger.db", place.root / "ledger.copy"
    with sqlite3.connect(ledger) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    shutil.copy(ledger, copy)
    yield ledger
    for part in ("-wal", "-shm"):
        Path(f"{ledger}{part}").unlink(missing_ok=True)
    shutil.copy(copy, ledger)
    assert place.records()


def test_a_ledger_that_is_no_database_is_refused_and_left_alone(place: Place, kept: Path) -> None:
    kept.write_bytes(b"this is not a database, but somebody's notes\n" * 200)
    before, writes = kept.read_bytes(), place.writes()
    for words in (APPLY, ("history",), ("phase1", "rollback")):
        place.run(*words).assert_told(
            ExitCode.FAILED, f"the ledger {kept} cannot be read", "keep a copy of", "XGW_HOME"
        )
    assert (kept.read_bytes(), place.writes()) == (before, writes)


def test_a_torn_ledger_is_refused_and_left_alone(place: Place, kept: Path) -> None:
    torn = bytearray(kept.read_bytes())
    torn[4096:] = os.urandom(len(torn) - 4096)
    kept.write_bytes(torn)
    writes = place.writes()
    place.run(*APPLY).assert_told(ExitCode.FAILED, f"the ledger {kept}", "keep a copy of")
    assert (kept.read_bytes(), place.writes()) == (bytes(torn), writes)


def test_a_torn_index_of_the_ledger_is_found_by_verify(place: Place, kept: Path) -> None:
    torn = bytearray(kept.read_bytes())
    torn[4096 * 2 + 8 : 4096 * 3] = os.urandom(4096 - 8)
    kept.write_bytes(torn)
    place.run("history", "verify").assert_told(ExitCode.FAILED, f"the ledger {kept}", "keep a copy of")


def test_an_edited_ledger_is_found_out(place: Place, kept: Path) -> None:
    with sqlite3.connect(kept) as db:
        db.execute("DROP TRIGGER record_is_never_changed")
        db.execute("UPDATE record SET body = replace(body, 'validated', 'rejected')")
        db.execute('UPDATE record SET body = \'{"who": "nobody"}\' WHERE serial = 1')
    db.close()
    place.run("history").assert_told(ExitCode.FAILED, "was altered at record 1", "hash chain", "backup")
    place.run("history", "verify").assert_told(ExitCode.FAILED, "was altered at record 1")
    place.run(*APPLY).assert_told(ExitCode.FAILED, "was altered at record 1")


def test_a_newer_ledger_is_refused_and_left_alone(place: Place, kept: Path) -> None:
    with sqlite3.connect(kept) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    place.run(*APPLY).assert_told(ExitCode.FAILED, "was written by a newer xgw", "its format is 99", "upgrade xgw-ops")
    with sqlite3.connect(kept) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (99,)
    db.close()


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_home_that_is_a_file_is_refused(place: Place, below: str) -> None:
    notes = place.root / "notes"
    notes.write_text("mine")
    for words in (("phase1", "plan"), APPLY, ("status",)):
        done = place.run(*words, env={"XGW_HOME": str(notes / below) if below else str(notes)})
        done.assert_told(ExitCode.FAILED, str(notes), "XGW_HOME")
    assert notes.read_text() == "mine"


def test_a_lock_that_cannot_be_written_is_refused(place: Place, kept: Path) -> None:
    locks = place.home / "locks"
    shutil.rmtree(locks, ignore_errors=True)
    locks.write_text("in the way")
    writes = place.writes()
    try:
        place.run(*APPLY).assert_told(ExitCode.FAILED, "cannot be written", "XGW_HOME")
        assert place.writes() == writes
    finally:
        locks.unlink()


def test_ports_that_somebody_took_while_it_was_down_are_said_or_changed(place: Place, kept: Path) -> None:
    state = place.state()
    port = int(place.target().service("gateway").uri.rsplit(":", 1)[1])
    place.ok("local", "down")
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        done = place.run("local", "up")
        if done.code != ExitCode.OK:
            done.assert_told(ExitCode.FAILED, str(port))
        assert "Traceback" not in done.err
    place.ok("local", "up")
    assert place.state() == state


@pytest.fixture
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of its own that is easily filled."""
    disk = tmp_path_factory.mktemp("d")
    mount = shutil.which("mount")
    made = (
        mount
        and os.geteuid() == 0
        and subprocess.run([mount, "-t", "tmpfs", "-o", "size=4m", "none", disk], check=False)
    )
    if not made or made.returncode:
        pytest.skip("NOT TESTED HERE: a full disk needs root and mount, to make a small file system")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_said_and_after_making_room_the_same_command_goes_on(small_disk: Path) -> None:
    place = Place(small_disk)
    try:
        place.ok("local", "up")
        state = place.state()
        records = len(place.records())
        filler = small_disk / "filler"
        _fill(filler)
        done = place.run(*APPLY)
        assert done.code not in (ExitCode.OK, ExitCode.USAGE), done
        assert done.err.count("error: ") == 1, done
        assert "\n  cause: " in done.err
        assert "\n  fix:   " in done.err
        assert "Traceback" not in done.err
        assert "failed in a way it should not" not in done.err
        filler.unlink()
        assert len(place.records()) >= records
        again = place.run(*APPLY)
        assert again.code == ExitCode.OK, again
        assert place.step("1.7") == "validated"
        place.ok("phase1", "rollback")
        assert place.state() == state
    finally:
        (small_disk / "filler").unlink(missing_ok=True)
        place.close()


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (65536, 1024, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
