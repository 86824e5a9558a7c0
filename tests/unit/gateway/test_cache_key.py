from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_runtime.cache.key import Question, fingerprint, selected, variant
from gateway_runtime.cache.policy import way_of
from gateway_runtime.layers.accept_encoding import canonical
from tests.helpers.cache_stage import CONTACTS, Instance, Origin, ask

# Short texts over few letters, separators among them: what collides at all collides here.
TEXT = st.text("ab1&=|/:%,;\0\n", max_size=5).map(lambda text: text.encode())
OPTIONAL = st.one_of(st.none(), TEXT)
FIELDS = st.lists(st.tuples(TEXT, st.lists(TEXT, max_size=2).map(tuple)), max_size=2).map(tuple)
QUESTIONS = st.builds(
    Question, space=TEXT, tenant=OPTIONAL, user=OPTIONAL, service=TEXT, method=st.sampled_from((b"GET", b"HEAD")),
    path=TEXT, query=TEXT, fields=FIELDS,
)  # fmt: skip
BASE = Question(
    b"prod", b"acme", b"ada", b"crm", b"GET", b"/api/v2/crm/contacts", b"limit=1", ((b"accept", (b"*/*",)),)
)


@settings(max_examples=400, deadline=None)
@given(QUESTIONS, QUESTIONS)
def test_two_questions_have_one_key_only_if_they_are_the_same(one: Question, other: Question) -> None:
    assert (one.key() == other.key()) == (one == other)


@settings(max_examples=200, deadline=None)
@given(st.lists(OPTIONAL, max_size=4), st.lists(OPTIONAL, max_size=4))
def test_two_lists_of_fields_have_one_fingerprint_only_if_they_are_the_same(
    one: list[bytes | None], other: list[bytes | None]
) -> None:
    assert (fingerprint(one) == fingerprint(other)) == (one == other)


@settings(max_examples=200, deadline=None)
@given(QUESTIONS, st.data())
def test_moving_one_byte_over_a_boundary_changes_the_key(question: Question, data: st.DataObject) -> None:
    names = ("space", "service", "path", "query")
    at = data.draw(st.integers(0, len(names) - 2))
    one, two = getattr(question, names[at]), getattr(question, names[at + 1])
    joined = one + two
    cut = data.draw(st.integers(0, len(joined)))
    moved = replace(question, **{names[at]: joined[:cut], names[at + 1]: joined[cut:]})
    assert (moved.key() == question.key()) == (cut == len(one))


CHANGES: list[dict[str, Any]] = [
    {"tenant": b"other"}, {"tenant": None}, {"tenant": b""}, {"user": b"bob"}, {"user": None}, {"user": b""}, {"space": b"dev"},
    {"service": b"slack"}, {"method": b"HEAD"}, {"path": b"/api/v2/crm/Contacts"}, {"path": b"/api/v2/crm/contacts/"},
    {"query": b"limit=2"}, {"query": b""}, {"query": b"limit%3D1"}, {"query": b"limit=1&limit=1"}, {"query": b"LIMIT=1"},
    {"fields": ((b"accept", (b"text/html",)),)}, {"fields": ((b"accept", ()),)}, {"fields": ()},
    {"fields": ((b"accept", (b"*/*", b"")),)}, {"fields": ((b"accept-language", (b"*/*",)),)},
]  # fmt: skip


def test_every_part_of_the_question_is_in_the_key() -> None:
    keys = {replace(BASE, **change).key() for change in CHANGES}
    assert len(keys | {BASE.key()}) == len(CHANGES) + 1


PAIRS = [
    ((b"a=1&b=2",), (b"a=1%26b=2",)), ((b"a=x|tenant-b",), (b"a=x", b"tenant-b")), ((b"a=1&b=2",), (b"b=2&a=1",)),
    ((b"a=1&a=2",), (b"a=2&a=1",)), ((b"a",), (b"A",)), ((b"",), (None,)), ((b"ab", b"c"), (b"a", b"bc")),
    ((b"+",), (b"%2B",)), ((b"a=1",), (b"a=1&",)), ((b"\x00",), (b"",)),
]  # fmt: skip


