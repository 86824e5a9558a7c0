"""An export of ours is read back as it was: whatever keys and texts the custom fields have, and however many there are."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway_runtime.contacts.checks import CUSTOM_KEYS, InvalidContact, custom_key, custom_value
from gateway_runtime.contacts.model import Contact, accept
from xgw.importer.export import csv_head, csv_row
from xgw.importer.mapping import choose
from xgw.importer.reading import batches
from xgw.importer.rejects import checked
from xgw.importer.sheet import open_sheet
from xgw.importer.source import open_source
from xgw.importer.validation import Refusal, Validator


def _holds(check: object, text: str) -> bool:
    try:
        check(text)  # type: ignore[operator]
    except InvalidContact:
        return False
    return True


SIGNS = st.text(
    st.sampled_from("ab @.;,\t|\"'=+-1é\u00a0\u200b\ufeff _")
    | st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]),
    min_size=1,
    max_size=8,
)
KEYS = st.one_of(
    SIGNS,
    st.sampled_from(["me@x.com", "5", "2026-01-31", " ", "a b", "a  b", " a", "id", ";id" * 21, "xgw_raw", "n" * 64]),
).filter(lambda text: _holds(custom_key, text))
TEXTS = st.one_of(SIGNS, st.text(st.sampled_from("a\n\r\t\"',;= "), min_size=1, max_size=6)).filter(
    lambda text: _holds(custom_value, text)
)
FIELDS = st.lists(st.dictionaries(KEYS, TEXTS, max_size=6), min_size=1, max_size=4)


def made(fields: Sequence[dict[str, str]]) -> list[Contact]:
    return [
        accept(
            {"name": f"N{n}", "email": f"n{n}@x.com", "customFields": one}, tenant="t", now=1, by="me", mark=f"r:{n}"
        )
        for n, one in enumerate(fields)
    ]


def read_again(contacts: Sequence[Contact]) -> list[Contact | Refusal | str]:
    names = sorted({name for one in contacts for name in one.custom_fields})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export.csv"
        path.write_text(
            csv_head(names) + "".join(csv_row(one, names) for one in contacts), encoding="utf-8", newline=""
        )
        with open_source(str(path), spool=Path(folder)) as source:
            sheet = open_sheet(source)
            check = Validator(choose(sheet.columns), sheet.columns, tenant="t", run="r", now=2, by="you")
            found: list[Contact | Refusal | str] = []
            for batch in batches(source, sheet):
                taken, rejects = checked(batch, check)
                found += [*(one for _, one in taken), *(reject.code for reject in rejects)]
            return found


def told(contacts: Sequence[object]) -> list[object]:
    return [
        (one.id, one.name, one.email, dict(one.custom_fields), one.created_at, one.source)
        if isinstance(one, Contact)
        else one
        for one in contacts
    ]


@settings(max_examples=200, deadline=None)
@example([{"me@x.com": "1"}])
@example([{"a b": "1", "a  b": "2"}])
@example([{" ": "1", " pad ": " "}])
@example([{";id;id;id;id;id;id;id;id;id;id;id;id;id;id;id;id;id;id": "x"}])
@given(FIELDS)
def test_what_was_exported_is_imported_as_it_was(fields: list[dict[str, str]]) -> None:
    contacts = made(fields)
    assert told(read_again(contacts)) == told(contacts)


@pytest.mark.parametrize("of_each", [CUSTOM_KEYS, 40])
def test_contacts_may_have_more_keys_together_than_one_alone(of_each: int) -> None:
    contacts = made([{f"{'k' * 50} {n} {key}": "v" for key in range(of_each)} for n in range(30)])
    assert told(read_again(contacts)) == told(contacts)
