"""The queries, and with them every index that Firestore needs: firestore.indexes.json is held against FILTERS by a test."""

from __future__ import annotations

from typing import Any

from google.cloud.firestore_v1.types import query

from gateway_runtime.contacts.firestore.documents import CONTACTS

FILTERS: tuple[tuple[str, ...], ...] = ((), ("status",), ("type",), ("status", "type"))
"""Which fields a query may hold equal, together. Nothing else is ever asked, and the only order is that of the names."""
COUNTED = "n"

_QUERY = query.StructuredQuery.pb()
_COUNT = query.StructuredAggregationQuery.pb()
_EQUAL = query.StructuredQuery.FieldFilter.Operator.EQUAL.value
_AND = query.StructuredQuery.CompositeFilter.Operator.AND.value
_ASCENDING = query.StructuredQuery.Direction.ASCENDING.value


def _filtered(**equal: str) -> Any:
    if tuple(equal) not in FILTERS:
        raise ValueError(f"no index is there for {tuple(equal)}")
    asked = _QUERY()
    asked.from_.add().collection_id = CONTACTS
    parts = [asked.where] if len(equal) == 1 else []
    if len(equal) > 1:
        asked.where.composite_filter.op = _AND
        parts = [asked.where.composite_filter.filters.add() for _ in equal]
    for part, (field, value) in zip(parts, equal.items(), strict=True):
        part.field_filter.field.field_path = field
        part.field_filter.op = _EQUAL
        part.field_filter.value.string_value = value
    return asked


def page_query(*, limit: int, after: str, **equal: str) -> Any:
    """The first `limit` documents (0: all) in order of their names, from behind the document named `after`."""
    asked = _filtered(**equal)
    order = asked.order_by.add()
    order.field.field_path = "__name__"
    order.direction = _ASCENDING
    if limit:
        asked.limit.value = limit
    if after:
        asked.start_at.before = False
        asked.start_at.values.add().reference_value = after
    return asked


def count_query(**equal: str) -> Any:
    """How many documents there are."""
    asked = _COUNT()
    asked.structured_query.CopyFrom(_filtered(**equal))
    counted = asked.aggregations.add()
    counted.alias = COUNTED
    counted.count.SetInParent()
    return asked
