"""Contacts out of a store, page by page: as CSV that a spreadsheet cannot be hurt by and that imports again, or as JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

from gateway_runtime.contacts.model import Contact, shown
from gateway_runtime.contacts.store import ContactStore
from xgw.importer.columns import CUSTOM, OWN_COLUMNS
from xgw.importer.neutral import neutral

PAGE = 500
_TO_QUOTE = re.compile('[",;\t\r\n]')
"""In quotes goes also what holds another delimiter: whoever opens the file with that one gets text and not the next cell."""


async def pages(store: ContactStore, tenant: str, *, status: str = "", type: str = "") -> AsyncIterator[list[Contact]]:
    """All contacts of a tenant in order of their ids. What is added meanwhile may be missed; nothing is told twice."""
    after = ""
    while True:
        page = await store.page(tenant, limit=PAGE, status=status, type=type, after=after)
        if page.items:
            yield list(page.items)
            after = page.items[-1].id
        if not page.has_more:
            return


async def custom_names(store: ContactStore, tenant: str, *, status: str = "", type: str = "") -> list[str]:
    """The custom fields that any of these contacts has: the columns of a CSV must be known before its first row."""
    names: set[str] = set()
    async for page in pages(store, tenant, status=status, type=type):
        for contact in page:
            names.update(contact.custom_fields)
    return sorted(names)


def csv_head(custom: list[str]) -> str:
    """The header line."""
    return _line([*OWN_COLUMNS, *(CUSTOM + name for name in custom)])


def csv_row(contact: Contact, custom: list[str]) -> str:
    """One contact; a cell that would be a formula is neutralised, and read back as it was. A custom field that came up after
    the header was written is left out."""
    found = shown(contact)
    fields = contact.custom_fields
    return _line([*(_cell(found[name]) for name in OWN_COLUMNS), *(_cell(fields.get(name)) for name in custom)])


def json_row(contact: Contact) -> str:
    """One contact as the API shows it, on one line."""
    return json.dumps(shown(contact), ensure_ascii=True, separators=(",", ":")) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return neutral(value) if isinstance(value, str) else str(value)


def _line(cells: list[str]) -> str:
    return ",".join([_quoted(cell) if _TO_QUOTE.search(cell) else cell for cell in cells]) + "\r\n"


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'
