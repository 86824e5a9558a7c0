"""firestore.indexes.json against the queries the store can make. Production refuses a query without its index; the emulator
answers it all the same, so nothing but this would tell."""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from gateway_runtime.contacts.firestore.documents import CONTACTS, FIELDS, RECEIPT_FIELDS, RECEIPTS
from gateway_runtime.contacts.firestore.queries import FILTERS, count_query, page_query
from gateway_runtime.contacts.firestore.store import _equal

ROOT = Path(__file__).resolve().parents[3]
PATH = "gateway_runtime/contacts/firestore/firestore.indexes.json"
SHIPPED: dict[str, Any] = json.loads((ROOT / PATH).read_text())
ONE = [{"order": "ASCENDING", "queryScope": "COLLECTION"}]


def faults(shipped: dict[str, Any]) -> list[str]:
    """What the file lacks, and what it holds that nothing needs."""
    composite = {
        tuple((field["fieldPath"], field["order"]) for field in index["fields"])
        for index in shipped["indexes"]
        if (index["collectionGroup"], index["queryScope"]) == (CONTACTS, "COLLECTION")
    }
    single = {(each["collectionGroup"], each["fieldPath"]): each["indexes"] for each in shipped["fieldOverrides"]}
    needed = {tuple((field, "ASCENDING") for field in asked) for asked in FILTERS if len(asked) > 1}
    alone = {asked[0] for asked in FILTERS if len(asked) == 1}
    found = [f"no index for {asked}" for asked in needed - composite]
    found += [f"nobody asks for {asked}" for asked in composite - needed]
    for field in FIELDS:
        if single.get((CONTACTS, field)) != (ONE if field in alone else []):
            found.append(f"{CONTACTS}.{field} is indexed otherwise than it is asked for")
    found += [f"{RECEIPTS}.{field} is indexed" for field in RECEIPT_FIELDS if single.get((RECEIPTS, field)) != []]
    known = {(CONTACTS, field) for field in FIELDS} | {(RECEIPTS, field) for field in RECEIPT_FIELDS}
    found += [f"there is no field {field}" for field in single.keys() - known]
    expiry = [each["fieldPath"] for each in shipped["fieldOverrides"] if each.get("ttl")]
    return found + ([] if expiry == ["expireAt"] else ["receipts are never removed"])


def test_every_query_has_its_index_and_no_other_field_is_indexed() -> None:
    assert faults(SHIPPED) == []


@pytest.mark.parametrize(
    ("part", "index"), [(part, index) for part in ("indexes", "fieldOverrides") for index in range(len(SHIPPED[part]))]
)
def test_without_any_one_entry_it_would_be_told(part: str, index: int) -> None:
    less = copy.deepcopy(SHIPPED)
    del less[part][index]
    assert faults(less)


def test_an_index_that_nobody_needs_is_told() -> None:
    more = copy.deepcopy(SHIPPED)
    more["fieldOverrides"][2]["indexes"] = ONE
    assert faults(more)


def test_what_the_store_asks_is_what_the_table_says() -> None:
    asked = [_equal(status, type) for status, type in itertools.product(("", "active"), ("", "person"))]
    assert {tuple(equal) for equal in asked} == set(FILTERS)
    for equal in asked:
        query = page_query(limit=5, after="", **equal)
        filters = [query.where] if len(equal) == 1 else list(query.where.composite_filter.filters)
        fields = [each.field_filter.field.field_path for each in filters if each.HasField("field_filter")]
        assert tuple(fields) == tuple(equal)
        assert [(order.field.field_path, order.direction) for order in query.order_by] == [("__name__", 1)]
        assert count_query(**equal).structured_query.where == query.where


def test_a_query_that_the_table_does_not_know_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="no index"):
        page_query(limit=1, after="", source="fair")
    with pytest.raises(ValueError, match="no index"):
        count_query(type="person", status="active")


def test_firebase_finds_the_file() -> None:
    assert json.loads((ROOT / "firebase.json").read_text())["firestore"]["indexes"] == PATH
