"""The stored state of the embedded Cloud Run: services, revisions, operations, in one SQLite file.

Every method writes through: when it returns (or the `transaction` it is in ends), the change survives `kill -9` and
power loss (WAL with synchronous=FULL). An update's intent and its operation are written in one transaction before the
operation is shown to anybody, so an operation a client has seen is never forgotten. One process, one thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from google.longrunning import operations_pb2

from xgw.local.messages import Message, Revision, Service
from xgw.local.naming import Place, short

Kind = Literal["create", "update", "delete", "delete-revision"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS service (seq INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL,
  body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS revision (seq INTEGER PRIMARY KEY AUTOINCREMENT, short TEXT UNIQUE NOT NULL,
  service TEXT NOT NULL, body BLOB NOT NULL, configuration BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS revision_service ON revision (service, seq);
CREATE TABLE IF NOT EXISTS operation (seq INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL,
  service TEXT NOT NULL, kind TEXT NOT NULL, wanted BLOB NOT NULL, revision TEXT NOT NULL, result BLOB);
CREATE TABLE IF NOT EXISTS mark (name TEXT PRIMARY KEY);
"""
KEPT_OPERATIONS = 1000
"""Finished operations beyond the newest thousand are forgotten."""


@dataclass(frozen=True)
class StoredRevision:
    """A revision, its place in the order of creation, and the configuration it was made from."""

    seq: int
    body: Message
    configuration: bytes
    service: str


@dataclass(frozen=True)
class StoredOperation:
    """An accepted request. `wanted` is the service as wished at that generation (for "delete-revision": the revision);
    `revision` is the short name of the revision that has to become ready, or of those to stop, separated by spaces;
    `result` is the finished google.longrunning.Operation, or None while it runs."""

    seq: int
    name: str
    service: str
    kind: Kind
    wanted: Message
    revision: str
    result: Message | None


