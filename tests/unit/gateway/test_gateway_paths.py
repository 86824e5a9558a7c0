from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_runtime.errors import Problem
from gateway_runtime.paths import URL_LIMIT, canonical_path

GOOD = {
    b"/": "/",
    b"/health": "/health",
    b"/api/v2/crm/contacts/": "/api/v2/crm/contacts/",
    b"/a.b/..c/d..": "/a.b/..c/d..",
    b"/%41%7e%2D": "/A~-",
    b"/a%20b%3fc%23d": "/a%20b%3Fc%23d",
    b"/user@example.com:1": "/user@example.com:1",
    b"/(a)!$&'*+,=": "/(a)!$&'*+,=",
    b"/.well-known/x": "/.well-known/x",
}

BAD = [
    b"", b"x", b"@evil", b"*", b"http://evil/x", b"//", b"//evil/x", b"/a//b", b"/a/b//", b"/.", b"/..", b"/../a", b"/a/../b",
    b"/a/./b", b"/a/..", b"/%2e", b"/%2e%2e/a", b"/%2E./a", b"/a/.%2e", b"/%252e%252e", b"/a%2fb", b"/a%2Fb", b"/a%5cb",
    b"/a\\b", b"/a%00b", b"/a\x00b", b"/a%0d%0ab", b"/a%7f", b"/%c0%af", b"/%C3%A9", b"/\xc3\xa9", b"/a;b", b"/a%3bb",
    b"/..;/admin", b"/%", b"/%4", b"/%zz", b"/a b", b'/"', b"/<x>", b"/a|b", b"/a^b", b"/{a}", b"/`", b"/[a]", b"/a%25", b"/a#b",
    b"/a?b", b"/a\tb", b"/a\r\nb",
]  # fmt: skip


@pytest.mark.parametrize(("raw", "canonical"), GOOD.items())
def test_a_path_has_one_spelling(raw: bytes, canonical: str) -> None:
    assert canonical_path(raw) == canonical


@pytest.mark.parametrize("raw", BAD)
def test_a_path_two_servers_could_read_differently_is_refused(raw: bytes) -> None:
    with pytest.raises(Problem) as caught:
        canonical_path(raw)
    assert caught.value.code == "BAD_REQUEST"


@pytest.mark.parametrize("query", [b"a b", b"a\r\nx", b"\xff", b"a\x00"])
def test_a_query_with_bytes_that_are_no_url_is_refused(query: bytes) -> None:
    with pytest.raises(Problem, match="not well formed"):
        canonical_path(b"/", query)


def test_a_url_that_is_too_long_is_refused_by_its_own_code() -> None:
    with pytest.raises(Problem) as caught:
        canonical_path(b"/" + b"a" * URL_LIMIT)
    assert caught.value.code == "URI_TOO_LONG"


PIECES = st.sampled_from(
    [
        b"/",
        b"a",
        b"Z",
        b".",
        b"..",
        b"%2e",
        b"%2F",
        b"%41",
        b"%7e",
        b"%20",
        b"%3f",
        b"%5C",
        b"%25",
        b"\\",
        b";",
        b"~",
        b"@",
        b"\xc3",
    ]
)


@given(st.lists(PIECES, max_size=12).map(b"".join) | st.binary(max_size=20))
def test_canonical_is_idempotent_and_means_the_same(tail: bytes) -> None:
    try:
        path = canonical_path(b"/" + tail)
    except Problem:
        return
    assert canonical_path(path.encode("ascii")) == path
    assert unquote_to_bytes(path) == unquote_to_bytes(b"/" + tail)
    assert all(segment not in (".", "..") for segment in path.split("/"))
    assert "//" not in path
    assert not set(unquote_to_bytes(path)) & set(b"\\\0;")
    assert unquote_to_bytes(path).count(b"/") == path.count("/")
