"""The ledger: what was intended, done and measured, on which target, by whom. Append-only, in SQLite.

Rules of this file
1. Intent is written before effect, effect before evidence. A record is durable (synchronous=FULL) before the caller goes on.
2. Records are never changed or removed: triggers refuse it, and each record carries the hash of the one before it, so an
   edit behind the ledger's back is found when the ledger is opened or verified.
3. An **attempt** is one try at one step. Its state is the name of its last moving record, and only the moves of MOVES are
   allowed; an illegal move raises and writes nothing. Evidence is a record too, but moves nothing.
4. Nothing here knows Google, click or the plan: bodies are plain JSON.

    intended ──> applied ──> promoting ──> promoted ──> validated
        │            │            │            │            │
        │            └─> unproven (no data; run again) <────┤
        └────────────┴────────────┴────────────┴────────────┴──> reverting ──> reverted

`intended` says what will be written and under which revision name; `promoting` that traffic is about to move; `reverting`
that `delta.before` is about to be put back, and why ("rejected", "rollback", "abandoned").
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import socket
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xgw.errors import LedgerFault
from xgw.ledger_file import as_ledger_fault, open_file
from xgw.plan.model import now

MOVES: Mapping[str, frozenset[str]] = {
    "": frozenset({"intended"}),
    "intended": frozenset({"applied", "reverting"}),
    "applied": frozenset({"promoting", "unproven", "reverting"}),
    "promoting": frozenset({"promoted", "reverting"}),
    "promoted": frozenset({"validated", "unproven", "reverting"}),
    "unproven": frozenset({"applied", "promoted", "reverting"}),
    "validated": frozenset({"reverting"}),
    "reverting": frozenset({"reverted"}),
    "reverted": frozenset(),
}
"""State of an attempt -> the records that may follow it."""

OPEN = frozenset({"intended", "applied", "promoting", "promoted", "unproven", "reverting"})
"""States from which the next run has something to finish."""

NOTES = frozenset({"evidence", "undone", "run", "run-end", "skipped", "lock", "pin"})
"""Records that move no attempt."""

UNGUARDED = frozenset({"run-end", "lock"})
"""Records that are written whoever holds the target by now: how a run ended, and who broke whose lock."""

GENESIS = "0" * 64


@dataclass(frozen=True)
class Record:
    """One line of the ledger. `attempt` is the serial of the attempt's first record, 0 outside an attempt."""

    serial: int
    at: str
    target: str
    run: int
    attempt: int
    step: str
    kind: str
    body: Mapping[str, Any]
    hash: str


@dataclass(frozen=True)
class Attempt:
    """One try at one step, folded from its records: where it stands, what it wrote and still stands, what was measured.

    `paused_at` is the state an unproven attempt goes on from. A delta whose role is in an "undone" note (a rollback of that
    service went behind it) is left out.
    """

    id: int
    run: int
    step: str
    state: str
    deltas: tuple[Mapping[str, Any], ...]
    evidence: tuple[Mapping[str, Any], ...]
    why: str
    at: str
    paused_at: str = ""


