"""Bulk writes: rows become requests cut by count and bytes, and the statuses that come back become outcomes.

Where a row was refused, the stored document decides what became of it: `looked`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import grpc
from google.cloud.firestore_v1.types import firestore

from gateway_runtime.contacts.firestore.documents import FIELDS, fill, put_version
from gateway_runtime.contacts.model import Contact
from gateway_runtime.contacts.store import Outcome, Write, Written

MOST_ROWS, MOST_BYTES = 500, 2 * 1024 * 1024 - 16 * 1024
"""Of one BatchWrite: 500 rows are the fastest, and the emulator takes no request above 4 MiB (Firestore: 10 MiB)."""
LARGEST = 1_000_000
"""Bytes of one document as it is sent; Firestore keeps 1 MiB."""

_REQUEST = firestore.BatchWriteRequest.pb()
_Code = grpc.StatusCode


@dataclass(slots=True)
class Row:
    """One row on its way. `look`: it was refused, and what stands there decides; `tried`: an attempt ended without an answer
    about it, so that it may have been written; `alone`: it was in a request of which one row is invalid, nobody knows which."""

    kind: Literal["create", "replace", "remove"]
    id: str
    name: str
    contact: Contact | None
    version: str = ""
    look: bool = False
    tried: bool = False
    alone: bool = False
    written: Written | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """What stands there: which write made it, and its version."""

    mark: str
    version: str


def row_of(write: Write, name: str) -> Row:
    """The row of a Write, for the document of that name."""
    contact = None if write.kind == "remove" else write.contact
    return Row(write.kind, write.contact.id, name, contact, "" if write.kind == "create" else write.version)


LOOK = frozenset({_Code.ALREADY_EXISTS, _Code.NOT_FOUND, _Code.FAILED_PRECONDITION})
"""Statuses that speak of the document and not of the call: what stands there decides."""


def fill_write(target: Any, row: Row) -> bool:
    """Fill a Write message; False when the row can never hold, because its version is none of ours."""
    if row.contact is None:
        target.delete = row.name
    else:
        fill(target.update, row.name, row.contact)
    if row.kind == "create":
        target.current_document.exists = False
    elif row.version or row.kind == "replace":
        if not put_version(target.current_document.update_time, row.version):
            return False
        if row.kind == "replace":
            target.update_mask.field_paths.extend(FIELDS)
    else:
        target.current_document.exists = True
    return True


def requests(database: str, rows: Sequence[Row]) -> Iterator[tuple[Any, list[Row]]]:
    """The rows as BatchWrite requests, each with its rows. Left out is what is too large, and a version that cannot be one:
    the first has its outcome, the second is to be looked at."""
    request, inside, size = _REQUEST(database=database), list[Row](), 0
    for row in rows:
        write = request.writes.add()
        holds = fill_write(write, row)
        bytes_ = write.ByteSize() + 6
        if not holds or bytes_ > LARGEST:
            del request.writes[-1]
            row.look = not holds
            row.written = Written(Outcome.TOO_LARGE) if holds else None
            continue
        if inside and (len(inside) == MOST_ROWS or size + bytes_ > MOST_BYTES or row.alone or inside[-1].alone):
            following = _REQUEST(database=database)
            following.writes.add().CopyFrom(write)
            del request.writes[-1]
            yield request, inside
            request, inside, size = following, [], 0
        inside.append(row)
        size += bytes_
    if inside:
        yield request, inside


def looked(row: Row, found: Stored | None) -> Written | None:
    """The outcome of a row that did not go through, by what stands there now; None when it should be tried again."""
    if found is None:
        if row.kind == "create":
            return None
        # An earlier attempt may have been the one that removed it.
        return Written(Outcome.DONE if row.kind == "remove" and row.tried else Outcome.GONE)
    if row.contact is not None and row.contact.mark and found.mark == row.contact.mark:
        return Written(Outcome.DONE, found.version)
    if row.kind == "create":
        return Written(Outcome.EXISTS, found.version)
    if found.version == row.version or (row.kind == "remove" and not row.version):
        return None
    return Written(Outcome.CHANGED, found.version)
