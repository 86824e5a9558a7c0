"""From the file to the store: batches as they are read become batches as they are written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from gateway_runtime.contacts.model import Contact
from xgw.importer.entries import Refused, Slice
from xgw.importer.reading import Batch, batches, shard
from xgw.importer.rejects import Reject, checked
from xgw.importer.sheet import Position, Sheet
from xgw.importer.source import Source
from xgw.importer.validation import Validator
from xgw.importer.writing import Prepared


def slice_of(batch: Batch) -> Slice:
    """The batch by its number: how many rows lie before it, which is the same in every reading of the file."""
    return Slice(batch.start.row, batch.start.row + 1, len(batch.rows), asdict(batch.start), asdict(batch.end))


def prepared(batch: Batch, check: Validator) -> Prepared:
    """The batch, every row of it a contact or a reject."""
    contacts, rejects = checked(batch, check)
    refused = [kept(one) for one in rejects]
    ids = _own_ids(batch, contacts, check) if check.id is not None else {}
    return Prepared(slice_of(batch), contacts, refused, _given(batch, check), _refusing(batch), ids)


def kept(reject: Reject) -> Refused:
    """A reject as the journal keeps it."""
    body: dict[str, Any] = {name: getattr(reject, name) for name in ("line", "byte", "column", "reason", "example")}
    if reject.also:
        body["also"] = list(reject.also)
    return Refused(reject.row, reject.code, body, reject.raw)


def reject_of(refused: Refused) -> Reject:
    """And back."""
    return Reject(row=refused.row, code=refused.code, raw=refused.raw, **refused.body)


def _own_ids(batch: Batch, contacts: Sequence[tuple[int, Contact]], check: Validator) -> dict[int, str]:
    """Of an export of ours: row -> the id that stands there, where it is another than follows from the e-mail."""
    found = {}
    for number, contact in contacts:
        row = batch.rows[number - batch.start.row - 1]
        if row is not None and (id := check.own_id(row)) and id != contact.id:
            found[number] = id
    return found


def _given(batch: Batch, check: Validator) -> Callable[[int], Collection[str]]:
    def given(number: int) -> Collection[str]:
        row = batch.rows[number - batch.start.row - 1]
        assert row is not None, "only rows that became contacts are asked about"
        return check.given(row)

    return given


def _refusing(batch: Batch) -> Callable[[int, str, str], Refused]:
    def refuse(number: int, code: str, reason: str) -> Refused:
        at = number - batch.start.row - 1
        return kept(Reject(number, batch.line(at), batch.span(at)[0], code, "", reason, "", batch.raw(at)))

    return refuse


class Feed:
    """The batches of a file, or of one shard of it, that `settled` does not name. `rows` and `byte` say where reading is;
    `ended` turns true when there is nothing more."""

    def __init__(
        self,
        source: Source,
        sheet: Sheet,
        check: Validator,
        *,
        size: int,
        part: tuple[int, int] | None = None,
        settled: Collection[int] = (),
        start: Position | None = None,
    ) -> None:
        self.source, self._check, self._settled = source, check, settled
        self._batches = (
            shard(source, sheet, part[0], part[1], size=size)
            if part
            else batches(source, sheet, size=size, start=start)
        )
        self.last: Position | None = start
        self.ended = False

    def __iter__(self) -> Iterator[Prepared]:
        for batch in self._batches:
            self.last = batch.end
            if batch.start.row not in self._settled:
                yield prepared(batch, self._check)
        self.ended = True


def unread(source: Source, sheet: Sheet, *, size: int, after: Position | None) -> int:
    """How many rows lie behind a position, counted."""
    return sum(len(batch.rows) for batch in batches(source, sheet, size=size, start=after))
