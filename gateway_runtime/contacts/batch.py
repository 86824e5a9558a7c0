"""Many contacts in one request (plan 3.2): all of them are right and new, or none is stored and the answer names the rows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from gateway_runtime.contacts.model import Contact, InvalidContact, accept
from gateway_runtime.errors import Problem

MOST = 1000
"""Contacts in one request."""
NAMED = 100
"""Rows an answer names at most; it says how many there are."""
_AT_ONCE = 100
"""Rows looked at before other requests get their turn."""


async def rows_of(data: object, *, tenant: str, now: int, by: str, mark: str) -> list[Contact]:
    """The contacts of a batch, in its order; Problem with `rows` when some are wrong or there twice."""
    if not isinstance(data, Mapping) or data.keys() != {"contacts"} or not isinstance(data["contacts"], list):
        raise Problem("VALIDATION_FAILED", 'The body must be {"contacts": [...]}')
    rows = data["contacts"]
    if not 1 <= len(rows) <= MOST:
        raise Problem("VALIDATION_FAILED", f"A batch holds 1 to {MOST} contacts; this one holds {len(rows)}")
    found: list[Contact] = []
    first: dict[str, int] = {}
    wrong: list[dict[str, Any]] = []
    for index, row in enumerate(rows):
        if index % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)
        try:
            contact = accept(row, tenant=tenant, now=now, by=by, mark=mark)
        except InvalidContact as fault:
            wrong.append(named(index, fault.field, fault.code, fault.message))
            continue
        twin = first.setdefault(contact.id, index)
        if twin != index:
            wrong.append(named(index, "email", "DUPLICATE_IN_BATCH", f"is the address of row {twin} too"))
        found.append(contact)
    if wrong:
        raise refused("VALIDATION_FAILED", wrong, len(rows))
    return found


def exist(contacts: Sequence[Contact], ids: Sequence[str]) -> Problem:
    """The rows whose contacts are there already."""
    place = {contact.id: index for index, contact in enumerate(contacts)}
    wrong = [{**named(place[id], "email", "EXISTS", "is the address of a contact that exists"), "id": id} for id in ids]
    return refused("CONFLICT", sorted(wrong, key=lambda row: row["index"]), len(contacts))


def named(index: int, field: str, code: str, message: str) -> dict[str, Any]:
    """One row that will not do, counted from 0."""
    return {"index": index, "field": field, "code": code, "message": message}


def refused(code: str, wrong: Sequence[Mapping[str, Any]], of: int) -> Problem:
    """The refusal of a batch: nothing of it was stored."""
    message = f"{len(wrong)} of {of} contacts cannot be stored, so none was"
    return Problem(code, message, beside={"rejected": len(wrong), "rows": list(wrong[:NAMED])})
