"""The nouns of a journal: what an import was told, and what became of its rows. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from gateway_runtime.contacts.model import Contact
from xgw.errors import Conflict


@dataclass(frozen=True)
class Run:
    """What an import was told and what it found; nothing of it ever changes.

    `family` is the id that all shards of one import share; without shards it is the id. `options` are those that decide what
    becomes of a row: resuming with others is refused. `sheet` is what was found out about the file.
    """

    id: str
    family: str
    shard: int
    shards: int
    at: str
    made: int
    who: str
    file: str
    size: int
    sha256: str
    tenant: str
    store: str
    batch_size: int
    options: Mapping[str, Any]
    sheet: Mapping[str, Any]


@dataclass(frozen=True)
class Counts:
    """Rows by what became of them. They balance when every row that was read is in exactly one of the others."""

    read: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicate: int = 0
    rejected: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def balanced(self) -> bool:
        """True when no row is missing and none counted twice."""
        return self.read == self.created + self.updated + self.unchanged + self.duplicate + self.rejected


@dataclass(frozen=True)
class State:
    """How far a run is: "open", "done", "undoing" (begun, not ended) or "undone"; "left" for another one; "mixed" when its file
    changed under its hands. `note` says why it stopped when it did."""

    state: str
    ended: str
    note: str


@dataclass(frozen=True)
class Slice:
    """Some rows of the file: batch `n`, from row `first` on, and the positions it lies between."""

    n: int
    first: int
    rows: int
    start: Mapping[str, int]
    stop: Mapping[str, int]


@dataclass(frozen=True)
class Refused:
    """A rejected row as it is kept. `body` holds line, byte, column, reason and example; `raw` the bytes of the row."""

    row: int
    code: str
    body: Mapping[str, Any]
    raw: bytes


@dataclass(frozen=True)
class Fate:
    """What became of one batch. `made` are the rows that were created; `claims` the ids (and rows) that belong to a row which
    left no mark in the store."""

    counts: Counts
    made: Sequence[int]
    refused: Sequence[Refused] = ()
    claims: Sequence[tuple[str, int]] = field(default=())


@dataclass(frozen=True)
class Sent:
    """A batch as undo needs it: its rows and their ids, which of them were created (all that were sent, while that is not
    known), and the pictures."""

    n: int
    settled: bool
    made: Mapping[int, str]
    pictures: Mapping[int, Contact]


def pictured(contact: Contact) -> str:
    """A contact as text; its version is the store's and not kept."""
    found = {f.name: getattr(contact, f.name) for f in fields(contact) if f.name not in ("version", "custom_fields")}
    return json.dumps({**found, "custom_fields": dict(contact.custom_fields)}, separators=(",", ":"))


def contact_pictured(text: str) -> Contact:
    """The contact in a text of `pictured`."""
    return Contact(**json.loads(text))


def resumable(run: Run, wished: Run) -> None:
    """Conflict when what is wished now differs from what the run was begun with."""
    if run.sha256 != wished.sha256 or run.size != wished.size:
        raise Conflict(
            f"the file changed since import {run.id} began",
            cause=f"then {run.size} bytes, sha256 {run.sha256[:12]}…; now {wished.size} bytes, sha256 {wished.sha256[:12]}…",
            fix="give the same file again, or start anew with --restart: rows that are there count as unchanged",
        )
    before, after = _decisive(run), _decisive(wished)
    if differing := sorted(name for name in before | after if before.get(name) != after.get(name)):
        raise Conflict(
            f"import {run.id} was begun with other options: {', '.join(differing)}",
            cause="one import treats all its rows alike"
            + ("; another version of xgw may read this header in another way" if "mapping" in differing else ""),
            fix="give the same options again, or start anew with --restart",
        )


_ENDS = {
    "mixed": (
        "may hold rows of two files and cannot go on",
        "the file was written to while it was read",
        "xgw contacts undo {} takes back what was written; then import a copy of the file",
    ),
    "undoing": (
        "is half undone and cannot go on",
        "an undo of it was begun, and broke off or is still at work",
        "xgw contacts undo {} finishes that; then import the file again",
    ),
    "undone": (
        "was taken back",
        "somebody has undone it since it began",
        "import the file again, a job with a new execution",
    ),
    "left": (
        "was left for a new one",
        "somebody has begun it anew with --restart",
        "xgw contacts imports shows the new one",
    ),
}
"""States of a run that can neither go on nor count as done: why, the cause, what to do."""
OVER = ("mixed", "undoing")
"""Those of them that somebody has to put an end to."""


def require_no_end(run: Run, state: str) -> None:
    """Conflict for a run that can neither go on nor count as done."""
    if state in _ENDS:
        why, cause, fix = _ENDS[state]
        raise Conflict(f"import {run.id} of this file {why}", cause=cause, fix=fix.format(run.family))


def _decisive(run: Run) -> dict[str, Any]:
    told = json.loads(
        json.dumps({**run.options, "batch_size": run.batch_size, "tenant": run.tenant, "store": run.store})
    )
    return dict(told)
