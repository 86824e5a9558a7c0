from __future__ import annotations

import asyncio
import gzip
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import brotli
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_runtime.asgi import Request, Response
from gateway_runtime.cache.entry import Variants
from gateway_runtime.layers import compress
from gateway_runtime.layers.accept_encoding import IDENTITY, choose
from gateway_runtime.layers.codings import CODINGS, stream, whole
from gateway_runtime.layers.compress import LEVELS, Compress, Compression
from tests.helpers.gateway_request import request
from tests.helpers.waiting import PATIENCE

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

UNDO: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "br": brotli.decompress, "zstd": zstd.decompress}
BODY = b'{"items":[' + b",".join(b'{"id":%d,"name":"Ada"}' % n for n in range(400)) + b"]}"
JSON = (b"content-type", b"application/json")

CHOICES = [
    # Accept-Encoding                     chosen      identity refused
    (None, IDENTITY, False), (b"", IDENTITY, False), (b"gzip", "gzip", False), (b"br", "br", False), (b"zstd", "zstd", False),
    (b"gzip, deflate, br, zstd", "br", False), (b"gzip, zstd", "zstd", False), (b"gzip, br", "br", False),
    (b"br;q=0.5, gzip;q=0.8", "gzip", False), (b"br;q=0.8,gzip;q=0.8", "br", False), (b"GZIP", "gzip", False),
    (b"x-gzip", "gzip", False), (b"gzip;q=0", IDENTITY, False), (b"gzip;q=0.000", IDENTITY, False),
    (b"gzip;q=0, *", "br", False), (b"br;q=0, *;q=0.5", "zstd", False), (b"*", "br", False), (b"*;q=0", IDENTITY, False),
    (b"gzip, *;q=0", "gzip", True), (b"gzip;q=0.001", "gzip", False), (b"gzip;q=1.000", "gzip", False),
    (b"identity", IDENTITY, False), (b"identity;q=0", IDENTITY, False), (b"identity;q=0, gzip", "gzip", True),
    (b"identity;q=0, *", "br", True), (b"identity;q=1, gzip;q=0.5", IDENTITY, False), (b"identity, gzip", "gzip", False),
    (b"identity;q=0.5, gzip;q=0.5", "gzip", False), (b"deflate", IDENTITY, False), (b"compress, sdch", IDENTITY, False),
    (b"gzip;q=2", IDENTITY, False), (b"gzip;q=-1", IDENTITY, False), (b"gzip;q=abc", IDENTITY, False),
    (b"gzip;q=0.1234", IDENTITY, False), (b"gzip;q=", IDENTITY, False), (b"gzip;q", IDENTITY, False),
    (b"gzip;level=1", IDENTITY, False), (b"gzip;q=1;x=2", IDENTITY, False), (b"gzip;q=1e0", IDENTITY, False),
    (b"gzip ; q=0.5 , br ; q=0.4", "gzip", False), (b",,gzip,,", "gzip", False), (b"gzip gzip", IDENTITY, False),
    (b"\xff\xfe, gzip", "gzip", False), (b"gzip, gzip;q=0", IDENTITY, False), (b"br" * 600, IDENTITY, False),
    (b"gzip;q=0.5, br;q=0", "gzip", False), (b"*;q=0.1, gzip;q=0", "br", False), (b"gzip\x00", IDENTITY, False),
]  # fmt: skip


@pytest.mark.parametrize(("field", "coding", "refused"), CHOICES)
def test_the_coding_the_client_likes_best_is_chosen(field: bytes | None, coding: str, refused: bool) -> None:
    assert choose(field, CODINGS) == (coding, refused)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text("gzipbrstd*;q=01., -identity", max_size=60).map(str.encode)))
def test_nothing_a_client_writes_breaks_the_choice_and_a_coding_it_did_not_name_is_never_used(field: bytes) -> None:
    coding, _ = choose(field, CODINGS)
    assert coding in (*CODINGS, IDENTITY)
    assert coding == IDENTITY or coding.encode() in field.lower() or b"*" in field


def given_out(answer: Response, accept: bytes | None = b"gzip", method: str = "GET", **how: Any) -> Response:
    async def story() -> Response:
        async def inner(_: Request) -> Response:
            return answer

        headers = () if accept is None else ((b"accept-encoding", accept),)
        asked = request(method, headers=headers)
        found = await Compress(inner, Compression(**how))(asked)
        if not isinstance(found.body, bytes):
            found.body = b"".join([piece async for piece in found.body])
        asked.finish()
        return found

    return asyncio.run(story())