class Ledger:
    """The ledger file. Opening checks that it is whole and of this version; every append is one durable transaction."""

    def __init__(self, path: Path) -> None:
        """Open or create the ledger at `path`. Raises LedgerFault when it is newer, torn, edited or not writable."""
        self.path = path
        self.guard: Callable[[], None] = lambda: None
        """Called before a record is written; raises when this process may not go on: its lock was taken away."""
        self._db = open_file(path)
        try:
            self.check(last=200)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    def append(
        self,
        kind: str,
        *,
        target: str,
        run: int = 0,
        attempt: int = 0,
        step: str = "",
        body: Mapping[str, Any] | None = None,
    ) -> Record:
        """Write one record and return it, durable. A move that MOVES does not allow raises LedgerFault and writes nothing.

        A "run" record without a run number gets the next one; an "intended" record opens an attempt named after its own serial.
        """
        if kind not in UNGUARDED:
            self.guard()
        at, text = now(), _canonical(body or {})
        with as_ledger_fault(self.path), self._transaction():
            if kind not in NOTES:
                before = self._state_of(attempt)
                if kind not in MOVES[before]:
                    raise LedgerFault(
                        f"a step cannot go from {before or 'nothing'!r} to {kind!r}", cause=f"attempt {attempt}"
                    )
            serial, last = self._db.execute(
                "SELECT coalesce(max(serial), 0) + 1, coalesce(max(run), 0) FROM record"
            ).fetchone()
            run = run or (last + 1 if kind == "run" else 0)
            attempt = serial if kind == "intended" else attempt
            digest = _digest(self._last_hash(), serial, at, target, run, attempt, step, kind, text)
            self._db.execute(
                "INSERT INTO record VALUES (?,?,?,?,?,?,?,?,?)",
                (serial, at, target, run, attempt, step, kind, text, digest),
            )
        return Record(serial, at, target, run, attempt, step, kind, json.loads(text), digest)

    def records(
        self, *, target: str | None = None, run: int | None = None, kind: str | None = None, from_run: int = 0
    ) -> list[Record]:
        """The records that match, oldest first; `from_run` leaves out older runs."""
        wanted = {"target = ?": target, "run = ?": run, "kind = ?": kind, "run >= ?": from_run or None}
        terms = {term: value for term, value in wanted.items() if value is not None}
        return self._read(" AND ".join(terms) or "1", *terms.values())

    def attempts(self, target: str) -> list[Attempt]:
        """Every attempt on `target`, oldest first."""
        return _folded(self._read("target = ? AND attempt > 0", target))

    def latest(self, target: str) -> dict[str, Attempt]:
        """Step id -> the attempt at it that counts: the newest one that a run left in the middle, else the newest. What is put
        back may be older than the newest attempt, which ended."""
        newest = "SELECT max(attempt) FROM record WHERE target = ? AND attempt > 0 GROUP BY step"
        moves = "SELECT attempt, kind, max(serial) FROM record WHERE target = ? AND attempt > 0 AND kind NOT IN"
        left = f"SELECT attempt FROM ({moves} ({_marks(NOTES)}) GROUP BY attempt) WHERE kind IN ({_marks(OPEN)})"  # noqa: S608
        where = f"attempt IN ({newest}) OR attempt IN ({left})"
        found: dict[str, Attempt] = {}
        for attempt in _folded(self._read(where, target, target, *sorted(NOTES), *sorted(OPEN))):
            if attempt.state in OPEN or attempt.step not in found or found[attempt.step].state not in OPEN:
                found[attempt.step] = attempt
        return found

    def standing(self, target: str, step: str) -> list[Attempt]:
        """The attempts at one step that were not put back, oldest first."""
        ended = "SELECT attempt FROM record WHERE target = ? AND kind = 'reverted'"
        where = f"target = ? AND step = ? AND attempt > 0 AND attempt NOT IN ({ended})"
        return _folded(self._read(where, target, step, target))

    def measured(self, target: str) -> dict[str, Record]:
        """Step id -> its newest evidence on `target`, whichever run measured it and for which attempt."""
        return {record.step: record for record in self._newest_evidence(target, "step")}

    def readings(self, target: str, step: str) -> list[Record]:
        """The newest evidence of each probe of one step, whichever run measured it and for which attempt."""
        found = self._newest_evidence(target, "step, json_extract(body, '$.probe')")
        return [record for record in found if record.step == step]

    def _newest_evidence(self, target: str, each: str) -> list[Record]:
        newest = f"SELECT max(serial) FROM record WHERE target = ? AND kind = 'evidence' GROUP BY {each}"  # noqa: S608
        return self._read(f"serial IN ({newest})", target)

    def makers(self, target: str) -> dict[str, str]:
        """Revision name -> which run made it and what for, in words; revisions that the ledger did not make are absent."""
        made: dict[str, str] = {}
        for record in self._read("target = ? AND kind IN ('intended', 'reverted', 'pin')", target):
            names, what = _made(record)
            for name in names:
                made.setdefault(str(name), f"run {record.run} {what}")
        return made

    def _read(self, where: str, *values: object) -> list[Record]:
        sql = f"SELECT * FROM record WHERE {where} ORDER BY serial"  # noqa: S608 - the conditions are ours, values are bound
        with as_ledger_fault(self.path):
            return [_record(row) for row in self._db.execute(sql, values)]

    def check(self, *, last: int | None = None) -> int:
        """Recompute the hash chain (of the last N records, or all) and return how many hold. Raises LedgerFault at a break."""
        with as_ledger_fault(self.path):
            if last is None and (sound := self._db.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(
                    sound
                )  # an index that was torn could hide records without breaking the chain
            limit = -1 if last is None else last + 1
            rows = self._db.execute("SELECT * FROM record ORDER BY serial DESC LIMIT ?", (limit,)).fetchall()[::-1]
        previous, expected = GENESIS, 1
        if last is not None and len(rows) > last:
            previous, expected, rows = rows[0][8], rows[0][0] + 1, rows[1:]
        for row in rows:
            if row[0] != expected or row[8] != _digest(previous, *row[:8]):
                raise LedgerFault(
                    f"the ledger {self.path} was altered at record {expected}",
                    cause="its hash chain does not hold there, so what it says from there on cannot be trusted",
                    fix=f"keep a copy of {self.path}; then restore it from a backup or start a new one with another XGW_HOME",
                )
            previous, expected = row[8], expected + 1
        return len(rows)

    def _state_of(self, attempt: int) -> str:
        sql = (
            f"SELECT kind FROM record WHERE attempt = ? AND kind NOT IN ({_marks(NOTES)}) ORDER BY serial DESC LIMIT 1"  # noqa: S608
        )
        row = self._db.execute(sql, (attempt, *sorted(NOTES))).fetchone() if attempt else None
        return str(row[0]) if row else ""

    def _last_hash(self) -> str:
        row = self._db.execute("SELECT hash FROM record ORDER BY serial DESC LIMIT 1").fetchone()
        return str(row[0]) if row else GENESIS

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # a full disk has ended it already
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def who() -> str:
    """The person at the keyboard, as runs and locks name them."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    # Bytes that are no text (a name in another encoding) could not be written down.
    return f"{user}@{socket.gethostname()}".encode("utf-8", "backslashreplace").decode()


def _marks(values: Collection[str]) -> str:
    return ",".join("?" * len(values))


def _folded(records: list[Record]) -> list[Attempt]:
    groups: dict[int, list[Record]] = {}
    for record in records:
        groups.setdefault(record.attempt, []).append(record)
    return [_fold(group) for group in groups.values()]


def _fold(records: list[Record]) -> Attempt:
    moves = [record for record in records if record.kind not in NOTES]
    first, last = moves[0], moves[-1]
    undone = {role for record in records if record.kind == "undone" for role in record.body["roles"]}
    return Attempt(
        id=first.attempt,
        run=first.run,
        step=first.step,
        state=last.kind,
        deltas=tuple(delta for delta in first.body["deltas"] if delta["role"] not in undone),
        evidence=tuple(record.body for record in records if record.kind == "evidence"),
        why=str(last.body.get("why", "")),
        at=last.at,
        paused_at=str(last.body.get("at", "")),
    )


def _made(record: Record) -> tuple[list[Any], str]:
    """The revisions that a record names as its own, and what for, in words."""
    body = record.body
    if record.kind == "intended":
        return [delta["revision"] for delta in body["deltas"]], f"step {record.step}"
    if record.kind == "pin":
        return [body["revision"]] if "revision" in body else [], "rollback"  # older ledgers do not say it
    kept = body.get("left", ())  # there the traffic stayed by name on what served: nothing was made that serves
    serving = [name for role, name in body.get("serving", {}).items() if role not in kept]
    return serving, f"put back step {record.step}"


def _record(row: tuple[Any, ...]) -> Record:
    serial, at, target, run, attempt, step, kind, text, digest = row
    return Record(serial, at, target, run, attempt, step, kind, json.loads(text), digest)


def _canonical(body: Mapping[str, Any]) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _digest(previous: str, *columns: object) -> str:
    return hashlib.sha256(_canonical({"previous": previous, "record": columns}).encode()).hexdigest()
