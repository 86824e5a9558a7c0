"""Taking an import back: what it created goes, what it changed becomes what it was, and what somebody touched since stays.

The store's marks decide. A contact is the import's as long as it carries the mark of the row that wrote it. Every write
holds only for the version that was looked at, so nobody's change is lost; and every batch is recorded when it is done, so
that an undo that was killed goes on where it was and does nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from gateway_runtime.contacts.model import Contact
from gateway_runtime.contacts.store import Outcome, Write
from xgw.faults import reach
from xgw.importer.entries import Sent
from xgw.importer.journal import Journal
from xgw.importer.run import Interrupted, Recorder
from xgw.importer.writing import ROUNDS, Rows, family_of

CHANGED, DELETED = "changed since", "deleted since"
"""Why a row is left alone."""
CHUNK = 500


@dataclass
class _Tally:
    removed: int
    restored: int
    left: list[tuple[int, str, str]]


async def take_back(
    journal: Journal,
    store: Rows,
    record: Recorder,
    *,
    who: str,
    displaced: Collection[int] = (),
    tell: Callable[[int, int, int], None] = lambda done, all, rows: None,
    stopping: Callable[[], bool] = lambda: False,
) -> None:
    """Undoes everything in the journal that is not undone yet, but for rows whose place another shard took (`displaced`); what
    was left alone is looked at again: an undo of what came after may have put it back. StoreFault, Interrupted: run it again."""
    await record(lambda journal: journal.undoing(who))
    reach("undo-recorded")
    batches = await record(lambda journal: journal.undo_numbers())
    rows = 0
    for done, n in enumerate(batches):
        if stopping():
            raise Interrupted("stopped as asked, between two batches")
        sent = await record(lambda journal, n=n: journal.to_undo(n))  # type: ignore[misc]
        tally = await _batch(journal, store, sent, displaced)
        reach("undo-sent")
        await record(lambda journal, n=n, t=tally: journal.undone(n, t.removed, t.restored, t.left))  # type: ignore[misc]
        reach("undo-settled")
        rows += tally.removed + tally.restored + len(tally.left)
        tell(done + 1, len(batches), rows)
    await record(lambda journal: journal.undo_ended())


async def _batch(journal: Journal, store: Rows, sent: Sent, displaced: Collection[int]) -> _Tally:
    tally = _Tally(0, 0, [])
    rows: dict[int, str | Contact] = {**sent.made, **sent.pictures}
    rows = {row: what for row, what in rows.items() if row not in displaced}
    numbers = sorted(rows, reverse=True)
    for at in range(0, len(numbers), CHUNK):
        chunk = {row: rows[row] for row in numbers[at : at + CHUNK]}
        for _ in range(ROUNDS):
            if chunk:
                chunk = await _look(journal, store, sent, chunk, tally)
        tally.left += [(row, _id(what), CHANGED) for row, what in chunk.items()]
    return tally


async def _look(
    journal: Journal, store: Rows, sent: Sent, rows: dict[int, str | Contact], tally: _Tally
) -> dict[int, str | Contact]:
    """Puts back what can be; the rows that changed under our hands."""
    tenant, family = journal.run.tenant, journal.run.family
    stored = await store.get_many(tenant, list({_id(what) for what in rows.values()}))
    writes: list[Write] = []
    order: list[int] = []
    for row, what in rows.items():
        there = stored.get(_id(what))
        before = what if isinstance(what, Contact) else None
        if there is not None and there.mark == f"{family}:{row}":
            order.append(row)
            writes.append(
                Write("remove", there, there.version)
                if before is None
                else Write("replace", replace(before, version=""), there.version)
            )
        elif before is not None:
            _leave_or_restored(row, before, there, sent, tally)
        elif there is None:
            tally.removed += sent.settled  # by an undo that was killed, or by somebody: it is gone as it should be
        elif sent.settled and family_of(there.mark) != family:
            tally.left.append((row, there.id, CHANGED))
    again = {}
    for row, write, written in zip(order, writes, await store.write(tenant, writes) if writes else [], strict=True):
        if written.outcome not in ((Outcome.DONE, Outcome.GONE) if write.kind == "remove" else (Outcome.DONE,)):
            again[row] = rows[row]
        elif write.kind == "replace":
            tally.restored += 1
        else:
            tally.removed += 1
    return again


def _leave_or_restored(row: int, before: Contact, there: Contact | None, sent: Sent, tally: _Tally) -> None:
    """A contact that the import changed and that does not carry its mark: put back by an undo that was killed, or touched."""
    if there == before:
        tally.restored += sent.settled
    elif sent.settled:
        tally.left.append((row, before.id, CHANGED if there is not None else DELETED))


def _id(what: str | Contact) -> str:
    return what.id if isinstance(what, Contact) else what