@pytest.mark.parametrize("coding", CODINGS)
def test_the_body_comes_back_as_it_was(coding: str) -> None:
    answer = given_out(Response(200, [JSON, (b"etag", b'"v1"')], BODY), coding.encode())
    assert isinstance(answer.body, bytes)
    assert UNDO[coding](answer.body) == BODY
    assert len(answer.body) < len(BODY) / 4
    assert answer.header(b"content-encoding") == coding.encode()
    assert answer.header(b"vary") == b"Accept-Encoding"
    assert answer.header(b"etag") == b'W/"v1"'
    assert answer.header(b"content-length") is None  # the edge counts what it sends


LEFT_ALONE = [
    ("small", Response(200, [JSON], b"x" * 1023)),
    ("coded already", Response(200, [JSON, (b"content-encoding", b"gzip")], BODY)),
    ("coded in an unknown way", Response(200, [JSON, (b"content-encoding", b"xz")], BODY)),
    ("no-transform", Response(200, [JSON, (b"cache-control", b"public, NO-TRANSFORM")], BODY)),
    ("events", Response(200, [(b"content-type", b"text/event-stream; charset=utf-8")], BODY)),
    ("an image", Response(200, [(b"content-type", b"image/png")], BODY)),
    ("a video", Response(200, [(b"content-type", b"video/mp4")], BODY)),
    ("a zip", Response(200, [(b"content-type", b"application/zip")], BODY)),
    ("a web font", Response(200, [(b"content-type", b"font/woff2")], BODY)),
    ("bytes of no known kind", Response(200, [(b"content-type", b"application/octet-stream")], BODY)),
    ("no type", Response(200, [], BODY)),
    ("a part", Response(206, [JSON, (b"content-range", b"bytes 0-9/10")], BODY)),
    ("digested", Response(200, [JSON, (b"content-digest", b"sha-256=:x:")], BODY)),
    ("empty", Response(200, [JSON], b"")),
    ("nothing", Response(204)),
]


@pytest.mark.parametrize(("name", "answer"), LEFT_ALONE, ids=[name for name, _ in LEFT_ALONE])
def test_what_must_not_be_coded_goes_out_as_it_came(name: str, answer: Response) -> None:
    before = (list(answer.headers), answer.body)
    found = given_out(answer, b"br, gzip, zstd")
    assert (found.headers, found.body) == before


CODED = ["application/json; charset=utf-8", "text/html", "TEXT/CSS", "application/javascript", "image/svg+xml",
         "application/problem+json", "application/vnd.api+json", "application/atom+xml", "text/csv"]  # fmt: skip


@pytest.mark.parametrize("kind", CODED)
def test_what_gets_smaller_is_coded(kind: str) -> None:
    answer = given_out(Response(200, [(b"content-type", kind.encode())], BODY))
    assert answer.header(b"content-encoding") == b"gzip"


def test_the_threshold_is_exact() -> None:
    assert given_out(Response(200, [JSON], b"x" * 1024)).header(b"content-encoding") == b"gzip"
    assert given_out(Response(200, [JSON], b"x" * 1023)).header(b"content-encoding") is None


def test_who_wants_no_coding_is_told_that_others_may_get_one() -> None:
    answer = given_out(Response(200, [JSON, (b"vary", b"Origin")], BODY), None)
    assert answer.body == BODY
    assert (b"vary", b"Accept-Encoding") in answer.headers
    assert answer.header(b"content-encoding") is None
    twice = given_out(Response(200, [JSON, (b"vary", b"accept-encoding")], BODY), None)
    assert [value for name, value in twice.headers if name == b"vary"] == [b"accept-encoding"]


def test_who_refuses_it_uncoded_gets_even_a_small_body_coded() -> None:
    answer = given_out(Response(200, [JSON], b"{}"), b"gzip, identity;q=0")
    assert isinstance(answer.body, bytes)
    assert gzip.decompress(answer.body) == b"{}"


def test_off_means_off() -> None:
    answer = given_out(Response(200, [JSON], BODY), b"gzip", codings=())
    assert (answer.body, answer.headers) == (BODY, [JSON])


def test_only_what_is_offered_is_used_in_the_order_of_the_offer() -> None:
    assert given_out(Response(200, [JSON], BODY), b"br, zstd, gzip", codings=("zstd", "gzip")).header(
        b"content-encoding"
    ) == b"zstd"  # fmt: skip
    assert given_out(Response(200, [JSON], BODY), b"br", codings=("zstd",)).header(b"content-encoding") is None


def test_a_large_body_is_coded_beside_the_event_loop() -> None:
    text = BODY * 100
    answer = given_out(Response(200, [JSON], text), b"br")
    assert len(text) > compress.ON_THE_LOOP
    assert isinstance(answer.body, bytes)
    assert brotli.decompress(answer.body) == text


def test_a_coded_form_is_made_once_for_a_stored_answer() -> None:
    kept = Variants()
    for _ in range(2):
        answer = Response(200, [JSON], BODY)
        answer.variants = kept
        found = given_out(answer, b"br")
        assert isinstance(found.body, bytes)
        assert brotli.decompress(found.body) == BODY
    assert found.body is kept["br"]
    assert list(kept) == ["br"]