class State:
    """One file. `home` is the project and region whose services it holds."""

    def __init__(self, path: Path | str, *, project: str = "xgw-local", region: str = "us-central1") -> None:
        self.home = Place(project, region)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file. Nothing is lost without it."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside happen, or none."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # --- services

    def service(self, name: str) -> Message | None:
        """A service by full name."""
        row = self._db.execute("SELECT body FROM service WHERE name = ?", (name,)).fetchone()
        return Service.FromString(row[0]) if row else None

    def services(self, parent: str, *, before: int = 0, limit: int = 1000) -> list[tuple[int, Message]]:
        """Services of a location, newest first, with their place in the order; `before` is the last place seen."""
        rows = self._db.execute(
            "SELECT seq, body FROM service WHERE substr(name, 1, ?) = ? AND (? = 0 OR seq < ?) "
            "ORDER BY seq DESC LIMIT ?",
            (len(parent) + 10, f"{parent}/services/", before, before, limit),
        )
        return [(seq, Service.FromString(body)) for seq, body in rows]

    def put_service(self, service: Message) -> None:
        """Store a service under its name."""
        self._db.execute(
            "INSERT INTO service (name, body) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET body = excluded.body",
            (service.name, service.SerializeToString()),
        )

    def drop_service(self, name: str) -> None:
        """Forget a service and its revisions."""
        self._db.execute("DELETE FROM revision WHERE service = ?", (name,))
        self._db.execute("DELETE FROM service WHERE name = ?", (name,))

    # --- revisions

    def revision(self, short_name: str) -> StoredRevision | None:
        """A revision by short name; short names are unique in one file."""
        row = self._db.execute(
            "SELECT seq, body, configuration, service FROM revision WHERE short = ?", (short_name,)
        ).fetchone()
        return _revision(*row) if row else None

    def revisions(self, service: str = "", *, before: int = 0, limit: int = 1000) -> list[StoredRevision]:
        """Revisions of a service by full name, or of all services, newest first."""
        rows = self._db.execute(
            "SELECT seq, body, configuration, service FROM revision WHERE (? = '' OR service = ?) "
            "AND (? = 0 OR seq < ?) ORDER BY seq DESC LIMIT ?",
            (service, service, before, before, limit),
        )
        return [_revision(*row) for row in rows]

    def add_revision(self, service: str, revision: Message, configuration: bytes) -> None:
        """Store a new revision."""
        self._db.execute(
            "INSERT INTO revision (short, service, body, configuration) VALUES (?, ?, ?, ?)",
            (short(revision.name), service, revision.SerializeToString(), configuration),
        )

    def update_revision(self, revision: Message) -> None:
        """Store the new state of a revision that exists; one that was deleted meanwhile stays deleted."""
        self._db.execute(
            "UPDATE revision SET body = ? WHERE short = ?", (revision.SerializeToString(), short(revision.name))
        )

    def drop_revision(self, short_name: str) -> None:
        """Forget one revision."""
        self._db.execute("DELETE FROM revision WHERE short = ?", (short_name,))

    # --- operations

    def add_operation(
        self, name: str, service: str, kind: Kind, wanted: Message, revision: str = ""
    ) -> StoredOperation:
        """Store an accepted request."""
        cursor = self._db.execute(
            "INSERT INTO operation (name, service, kind, wanted, revision) VALUES (?, ?, ?, ?, ?)",
            (name, service, kind, wanted.SerializeToString(), revision),
        )
        return StoredOperation(int(cursor.lastrowid or 0), name, service, kind, wanted, revision, None)

    def operation(self, name: str) -> StoredOperation | None:
        """An operation by full name."""
        row = self._db.execute(
            "SELECT seq, name, service, kind, wanted, revision, result FROM operation WHERE name = ?", (name,)
        ).fetchone()
        return _operation(*row) if row else None

    def operations(self, *, before: int = 0, limit: int = KEPT_OPERATIONS) -> list[StoredOperation]:
        """Operations, newest first."""
        rows = self._db.execute(
            "SELECT seq, name, service, kind, wanted, revision, result FROM operation WHERE (? = 0 OR seq < ?) "
            "ORDER BY seq DESC LIMIT ?",
            (before, before, limit),
        )
        return [_operation(*row) for row in rows]

    def unfinished(self) -> list[StoredOperation]:
        """Operations without a result, oldest first."""
        rows = self._db.execute(
            "SELECT seq, name, service, kind, wanted, revision, result FROM operation WHERE result IS NULL ORDER BY seq"
        )
        return [_operation(*row) for row in rows]

    def finish_operation(self, seq: int, result: Message) -> None:
        """Store an operation's result, and forget the oldest finished ones."""
        self._db.execute("UPDATE operation SET result = ? WHERE seq = ?", (result.SerializeToString(), seq))
        self._db.execute("DELETE FROM operation WHERE result IS NOT NULL AND seq <= ?", (seq - KEPT_OPERATIONS,))

    def drop_operation(self, name: str) -> None:
        """Forget one operation."""
        self._db.execute("DELETE FROM operation WHERE name = ?", (name,))

    # --- marks

    def marked(self, name: str) -> bool:
        """True when `mark(name)` was called on this file before."""
        return self._db.execute("SELECT 1 FROM mark WHERE name = ?", (name,)).fetchone() is not None

    def mark(self, name: str) -> None:
        """Remember for good that something was done once."""
        self._db.execute("INSERT OR IGNORE INTO mark (name) VALUES (?)", (name,))


def _revision(seq: int, body: bytes, configuration: bytes, service: str) -> StoredRevision:
    return StoredRevision(seq, Revision.FromString(body), configuration, service)


def _operation(
    seq: int, name: str, service: str, kind: Kind, wanted: bytes, revision: str, result: bytes | None
) -> StoredOperation:
    message = Revision if kind == "delete-revision" else Service
    finished = operations_pb2.Operation.FromString(result) if result is not None else None
    return StoredOperation(seq, name, service, kind, message.FromString(wanted), revision, finished)
