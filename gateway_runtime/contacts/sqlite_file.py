"""The SQLite file of the contacts: its schema, how it is opened, how a contact lies in a row, what its errors mean.

Two trees hold the contacts: a row table in order of arrival and (tenant, id) -> row, so that a bulk write touches little;
and (tenant, kind, id) -> row for pages of one status or type, where `kind` is both in one small number: a page of one
status is a merge of as many seeks as there are types. What a tenant is called stands once.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from gateway_runtime.contacts.model import STATUSES, TYPES, Contact
from gateway_runtime.contacts.store import FaultKind, SchemaFault, StoreFault

T = TypeVar("T")

APPLICATION, VERSION = 0x78677763, 1
"""In the head of the file: that it is ours ("xgwc"), and the form of its tables."""
SCHEMA = f"""
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
CREATE TABLE tenants (n INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE contacts (
  n INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, id TEXT NOT NULL, kind INTEGER NOT NULL, name TEXT NOT NULL,
  email TEXT NOT NULL, relationship TEXT NOT NULL, source TEXT NOT NULL, interactions INTEGER NOT NULL,
  emails INTEGER NOT NULL, slack INTEGER NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL,
  created_by TEXT NOT NULL, custom TEXT NOT NULL, mark TEXT NOT NULL, version INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX contacts_by_id ON contacts (tenant, id);
CREATE INDEX contacts_by_kind ON contacts (tenant, kind, id);
CREATE TABLE receipts (
  tenant INTEGER NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL, status INTEGER NOT NULL, body BLOB NOT NULL,
  made INTEGER NOT NULL, PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX receipts_by_age ON receipts (made);
"""
_KINDS = {(status, type): 10 * row + column for row, status in enumerate(STATUSES) for column, type in enumerate(TYPES)}
_OF_KIND = {number: pair for pair, number in _KINDS.items()}
"""The numbers stand in files: STATUSES and TYPES may only grow at their ends."""
COLUMNS = (
    "id, kind, name, email, relationship, source, interactions, emails, slack, created, updated, created_by, custom, mark, "
    "version"
)
PLACES = "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
_FAULTS: tuple[tuple[str, FaultKind], ...] = (
    ("SQLITE_BUSY", "busy"),
    ("SQLITE_LOCKED", "busy"),
    ("SQLITE_FULL", "full"),
    ("SQLITE_PERM", "denied"),
    ("SQLITE_READONLY", "denied"),
    ("SQLITE_AUTH", "denied"),
)


def kinds(status: str, type: str) -> tuple[int, ...]:
    """The kinds that a filter lets through."""
    return tuple(kind for (s, t), kind in _KINDS.items() if status in ("", s) and type in ("", t))


def row_of(contact: Contact, version: int) -> tuple[Any, ...]:
    """A contact as COLUMNS hold it."""
    custom = json.dumps(dict(contact.custom_fields), ensure_ascii=False, separators=(",", ":"))
    return (
        contact.id, _KINDS[contact.status, contact.type], contact.name, contact.email, contact.relationship_type,
        contact.source, contact.interaction_count, contact.email_count, contact.slack_message_count, contact.created_at,
        contact.updated_at, contact.created_by, "" if custom == "{}" else custom, contact.mark, version,
    )  # fmt: skip


def contact_of(row: Sequence[Any]) -> Contact:
    """The contact in a row of COLUMNS."""
    id, kind, name, email, relationship, source, calls, emails, slack, created, updated, by, custom, mark, version = row
    status, type = _OF_KIND[kind]
    return Contact(
        id, type, name, email, relationship, status, source, calls, emails, slack, created, updated, by,
        json.loads(custom) if custom else {}, mark, shown_version(version),
    )  # fmt: skip


def shown_version(version: int) -> str:
    """A version as it is told: opaque."""
    return f"{version:016x}"


def connected(path: str, busy_seconds: float, *, cache_mib: int, pages: int = 0) -> sqlite3.Connection:
    """An open connection to the file, whose tables are made when it is empty. WAL: readers and the writer of other
    processes do not wait for each other. StoreFault, SchemaFault."""
    # sqlite3 says better what is wrong; -wal and -shm get the file's own mode. Only a file that is not there is touched: closing
    # one would take away the locks that another connection of this process has on it (sqlite.org/howtocorrupt, 2.2).
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    with faults(path):
        database = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    try:
        with faults(path):
            ours = _is_ours(database, path)  # before anything is written into somebody else's file
            _switch_to_wal(database, busy_seconds)
            database.execute("PRAGMA synchronous = FULL")
            database.execute(f"PRAGMA cache_size = {-1024 * cache_mib}")
            if pages:
                database.execute(f"PRAGMA max_page_count = {pages}")
            if not ours:
                with transaction(database):
                    if not _form_is_ours(database, path):  # another process may have been here first
                        for statement in SCHEMA.split(";\n"):
                            database.execute(statement)
    except BaseException:
        database.close()
        raise
    return database


def _switch_to_wal(database: sqlite3.Connection, seconds: float) -> None:
    """Switching needs the file for itself, and SQLite does not wait for that, whatever `timeout` says: of two processes that
    open a new file at once, one would be told that it is busy."""
    end = time.monotonic() + seconds
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() >= end:
                raise
            time.sleep(0.01)


def _is_ours(database: sqlite3.Connection, path: str) -> bool:
    """`_form_is_ours`, as of one moment: another process may be making the tables."""
    database.execute("BEGIN")
    try:
        return _form_is_ours(database, path)
    finally:
        if database.in_transaction:  # a fault may have ended it already
            database.execute("COMMIT")


def _form_is_ours(database: sqlite3.Connection, path: str) -> bool:
    """Whether the tables are there; False when the file is empty. SchemaFault when it holds anything else."""
    application = database.execute("PRAGMA application_id").fetchone()[0]
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if (application, version) == (APPLICATION, VERSION):
        return True
    if not database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        return False
    known = f"form {version}" if application == APPLICATION else "an earlier xgw or another program"
    raise SchemaFault(f"{path}: written by {known}, this version knows form {VERSION}; move the file away")


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """One write transaction, taken at once (so it cannot fail half-way for another's lock) and undone on any exception."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:  # a full disk may have ended it already
            database.execute("ROLLBACK")
        raise


@contextmanager
def faults(path: str = "") -> Iterator[None]:
    """SQLite's errors as the store's; with the file's name where it is opened."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "") or type(error).__name__
        kind: FaultKind = next((kind for start, kind in _FAULTS if name.startswith(start)), "unavailable")
        raise StoreFault(kind, f"{name} {path}".rstrip()) from None  # the message may quote a value; the name cannot


def guarded(work: Callable[[], T]) -> Callable[[], T]:
    """The work, with SQLite's errors as the store's."""

    def run() -> T:
        with faults():
            return work()

    return run