def test_a_304_has_the_tag_the_client_knows() -> None:
    async def story(known: bytes) -> Response:
        async def inner(_: Request) -> Response:
            return Response(304, [(b"etag", b'"v1"')])

        return await Compress(inner, Compression())(request(headers=((b"if-none-match", known),)))

    assert asyncio.run(story(b'W/"v1"')).header(b"etag") == b'W/"v1"'
    assert asyncio.run(story(b'"v1"')).header(b"etag") == b'"v1"'
    assert asyncio.run(story(b'"v1"')).header(b"vary") == b"Accept-Encoding"


async def _pieces(pieces: list[bytes], pause: float) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
        await asyncio.sleep(pause)


def undone(coding: str, pieces: list[bytes]) -> list[bytes]:
    """What a reader has after each piece."""
    import zlib

    reader: Any = {
        "gzip": lambda: zlib.decompressobj(31).decompress,
        "br": lambda: brotli.Decompressor().process,
        "zstd": lambda: zstd.ZstdDecompressor().decompress,
    }[coding]()
    return [reader(piece) for piece in pieces]


@pytest.mark.parametrize("coding", CODINGS)
def test_a_live_body_is_coded_piece_by_piece_and_each_can_be_read_at_once(coding: str) -> None:
    async def story() -> list[bytes]:
        sent = [b"x" * 1500, b"second", b"third"]

        async def inner(_: Request) -> Response:
            return Response(200, [JSON], _pieces(sent, 0.02))

        asked = request(headers=((b"accept-encoding", coding.encode()),))
        answer = await Compress(inner, Compression())(asked)
        assert answer.header(b"content-encoding") == coding.encode()
        assert not isinstance(answer.body, bytes)
        return undone(coding, [piece async for piece in answer.body])

    found = asyncio.run(story())
    assert [piece for piece in found if piece] == [b"x" * 1500, b"second", b"third"]


@pytest.mark.parametrize("coding", CODINGS)
@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=3000), min_size=1, max_size=8))
def test_whole_or_in_pieces_everything_comes_back(coding: str, pieces: list[bytes]) -> None:
    coder = stream(coding, LEVELS[coding])
    assert b"".join(undone(coding, [*(coder.piece(piece) for piece in pieces), coder.end()])) == b"".join(pieces)
    assert UNDO[coding](whole(coding, LEVELS[coding])(b"".join(pieces))) == b"".join(pieces)


@pytest.mark.parametrize("pieces", [[b"a"] * 4, [b"a" * 300] * 4], ids=["small", "larger"])
def test_a_slow_body_of_unknown_length_is_left_alone_and_not_held_up(pieces: list[bytes]) -> None:
    async def story() -> None:
        heard = asyncio.Semaphore(0)

        async def body() -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece
                await heard.acquire()  # the next one only when this one has arrived

        async def inner(_: Request) -> Response:
            return Response(200, [JSON], body())

        answer = await Compress(inner, Compression())(request(headers=((b"accept-encoding", b"gzip"),)))
        assert answer.header(b"content-encoding") is None
        assert not isinstance(answer.body, bytes)
        found = []
        async with asyncio.timeout(PATIENCE):
            async for piece in answer.body:
                found.append(piece)
                heard.release()
        assert found == pieces

    asyncio.run(story())


def test_a_short_body_of_unknown_length_goes_out_whole_and_uncoded() -> None:
    answer = given_out(Response(200, [JSON], _pieces([b"{", b"}"], 0)))
    assert (answer.body, answer.header(b"content-encoding")) == (b"{}", None)
    long = given_out(Response(200, [JSON], _pieces([BODY, b""], 0)))
    assert isinstance(long.body, bytes)
    assert gzip.decompress(long.body) == BODY


def test_a_body_that_breaks_off_is_not_made_to_look_whole() -> None:
    async def breaks() -> AsyncIterator[bytes]:
        yield b"x" * 2000
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        given_out(Response(200, [JSON], breaks()))
    with pytest.raises(ConnectionError):
        given_out(Response(200, [JSON, (b"content-length", b"4000")], breaks()))


def test_a_head_has_the_fields_of_its_get() -> None:
    async def nothing() -> AsyncIterator[bytes]:
        return
        yield b""

    long = [JSON, (b"etag", b'"v"'), (b"content-length", b"9000")]
    head = given_out(Response(200, long, nothing()), b"gzip", "HEAD")
    get = given_out(Response(200, long, BODY), b"gzip")
    assert [item for item in head.headers if item[0] != b"content-length"] == get.headers
    assert head.header(b"content-length") is None  # of the coded body, which nobody has made
    short = given_out(Response(200, [JSON, (b"content-length", b"9")], nothing()), b"gzip", "HEAD")
    assert (b"content-length", b"9") in short.headers
