"""One batch against the store: every row gets exactly one fate, and the store's marks decide what is in doubt.

A row is sent as a create. Where a contact is there already, its mark says who wrote it: this very row (an earlier attempt
whose answer was lost, or a run that was killed), an earlier row of this import (a duplicate), a later one (another shard
was faster: the earlier row takes its place), or somebody else (then the policy decides). Batches may be on their way at the
same time; two that hold the same id never are (xgw.importer.run).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from gateway_runtime.contacts.model import Contact, id_for
from gateway_runtime.contacts.store import Outcome, Write, Written
from xgw.errors import XgwError
from xgw.faults import reach
from xgw.importer.entries import Counts, Fate, Refused, Slice
from xgw.importer.journal import Journal
from xgw.importer.policy import Policy, merged, says_the_same, too_many
from xgw.importer.ramp import Ramp
from xgw.importer.reasons import REASONS

T = TypeVar("T")
ROUNDS = 6
"""How often a contact that somebody else changes meanwhile is read again before the row is given up."""
CONTENDED, TOO_LARGE, NOT_STORABLE, TOO_MANY = "CONTENDED", "TOO_LARGE", "NOT_STORABLE", "TOO_MANY"
_NOT_TAKEN = {Outcome.TOO_LARGE: TOO_LARGE, Outcome.INVALID: NOT_STORABLE}
"""Outcomes of a row that the store will never have."""


class Rows(Protocol):
    """What an import needs of a store."""

    async def get_many(self, tenant: str, ids: Sequence[str]) -> dict[str, Contact]:
        """As ContactStore."""
        ...

    async def write(self, tenant: str, writes: Sequence[Write]) -> list[Written]:
        """As ContactStore."""
        ...


class Record(Protocol):
    """The journal, from the event loop: the work is done in its thread, and durable when this returns."""

    async def __call__(self, work: Callable[[Journal], T], /) -> T:
        """See above."""
        ...


class DuplicateFound(XgwError):
    """A row is a duplicate, and --on-duplicate fail was asked for. Everything before it stands; undo takes it back."""


@dataclass(frozen=True)
class Prepared:
    """A batch that was read and checked: the rows to be written, those that were refused, and for a row number the fields
    it says something about."""

    part: Slice
    rows: Sequence[tuple[int, Contact]]
    refused: Sequence[Refused]
    given: Callable[[int], Collection[str]]
    refuse: Callable[[int, str, str], Refused]
    """(row, code, reason) -> the reject for a row that the store would not have."""
    ids: Mapping[int, str] = field(default_factory=dict)
    """Rows of an export of ours -> the id that the contact had, where another one follows from the row."""


@dataclass
class _Open:
    """A batch while its rows find their fates."""

    batch: Prepared
    created: list[int] = field(default_factory=list)
    updated: list[int] = field(default_factory=list)
    unchanged: int = 0
    duplicate: int = 0
    refused: list[Refused] = field(default_factory=list)
    claims: list[tuple[str, int]] = field(default_factory=list)
    pictures: dict[int, Contact] = field(default_factory=dict)

    def refuse(self, row: int, code: str) -> None:
        self.refused.append(self.batch.refuse(row, code, REASONS[code].text))

    def fate(self) -> Fate:
        refused = [*self.batch.refused, *self.refused]
        made = len(self.created), len(self.updated), self.unchanged, self.duplicate, len(refused)
        return Fate(Counts(self.batch.part.rows, *made), self.created, refused, self.claims)


@dataclass(frozen=True)
class Writer:
    """Brings batches of one run into a store. `resumed`: an earlier process may have sent some of them."""

    store: Rows
    record: Record
    tenant: str
    family: str
    policy: Policy
    ramp: Ramp
    resumed: bool

    async def settle(self, batch: Prepared) -> Fate:
        """Writes a batch and records what became of it. On a fault of the store the batch stays unsettled, and is sent again
        by whoever resumes."""
        part, work = batch.part, _Open(batch)
        rows = self._firsts(work, await self._recognised(batch))
        if self.resumed:
            work.pictures = await self.record(lambda journal: journal.pictures(part.n))
        await self.record(lambda journal: journal.intend(part, [(row, contact.id) for row, contact in rows]))
        reach("batch-intended")
        doubtful = [(row, contact) for row, contact in rows if row in work.pictures]
        doubtful += await self._create(work, [(row, contact) for row, contact in rows if row not in work.pictures])
        reach("batch-sent")
        for _ in range(ROUNDS):
            if not doubtful:
                break
            doubtful = await self._look(work, doubtful)
        for row, _ in doubtful:
            work.refuse(row, CONTENDED)
        if spare := work.pictures.keys() - set(work.updated):  # others were faster, or the change was not to be
            await self.record(lambda journal: journal.forget(spare))
        fate = work.fate()
        await self.record(lambda journal: journal.settle(part.n, fate))
        reach("batch-settled")
        return fate

    async def _recognised(self, batch: Prepared) -> Sequence[tuple[int, Contact]]:
        """The rows; those of an export of ours under the id of the contact they were made of, if it is here.

        The contact with the row's id and address comes first, then the one whose id follows from the address and that has it
        still, then the one with the row's id, whose address is another now. What another row of this import wrote is not it.
        """
        if not batch.ids:
            return batch.rows
        ids = {contact.id for row, contact in batch.rows if row in batch.ids} | set(batch.ids.values())
        stored = await self.store.get_many(self.tenant, list(ids))

        def recognised(row: int, contact: Contact) -> Contact:
            had, here = stored.get(batch.ids.get(row, "")), stored.get(contact.id)
            if had is None or (family_of(had.mark) == self.family and had.mark != contact.mark):
                return contact
            if not self._one_address(had, contact) and here is not None and self._one_address(here, contact):
                return contact
            return replace(contact, id=had.id)

        return [(row, recognised(row, contact)) for row, contact in batch.rows]

    def _one_address(self, one: Contact, other: Contact) -> bool:
        addresses = one.email, other.email
        return one.email == other.email or (all(addresses) and len({id_for(self.tenant, a) for a in addresses}) == 1)

    def _firsts(self, work: _Open, all_: Sequence[tuple[int, Contact]]) -> list[tuple[int, Contact]]:
        """The rows without those whose contact an earlier row of this batch is."""
        seen: set[str] = set()
        rows = []
        for row, contact in all_:
            if contact.id in seen:
                self._duplicate(work, row)
            else:
                seen.add(contact.id)
                rows.append((row, contact))
        return rows

    async def _create(self, work: _Open, rows: Sequence[tuple[int, Contact]]) -> list[tuple[int, Contact]]:
        """Sends creates; the rows whose contact is there already."""
        there = []
        for (row, contact), written in zip(rows, await self._send([Write("create", c) for _, c in rows]), strict=True):
            if written.outcome is Outcome.DONE:
                work.created.append(row)
            elif code := _NOT_TAKEN.get(written.outcome):
                work.refuse(row, code)
            else:
                there.append((row, contact))
        return there

    async def _look(self, work: _Open, rows: Sequence[tuple[int, Contact]]) -> list[tuple[int, Contact]]:
        """Reads what is there and acts on it; the rows that have to be looked at again."""
        ids = [contact.id for _, contact in rows]
        stored = await self.store.get_many(self.tenant, ids)
        claimed = await self.record(lambda journal: journal.claimed(ids))
        creates, replaces, displaced = [], [], []
        for row, contact in rows:
            there = stored.get(contact.id)
            if there is None:
                creates.append((row, contact))
            elif not self.policy.writes and there.mark != contact.mark and self._later(there.mark, row):
                displaced.append((row, contact, there))
            elif (changed := self._judged(work, row, contact, there, claimed)) is not None:
                replaces.append((row, contact, there, changed))
        if gone := [row for row, _ in creates if work.pictures.pop(row, None)]:
            await self.record(lambda journal: journal.forget(gone))
        again = await self._create(work, creates) if creates else []
        again += await self._displace(work, displaced) if displaced else []
        return again + (await self._replace(work, replaces) if replaces else [])

    def _later(self, mark: str, row: int) -> bool:
        """True for the mark of a later row of this import: another shard was faster. The first row of the file wins."""
        return family_of(mark) == self.family and int(mark.rpartition(":")[2]) > row

    async def _displace(self, work: _Open, rows: Sequence[tuple[int, Contact, Contact]]) -> list[tuple[int, Contact]]:
        """Puts rows in the place of later ones that another shard has created; the rows to look at again."""
        losers = [(int(there.mark.rpartition(":")[2]), row) for row, _, there in rows]
        await self.record(lambda journal: journal.displace(losers))
        late = []
        writes = [Write("replace", contact, there.version) for _, contact, there in rows]
        for (row, contact, _), written in zip(rows, await self._send(writes), strict=True):
            if written.outcome is Outcome.DONE:
                work.created.append(row)
            elif code := _NOT_TAKEN.get(written.outcome):
                work.refuse(row, code)
            else:
                late.append((row, contact))
        if spared := {row for row, _, _ in rows}.difference(work.created):
            await self.record(lambda journal: journal.displace([], list(spared)))
        return late

    def _judged(
        self, work: _Open, row: int, contact: Contact, there: Contact, claimed: Mapping[str, int]
    ) -> Contact | None:
        """Gives the row its fate, or returns what the contact has to become."""
        if there.mark == contact.mark:  # this row wrote it, and its answer was lost
            if row in work.pictures:
                work.updated.append(row)
            else:
                work.created.append(row)
            return None
        if family_of(there.mark) == self.family or claimed.get(contact.id, row) < row:
            self._duplicate(work, row)
            return None
        given = work.batch.given(row)
        if self.policy.writes:
            changed = merged(there, contact, given, self.policy)
            if too_many(there, changed):
                work.refuse(row, TOO_MANY)
                return None
            if changed is not there:
                return changed
        if self.policy.writes or says_the_same(there, contact, given):
            work.unchanged += 1
        else:
            self._duplicate(work, row)
        work.claims.append((contact.id, row))  # it leaves no mark, and later rows must know that it was first
        return None

    async def _replace(
        self, work: _Open, rows: Sequence[tuple[int, Contact, Contact, Contact]]
    ) -> list[tuple[int, Contact]]:
        """Changes contacts that are there, each only in the version that was looked at; the rows that came too late."""
        pictures = [(row, there) for row, _, there, _ in rows]
        await self.record(lambda journal: journal.keep(work.batch.part.n, pictures))
        work.pictures.update(pictures)
        reach("pictures-kept")
        writes = [Write("replace", changed, there.version) for _, _, there, changed in rows]
        late = []
        for (row, contact, _, _), written in zip(rows, await self._send(writes), strict=True):
            if written.outcome is Outcome.DONE:
                work.updated.append(row)
            elif code := _NOT_TAKEN.get(written.outcome):
                work.refuse(row, code)
            else:
                late.append((row, contact))
        reach("updates-sent")
        return late

    async def _send(self, writes: Sequence[Write]) -> list[Written]:
        if not writes:
            return []
        await self.ramp.take(len(writes))
        return await self.store.write(self.tenant, writes)

    def _duplicate(self, work: _Open, row: int) -> None:
        if self.policy.on_duplicate == "fail":
            line = work.batch.refuse(row, CONTENDED, "").body["line"]
            raise DuplicateFound(
                f"line {line:,} is a duplicate, and --on-duplicate fail was asked for",
                cause="an earlier row or a stored contact has the same key, with other values",
                fix="",
            )
        work.duplicate += 1


def family_of(mark: str) -> str:
    """The import that a mark "RUN:ROW" or "FAMILY.SHARD:ROW" names; nothing for the mark of another kind of write."""
    run, colon, _ = mark.partition(":")
    return run.partition(".")[0] if colon else ""
