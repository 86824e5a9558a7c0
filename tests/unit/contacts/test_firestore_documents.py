from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
from google.cloud.firestore_v1.types import document, firestore
from hypothesis import given
from hypothesis import strategies as st

from gateway_runtime.contacts.firestore import documents
from gateway_runtime.contacts.firestore.rows import MOST_BYTES, MOST_ROWS, Row, requests
from gateway_runtime.contacts.model import Contact
from gateway_runtime.contacts.store import Outcome

IDS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True) | st.from_regex(r"__[A-Za-z0-9_-]{0,6}", fullmatch=True)
PLAIN = Contact("a", "person", "N", "", "lead", "active", "s", 0, 0, 0, 1, 2, "", {}, "m")


def allowed(segment: str) -> bool:
    special = segment in (".", "..") or (segment.startswith("__") and segment.endswith("__"))
    return bool(segment) and "/" not in segment and not special and len(segment.encode()) <= 1500


@given(
    st.text(max_size=800, alphabet=st.characters(exclude_categories=("Cs",))), st.text(max_size=3, alphabet="._%=/a")
)
def test_any_name_becomes_a_segment_that_firestore_takes(long: str, short: str) -> None:
    assert allowed(documents.segment(long))
    assert allowed(documents.segment(short))


@given(st.lists(st.text(max_size=4, alphabet="._%=/a2EF"), unique=True, min_size=2))
def test_different_names_stay_different(names: list[str]) -> None:
    assert len({documents.segment(name) for name in names}) == len(names)


@pytest.mark.parametrize("name", ["", ".", "..", "__a__", "__", "a/b", "é" * 751, "=" + "0" * 64])
def test_what_firestore_forbids_is_encoded(name: str) -> None:
    found = documents.segment(name)
    assert allowed(found)
    assert found != name


@given(st.lists(IDS, unique=True))
def test_ids_keep_their_order_and_come_back(ids: list[str]) -> None:
    segments = [documents.id_segment(id) for id in ids]
    assert all(map(allowed, segments))
    assert sorted(segments, key=str.encode) == [documents.id_segment(id) for id in sorted(ids, key=str.encode)]
    assert [documents.id_of(f"a/b/{segment}") for segment in segments] == ids


@pytest.mark.parametrize(
    "version", ["", "x", "1.5", "1", "-1.000000000", "1.0000000000", "9" * 40 + ".000000000", "١.000000000"]
)
def test_what_never_was_a_version_is_none(version: str) -> None:
    assert not documents.put_version(document.Document.pb()().update_time, version)


def test_a_document_of_somebody_else_can_be_read() -> None:
    made = document.Document.pb()(name="p/contacts/uuid-1")
    made.create_time.seconds = 7
    made.fields["name"].string_value = "Ada"
    made.fields["interactionCount"].string_value = "many"
    made.fields["tenantId"].string_value = "t"
    nested = made.fields["customFields"].map_value.fields
    nested["tags"].array_value.values.add().string_value = "a"
    nested["more"].map_value.fields["x"].integer_value = 1
    found = documents.contact_of(made)
    assert (found.id, found.name, found.type, found.interaction_count) == ("uuid-1", "Ada", "person", 0)
    assert found.created_at == 7_000_000
    assert found.custom_fields == {"tags": '["a"]', "more": '{"x":1}'}


@given(st.lists(st.integers(0, 60_000), max_size=40))
def test_requests_keep_every_row_once_in_order_and_within_the_bounds(sizes: list[int]) -> None:
    rows = [
        Row("create", str(n), f"d/{n}", dataclasses.replace(PLAIN, custom_fields={"k": "x" * size}))
        for n, size in enumerate(sizes)
    ]
    cut = list(requests("d", rows))
    assert [row for _, inside in cut for row in inside] == rows
    for request, inside in cut:
        assert [write.update.name for write in request.writes] == [row.name for row in inside]
        assert request.ByteSize() <= MOST_BYTES + 100
        assert len(inside) <= MOST_ROWS


def test_five_hundred_rows_are_one_request_and_a_giant_is_left_out() -> None:
    rows = [Row("create", str(n), f"d/{n}", PLAIN) for n in range(1001)]
    rows[3].contact = dataclasses.replace(PLAIN, custom_fields={"k": "x" * 1_000_000})
    assert [len(inside) for _, inside in requests("d", rows)] == [500, 500]
    assert rows[3].written is not None
    assert rows[3].written.outcome is Outcome.TOO_LARGE


def test_a_replace_leaves_fields_of_others_alone() -> None:
    row = Row("replace", "a", "d/a", PLAIN, "1.000000001")
    ((request, _),) = requests("d", [row])
    assert set(request.writes[0].update_mask.field_paths) == set(documents.FIELDS)
    assert isinstance(firestore.BatchWriteRequest.wrap(request), firestore.BatchWriteRequest)


def test_nothing_of_google_is_imported_until_a_firestore_is_wanted() -> None:
    code = (
        "import sys, gateway_runtime.app, gateway_runtime.roles.crm\n"
        "from gateway_runtime.contacts.stores import store_of\n"
        "store_of('sqlite:///tmp/none.db')\n"
        "print([name for name in sys.modules if name in ('google.cloud', 'grpc', 'google.protobuf')])\n"
        "store_of('firestore://project')\n"
        "print('grpc' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240)
    assert done.stdout.split() == ["[]", "True"]
