"""The journal of one import: one SQLite file, by which a run goes on after `kill -9`, proves its books and can be undone.

Rules of this file
1. Intent, then act, then evidence. What a batch is about to send stands here, durable, before it is sent (`intend`); the
   picture of a contact before a change does too (`keep`); what became of the batch is one transaction (`settle`).
2. An unsettled batch says nothing about what was written. The store does: every row carries its mark "RUN:ROW".
3. Contact data is in here only where it is needed: pictures from before a change, and the bytes of rejected rows. The
   file is its owner's alone.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from gateway_runtime.contacts.model import Contact
from xgw.errors import LedgerFault
from xgw.importer.entries import Counts, Fate, Refused, Run, Sent, Slice, State, contact_pictured, pictured
from xgw.plan.model import now

APPLICATION, VERSION = 0x7867776A, 1
"""In the head of the file: that it is ours ("xgwj"), and the form of its tables."""
_SCHEMA = f"""
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
CREATE TABLE run (n INTEGER PRIMARY KEY CHECK (n = 1), body TEXT NOT NULL, state TEXT NOT NULL, ended TEXT NOT NULL,
  note TEXT NOT NULL, books TEXT NOT NULL) STRICT;
CREATE TABLE batch (
  n INTEGER PRIMARY KEY, first INTEGER NOT NULL, rows INTEGER NOT NULL, start TEXT NOT NULL, stop TEXT NOT NULL,
  sent TEXT NOT NULL, settled INTEGER NOT NULL DEFAULT 0, others TEXT NOT NULL DEFAULT '',
  created INTEGER NOT NULL DEFAULT 0, updated INTEGER NOT NULL DEFAULT 0, unchanged INTEGER NOT NULL DEFAULT 0,
  duplicate INTEGER NOT NULL DEFAULT 0, rejected INTEGER NOT NULL DEFAULT 0, undone INTEGER NOT NULL DEFAULT 0,
  removed INTEGER NOT NULL DEFAULT 0, restored INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE picture (row INTEGER PRIMARY KEY, batch INTEGER NOT NULL, id TEXT NOT NULL, before TEXT NOT NULL) STRICT;
CREATE INDEX picture_by_batch ON picture (batch);
CREATE TABLE claim (id TEXT PRIMARY KEY, row INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE reject (row INTEGER PRIMARY KEY, batch INTEGER NOT NULL, code TEXT NOT NULL, body TEXT NOT NULL,
  raw BLOB NOT NULL) STRICT;
CREATE INDEX reject_by_code ON reject (code, row);
CREATE TABLE displaced (loser INTEGER PRIMARY KEY, row INTEGER NOT NULL) STRICT;
CREATE TABLE undo (n INTEGER PRIMARY KEY, at TEXT NOT NULL, who TEXT NOT NULL, ended TEXT NOT NULL) STRICT;
CREATE TABLE left_alone (row INTEGER PRIMARY KEY, id TEXT NOT NULL, why TEXT NOT NULL) STRICT
"""


class Journal:
    """The journal file of one run. Not for two threads at once."""

    def __init__(self, path: Path, database: sqlite3.Connection, run: Run) -> None:
        self.path, self._db, self.run = path, database, run

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    @property
    def state(self) -> State:
        """As it stands in the file now."""
        return State(*self._db.execute("SELECT state, ended, note FROM run").fetchone())

    def goes_into(self, store: str) -> bool:
        """Whether this is the store that the run writes into; the first that is named is. Durable."""
        with self._transaction():
            self._db.execute("CREATE TABLE IF NOT EXISTS store (id TEXT NOT NULL) STRICT")
            if not (found := self._db.execute("SELECT id FROM store").fetchone()):
                self._db.execute("INSERT INTO store VALUES (?)", (store,))
        return found in (None, (store,))

    def counts(self) -> Counts:
        """The sum over the settled batches."""
        sums = ", ".join(f"coalesce(sum({f.name}), 0)" for f in fields(Counts)[1:])
        query = f"SELECT coalesce(sum(rows), 0), {sums} FROM batch WHERE settled"  # noqa: S608  our own names
        return Counts(*self._db.execute(query).fetchone())

    def settled(self) -> set[int]:
        """Numbers of the batches whose fate is known."""
        return {n for (n,) in self._db.execute("SELECT n FROM batch WHERE settled")}

    def slices(self) -> Iterator[Slice]:
        """The settled batches in order of the file."""
        query = "SELECT n, first, rows, start, stop FROM batch WHERE settled ORDER BY n"
        for n, first, rows, start, stop in self._db.execute(query):
            yield Slice(n, first, rows, json.loads(start), json.loads(stop))

    def intend(self, part: Slice, sent: Sequence[tuple[int, str]]) -> None:
        """These rows are about to be sent under these ids. Durable."""
        text = "\n".join([f"{row - part.first} {id}" for row, id in sent])
        values = (part.n, part.first, part.rows, json.dumps(part.start), json.dumps(part.stop), text)
        columns = "n, first, rows, start, stop, sent"
        with self._transaction():
            self._db.execute(f"INSERT OR REPLACE INTO batch ({columns}) VALUES (?, ?, ?, ?, ?, ?)", values)  # noqa: S608

    def keep(self, batch: int, pictures: Sequence[tuple[int, Contact]]) -> None:
        """How contacts look that are about to be changed by these rows. Durable."""
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO picture VALUES (?, ?, ?, ?)",
                [(row, batch, before.id, pictured(before)) for row, before in pictures],
            )

    def forget(self, rows: Iterable[int]) -> None:
        """These rows changed nothing after all: their pictures go. Durable."""
        with self._transaction():
            self._db.executemany("DELETE FROM picture WHERE row = ?", [(row,) for row in rows])

    def pictures(self, batch: int) -> dict[int, Contact]:
        """The pictures that a batch kept, by row."""
        query = "SELECT row, before FROM picture WHERE batch = ?"
        return {row: contact_pictured(text) for row, text in self._db.execute(query, (batch,))}

    def claimed(self, ids: Sequence[str]) -> dict[str, int]:
        """Which of these ids belong to an earlier row that left no mark in the store."""
        query = "SELECT id, row FROM claim WHERE id IN (SELECT value FROM json_each(?))"
        return dict(self._db.execute(query, (json.dumps(ids),)).fetchall())

    def displace(self, losers: Sequence[tuple[int, int]], spared_by: Sequence[int] = ()) -> None:
        """(later row of another shard, row of this one that takes its place); and rows of ours that did not. Durable."""
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO displaced VALUES (?, ?)", losers)
            self._db.executemany("DELETE FROM displaced WHERE row = ?", [(row,) for row in spared_by])

    def displaced(self) -> set[int]:
        """Rows of other shards whose place a row of this one took."""
        return {loser for (loser,) in self._db.execute("SELECT loser FROM displaced")}

    def created(self, rows: Iterable[int]) -> set[int]:
        """Those of the rows that this journal says it created."""
        found = set()
        query = "SELECT first, sent, others FROM batch WHERE settled AND first <= ? AND first + rows > ?"
        for row in rows:
            for first, sent, others in self._db.execute(query, (row, row)).fetchall():
                if row - first in set(_rows_of(sent)) - set(json.loads(others or "[]")):
                    found.add(row)
        return found

    def settle(self, n: int, fate: Fate) -> None:
        """What became of a batch: all of it, in one durable transaction."""
        counts = fate.counts
        with self._transaction():
            first, sent = self._db.execute("SELECT first, sent FROM batch WHERE n = ?", (n,)).fetchone()
            made = {row - first for row in fate.made}
            others = [row for row in _rows_of(sent) if row not in made]
            self._db.execute(
                "UPDATE batch SET settled = 1, others = ?, created = ?, updated = ?, unchanged = ?, duplicate = ?, "
                "rejected = ? WHERE n = ?",
                (json.dumps(others, separators=(",", ":")) if others else "",
                 counts.created, counts.updated, counts.unchanged, counts.duplicate, counts.rejected, n),
            )  # fmt: skip
            self._db.executemany("INSERT OR REPLACE INTO reject VALUES (?, ?, ?, ?, ?)", _rejects(n, fate.refused))
            self._db.executemany("INSERT OR IGNORE INTO claim VALUES (?, ?)", fate.claims)

    def end(self, state: str, note: str = "", books: Mapping[str, Any] | None = None) -> None:
        """How the run ended, or for now."""
        with self._transaction():
            text = json.dumps(books) if books else ""
            ended = "" if state == "open" else now()
            self._db.execute("UPDATE run SET state = ?, ended = ?, note = ?, books = ?", (state, ended, note, text))

    def told(self) -> dict[str, Any]:
        """What `end` was given as books."""
        text = self._db.execute("SELECT books FROM run").fetchone()[0]
        return json.loads(text) if text else {}

    def refused(self) -> Iterator[Refused]:
        """Every rejected row in order of the file."""
        for row, code, body, raw in self._db.execute("SELECT row, code, body, raw FROM reject ORDER BY row"):
            yield Refused(row, code, json.loads(body), raw)

    def reasons(self) -> list[tuple[str, int, Refused]]:
        """Code -> how many rows, and the first of them; the most frequent first. A row may have several codes."""
        also = "SELECT json_extract(one.value, '$.code'), row FROM reject, json_each(body, '$.also') AS one"
        query = f"SELECT code, count(*), min(row) FROM (SELECT code, row FROM reject UNION {also}) GROUP BY 1 ORDER BY 2 DESC, 1"  # noqa: S608  our own words
        found = []
        for code, count, row in self._db.execute(query).fetchall():
            first, body, raw = self._db.execute("SELECT code, body, raw FROM reject WHERE row = ?", (row,)).fetchone()
            told = json.loads(body)
            told |= next((one for one in told.get("also", ()) if one["code"] == code and first != code), {})
            found.append((code, count, Refused(row, code, told, raw)))
        return found

    def tallies(self) -> dict[str, int]:
        """The same numbers from elsewhere in the file, for whoever checks the books."""
        one = self._db.execute
        made = sum(len(_rows_of(sent)) - len(json.loads(others or "[]"))
                   for sent, others in one("SELECT sent, others FROM batch WHERE settled"))  # fmt: skip
        return {
            "created": made,
            "updated": one(
                "SELECT count(*) FROM picture WHERE batch IN (SELECT n FROM batch WHERE settled)"
            ).fetchone()[0],
            "rejected": one("SELECT count(*) FROM reject").fetchone()[0],
            "unsettled": one("SELECT count(*) FROM batch WHERE NOT settled").fetchone()[0],
        }

    # --- undo

    def undo_numbers(self) -> list[int]:
        """The batches that are not undone yet, or of which rows were left alone; the last one first."""
        left = "EXISTS (SELECT 1 FROM left_alone WHERE row >= batch.first AND row < batch.first + batch.rows)"
        query = f"SELECT n FROM batch WHERE NOT undone OR {left} ORDER BY n DESC"  # noqa: S608  our own words
        return [n for (n,) in self._db.execute(query)]

    def to_undo(self, n: int) -> Sent:
        """One batch as undo needs it: of one that was undone before, the rows that were left alone."""
        query = "SELECT first, rows, sent, settled, others, undone FROM batch WHERE n = ?"
        first, rows, sent, settled, others, undone = self._db.execute(query, (n,)).fetchone()
        kept_off, pictures = set(json.loads(others or "[]")), self.pictures(n)
        made = {first + row: id for row, id in _pairs(sent) if row not in kept_off and first + row not in pictures}
        if undone:
            query = "SELECT row FROM left_alone WHERE row >= ? AND row < ?"
            left = {row for (row,) in self._db.execute(query, (first, first + rows))}
            made = {row: id for row, id in made.items() if row in left}
            pictures = {row: before for row, before in pictures.items() if row in left}
        return Sent(n, bool(settled), made, pictures)

    def undoing(self, who: str) -> None:
        """An undo begins, or goes on. From now on nobody resumes this run: its batches do not say any more what is there."""
        with self._transaction():
            self._db.execute("UPDATE run SET state = 'undoing'")
            open_one = self._db.execute("SELECT n FROM undo WHERE ended = ''").fetchone()
            if open_one is None:
                self._db.execute("INSERT INTO undo (at, who, ended) VALUES (?, ?, '')", (now(), who))

    def undone(self, n: int, removed: int, restored: int, left: Sequence[tuple[int, str, str]]) -> None:
        """What a batch did is put back, but for these (row, id, why). Adds to what an earlier undo put back."""
        with self._transaction():
            query = "UPDATE batch SET undone = 1, removed = removed + ?, restored = restored + ? WHERE n = ?"
            self._db.execute(query, (removed, restored, n))
            first, rows = self._db.execute("SELECT first, rows FROM batch WHERE n = ?", (n,)).fetchone()
            self._db.execute("DELETE FROM left_alone WHERE row >= ? AND row < ?", (first, first + rows))
            self._db.executemany("INSERT OR REPLACE INTO left_alone VALUES (?, ?, ?)", left)

    def undo_ended(self) -> None:
        """Everything is put back that could be."""
        with self._transaction():
            self._db.execute("UPDATE undo SET ended = ? WHERE ended = ''", (now(),))
            self._db.execute("UPDATE run SET state = 'undone', ended = ?", (now(),))

    def undo_books(self) -> dict[str, Any]:
        """What undo removed, restored and left alone, so far."""
        removed, restored = self._db.execute(
            "SELECT coalesce(sum(removed), 0), coalesce(sum(restored), 0) FROM batch"
        ).fetchone()
        query = "SELECT why, count(*) FROM left_alone GROUP BY why ORDER BY why"
        return {"removed": removed, "restored": restored, "left": dict(self._db.execute(query).fetchall())}

    def left(self, limit: int) -> list[tuple[int, str, str]]:
        """Rows that undo left alone: (row, id, why)."""
        return self._db.execute("SELECT row, id, why FROM left_alone ORDER BY row LIMIT ?", (limit,)).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _as_fault(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk has ended it already
                    self._db.execute("ROLLBACK")
                raise


def create(path: Path, run: Run) -> Journal:
    """A new journal. It appears under its name when it is whole."""
    with _as_fault(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_suffix(f".{os.getpid()}.new")
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)
        with closing(_connected(fresh)) as database:
            for statement in _SCHEMA.split(";\n"):
                database.execute(statement)
            database.execute("INSERT INTO run VALUES (1, ?, 'open', '', '', '')", (json.dumps(asdict(run)),))
        os.link(fresh, path)  # fails when there is one: two starts never share a journal
        fresh.unlink()
    return opened(path)


def opened(path: Path) -> Journal:
    """The journal of that name. LedgerFault when it is none, or of a newer form."""
    with _as_fault(path):
        if not path.is_file():
            raise OSError("there is no such file")
        database = _connected(path)
        try:
            return Journal(path, database, _run_of(path, database))
        except BaseException:
            database.close()
            raise


def _run_of(path: Path, database: sqlite3.Connection) -> Run:
    form = [database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    if form != [APPLICATION, VERSION]:
        raise LedgerFault(
            f"{path} is no journal of this version", cause=f"form {form[1]}", fix="use the xgw that wrote it"
        )
    return Run(**json.loads(database.execute("SELECT body FROM run").fetchone()[0]))


def glanced(path: Path) -> tuple[Run, State]:
    """What a journal is about, without taking hold of it: there may be many."""
    with _as_fault(path), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        body, *state = database.execute("SELECT body, state, ended, note FROM run").fetchone()
        return Run(**json.loads(body)), State(*state)


def _connected(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA cache_size = -4096")
    except BaseException:
        database.close()  # nobody else could
        raise
    return database


def _pairs(sent: str) -> list[tuple[int, str]]:
    return [(int(row), id) for row, _, id in (line.partition(" ") for line in sent.split("\n") if line)]


def _rows_of(sent: str) -> list[int]:
    return [row for row, _ in _pairs(sent)]


def _rejects(batch: int, refused: Sequence[Refused]) -> list[tuple[Any, ...]]:
    return [(one.row, batch, one.code, json.dumps(dict(one.body)), one.raw) for one in refused]


@contextmanager
def _as_fault(path: Path) -> Iterator[None]:
    """What SQLite and the file system say, as a LedgerFault. Never a value of a row."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "") or type(error).__name__
        raise LedgerFault(
            f"the import's journal cannot be used: {path}",
            cause=name,
            fix="check space and permissions of its folder (XGW_HOME), then resume",
        ) from None
    except OSError as error:
        raise LedgerFault(
            f"the import's journal cannot be used: {path}",
            cause=error.strerror or str(error),
            fix="check space and permissions of its folder (XGW_HOME), then resume",
        ) from error
