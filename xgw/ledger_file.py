"""The file that the ledger is in: made whole or not at all, opened by several at once, and what goes wrong with it in words."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from xgw.errors import LedgerFault

VERSION = 1

SCHEMA = """
CREATE TABLE IF NOT EXISTS record (
  serial  INTEGER PRIMARY KEY,
  at      TEXT NOT NULL,
  target  TEXT NOT NULL,
  run     INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  step    TEXT NOT NULL,
  kind    TEXT NOT NULL,
  body    TEXT NOT NULL,
  hash    TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS record_by_target ON record (target, kind, serial);
CREATE INDEX IF NOT EXISTS record_by_attempt ON record (attempt, serial);
CREATE INDEX IF NOT EXISTS record_by_step ON record (target, step, attempt);
CREATE INDEX IF NOT EXISTS record_by_run ON record (run, serial);
CREATE TRIGGER IF NOT EXISTS record_is_never_changed BEFORE UPDATE ON record
  BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS record_is_never_removed BEFORE DELETE ON record
  BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
"""


def open_file(path: Path) -> sqlite3.Connection:
    """A connection to the ledger at `path`, which is made when it is not there; what is written through it is durable when
    it is committed. Raises LedgerFault when the file is newer, lost, or cannot be read and written."""
    with as_ledger_fault(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _create(path)
        elif not path.stat().st_size:
            raise LedgerFault(
                f"the ledger {path} is empty: what was recorded in it is lost",
                cause="the file has 0 bytes, and xgw never leaves one like that",
                fix="restore it from a backup; or move it away, with its -wal and -shm files, to start a new one",
            )
        db = sqlite3.connect(path, isolation_level=None, timeout=10)
        try:
            _prepare(db, path)
        except BaseException:
            db.close()
            raise
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    _switch_to_wal(db)
    db.execute("PRAGMA synchronous=FULL")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise LedgerFault(
            f"the ledger {path} was written by a newer xgw",
            cause=f"its format is {version}; this xgw knows formats up to {VERSION}",
            fix="upgrade xgw-ops, or set XGW_HOME to another directory",
        )
    if version < VERSION:
        db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version={VERSION}; COMMIT;")


def _create(path: Path) -> None:
    """A new ledger comes to be whole or not at all: a file of 0 bytes was a ledger once. Several may create it at once."""
    # For its owner only, and so are its side files: values of variables are in it.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    fresh = Path(name)
    try:
        with closing(sqlite3.connect(fresh, isolation_level=None)) as db:
            db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version={VERSION}; COMMIT;")
        with suppress(FileExistsError):
            os.link(fresh, path)  # unlike a renaming, it takes nobody's place
    except OSError:
        if not path.exists():  # a file system without links
            os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def _switch_to_wal(db: sqlite3.Connection) -> None:
    """Switching needs the file for itself, and SQLite does not wait for that: two processes opening a new ledger at once
    would see "locked"."""
    for _ in range(100):
        try:
            db.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            time.sleep(0.05)


@contextmanager
def as_ledger_fault(path: Path) -> Iterator[None]:
    """Map what SQLite and the file system say to LedgerFault, with a fix for each kind."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        fix = (
            "stop the other xgw, or wait for it"
            if "locked" in text
            else "check space and permissions of that directory"
        )
        raise LedgerFault(f"the ledger {path} cannot be written", cause=text, fix=fix) from error
    except sqlite3.DatabaseError as error:
        fix = f"keep a copy of {path}; then restore it from a backup or start a new one with another XGW_HOME"
        raise LedgerFault(f"the ledger {path} cannot be read", cause=str(error), fix=fix) from error
    except OSError as error:
        fix = "set XGW_HOME to a directory you can write"
        raise LedgerFault(f"the ledger {path} cannot be opened", cause=str(error), fix=fix) from error