def test_the_pairs_that_loose_schemes_mix_up_differ() -> None:
    assert all(fingerprint(one) != fingerprint(other) for one, other in PAIRS)


def documents_key(question: Question, body: object = None) -> str:
    """Plan 3.3's generateCacheKey: object-hash (keys sorted, no types) of method, endpoint, query, body, Content-Type."""
    content_type = next((values for name, values in question.fields if name == b"content-type"), None)
    params = {
        "method": question.method.decode(),
        "endpoint": question.path.decode(),
        "query": dict(parse_qsl(question.query.decode(), keep_blank_values=True)),
        "body": body or {},
        "headers": {"content-type": content_type and content_type[0].decode()},
    }
    digest = hashlib.md5(json.dumps(params, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
    return f"svc:{question.service.decode()}:{digest}"


def test_the_documents_scheme_fails_the_same_test() -> None:
    mixed_up = [change for change in CHANGES if documents_key(replace(BASE, **change)) == documents_key(BASE)]
    assert {"tenant": b"other"} in mixed_up  # tenant B is given tenant A's page
    assert {"user": b"bob"} in mixed_up
    assert {"query": b"limit=1&limit=1"} in mixed_up
    assert {"fields": ((b"accept", (b"text/html",)),)} in mixed_up
    french, german = (replace(BASE, fields=((b"accept-language", (tongue,)),)) for tongue in (b"fr", b"de"))
    assert documents_key(french) == documents_key(german)
    assert french.key() != german.key()


@settings(max_examples=200, deadline=None)
@given(FIELDS, FIELDS, st.lists(st.sampled_from((b"a", b"b", b"x")), min_size=1, max_size=3, unique=True))
def test_a_variants_key_is_equal_only_if_the_fields_it_varies_with_are(
    one: Any, other: Any, names: list[bytes]
) -> None:
    first = [(name, value) for name, values in one for value in values]
    second = [(name, value) for name, values in other for value in values]
    same = selected(first, names) == selected(second, names)
    assert (variant(b"p" * 32, first, names) == variant(b"p" * 32, second, names)) == same


def test_accept_encodings_that_mean_the_same_share_an_answer_and_no_others_do() -> None:
    same = [b"gzip, br", b"br,gzip", b"GZIP;q=1.0,br", b" br ; q=1 , gzip"]
    assert len({canonical([value]) for value in same}) == 1
    different = [
        b"gzip",
        b"br",
        b"gzip, br;q=0.5",
        b"gzip;q=0",
        b"",
        b"*",
        b"identity",
        b"gzip;q=x",
        b"gzip, gzip;q=0",
        b"gzip!;",
    ]
    assert len({canonical([value]) for value in [*different, same[0]]}) == len(different) + 1
    assert selected([], [b"accept-encoding"]) != selected([(b"accept-encoding", b"")], [b"accept-encoding"])


ASKED: list[dict[str, Any]] = [
    {}, {"tenant": "globex"}, {"user": "bob"}, {"tenant": None}, {"path": "/api/v2/slack/contacts"}, {"query": b"a=1&b=2"},
    {"query": b"b=2&a=1"}, {"query": b"a=1%26b=2"}, {"lines": (b"Accept: text/csv",)}, {"lines": (b"Accept-Language: fr",)},
]  # fmt: skip


def test_the_layer_puts_all_of_a_request_into_its_question() -> None:
    async def story() -> set[bytes]:
        gateway, found = Instance(Origin()), set()
        for asked in ASKED:
            for method in ("GET", "HEAD"):
                asking = {"path": CONTACTS, **asked, "method": method}
                request = ask(*asking.pop("lines", ()), **asking)
                way = way_of(gateway.ways, request.path)
                assert way is not None
                search = gateway.cache._search(request, request.path, way)
                assert search is not None
                found.add(search.primary)
        return found

    assert len(asyncio.run(story())) == len(ASKED)  # a HEAD asks what its GET asks
