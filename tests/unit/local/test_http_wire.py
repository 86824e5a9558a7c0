from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgw.local.http_wire import (
    ChunkReader,
    Framing,
    Malformed,
    encode_chunk,
    end_to_end,
    parse_request,
    parse_response,
)


def request(*lines: bytes, first: bytes = b"POST /a HTTP/1.1", host: bytes | None = b"Host: x") -> bytes:
    heads = [first, *([host] if host is not None else []), *lines]
    return b"".join(line + b"\r\n" for line in heads) + b"\r\n"


REFUSED = {
    "length and chunked": request(b"Content-Length: 3", b"Transfer-Encoding: chunked"),
    "chunked and length": request(b"Transfer-Encoding: chunked", b"Content-Length: 3"),
    "two lengths": request(b"Content-Length: 3", b"Content-Length: 4"),
    "two equal lengths": request(b"Content-Length: 3", b"Content-Length: 3"),
    "list of lengths": request(b"Content-Length: 3, 3"),
    "signed length": request(b"Content-Length: +3"),
    "negative length": request(b"Content-Length: -3"),
    "hex length": request(b"Content-Length: 0x3"),
    "empty length": request(b"Content-Length:"),
    "huge length": request(b"Content-Length: 99999999999999999999"),
    "unknown coding": request(b"Transfer-Encoding: xchunked"),
    "identity coding": request(b"Transfer-Encoding: identity"),
    "two codings": request(b"Transfer-Encoding: gzip, chunked"),
    "chunked twice": request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "chunked not last": request(b"Transfer-Encoding: chunked, identity"),
    "coding on 1.0": request(b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.0"),
    "space before colon": request(b"Content-Length : 3"),
    "folded line": request(b"X-A: b", b" c"),
    "NUL in value": request(b"X-A: b\x00c"),
    "bare carriage return": request(b"X-A: b\rX-B: c"),
    "bare line feed": b"POST / HTTP/1.1\nHost: x\n\n\r\n\r\n",
    "no host": request(host=None),
    "two hosts": request(b"Host: y"),
    "path in host": request(host=b"Host: x/y?z="),
    "user in host": request(host=b"Host: u@x"),
    "comma in host": request(host=b"Host: x, y"),
    "empty host": request(host=b"Host:"),
    "space in target": request(first=b"GET /a b HTTP/1.1"),
    "relative target": request(first=b"GET a HTTP/1.1"),
    "user trick in target": request(first=b"GET @evil HTTP/1.1"),
    "target of another host": request(first=b"GET http://y/a HTTP/1.1"),
    "tunnel": request(first=b"CONNECT x:80 HTTP/1.1"),
    "version 1.2": request(first=b"GET / HTTP/1.2"),
    "version 2.0": request(first=b"GET / HTTP/2.0"),
    "no version": b"GET /\r\n\r\n",
    "unknown method": request(first=b"FROB / HTTP/1.1"),
    "header without name": request(b": value"),
    "only an empty line": b"\r\n\r\n",
    "not HTTP at all": b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
}


@pytest.mark.parametrize("head", REFUSED.values(), ids=REFUSED.keys())
def test_an_ambiguous_or_broken_head_is_refused(head):
    with pytest.raises(Malformed):
        parse_request(head)


def test_a_plain_request_is_read():
    found = parse_request(request(b"Content-Length: 12", b"X-A:  b "))
    assert (found.method, found.target, found.minor, found.framing) == (b"POST", b"/a", 1, Framing(length=12))
    assert found.keep_alive
    assert (b"X-A", b"b") in found.headers


def test_the_absolute_form_of_its_own_host_becomes_the_origin_form():
    assert parse_request(request(first=b"GET http://x?q HTTP/1.1")).target == b"/?q"
    assert parse_request(request(first=b"GET http://x/a?q HTTP/1.1")).target == b"/a?q"


def test_only_a_websocket_handshake_is_an_upgrade():
    upgrade = b"Connection: keep-alive, Upgrade"
    assert parse_request(request(upgrade, b"Upgrade: websocket", first=b"GET / HTTP/1.1")).websocket
    assert not parse_request(request(upgrade, b"Upgrade: h2c", first=b"GET / HTTP/1.1")).websocket
    assert not parse_request(request(b"Upgrade: websocket", first=b"GET / HTTP/1.1")).websocket
    assert not parse_request(request(upgrade, b"Upgrade: websocket")).websocket


def test_fields_of_one_connection_do_not_travel_on():
    headers = [(b"Connection", b"close, X-Secret"), (b"X-Secret", b"1"), (b"TE", b"trailers"), (b"X-Kept", b"2")]
    assert end_to_end(headers) == [(b"X-Kept", b"2")]


def test_an_answer_with_two_lengths_is_malformed():
    with pytest.raises(Malformed):
        parse_response(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")


def test_an_answer_without_length_ends_with_its_connection():
    found = parse_response(b"HTTP/1.0 200 OK\r\n\r\n")
    assert found.framing == Framing()
    assert not found.keep_alive


BAD_CHUNKS = [
    b"g\r\n",
    b"\r\n",
    b"-1\r\n",
    b"0x3\r\nabc\r\n",
    b"3\nabc\r\n",
    b"3\r\nabcd\r\n",
    b"3\r\nabc\n",
    b"ffffffffffffffffff\r\n",
    b"3;" + b"e" * 5000 + b"\r\n",
    b"0\r\nno-colon\r\n\r\n",
    b"0\r\n" + b"A: b\r\n" * 2000 + b"\r\n",
]


@pytest.mark.parametrize("raw", BAD_CHUNKS)
def test_a_broken_chunk_is_refused(raw):
    with pytest.raises(Malformed):
        ChunkReader().feed(raw)


def test_what_follows_the_last_chunk_is_kept():
    reader = ChunkReader()
    assert reader.feed(b"3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\nGET /") == b"abc"
    assert reader.done
    assert reader.rest == b"GET /"


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.integers(1, 7))
def test_chunks_cut_anywhere_give_the_same_body(pieces, step):
    raw = b"".join(map(encode_chunk, pieces)) + b"0\r\n\r\n"
    reader = ChunkReader()
    body = b"".join(reader.feed(raw[at : at + step]) for at in range(0, len(raw), step))
    assert body == b"".join(pieces)
    assert reader.done


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_readers(raw):
    for read in (parse_request, parse_response, ChunkReader().feed):
        with suppress(Malformed):
            read(raw)
