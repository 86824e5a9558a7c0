"""How requests can be framed wrongly, or oddly but rightly, as a table; and what a strict edge does with each.

A case is bytes on one connection. REFUSE: exactly one answer, of 400 to 599 (of `status` where given), then the
connection's end: nothing that follows is taken for a request. Otherwise `serve` says what arrived at the application, request
by request, as (method, target, bytes of body), each answered 200. The set is stricter than RFC 9112 where an edge may be.
"""

# ruff: noqa: E501  a table is read by its columns
from __future__ import annotations

from dataclasses import dataclass

NEXT = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


@dataclass(frozen=True)
class Case:
    """One row; `serve` empty means that it has to be refused."""

    name: str
    data: bytes
    serve: tuple[tuple[str, str, int], ...] = ()
    status: tuple[int, ...] = (400,)


def get(*fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: a\r\n") -> bytes:
    return line + b"\r\n" + host + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def post(*fields: bytes, body: bytes = b"", line: bytes = b"POST / HTTP/1.1", then: bytes = NEXT) -> bytes:
    return get(*fields, line=line) + body + then


def chunked(body: bytes, *fields: bytes, then: bytes = NEXT) -> bytes:
    return post(b"Transfer-Encoding: chunked", *fields, body=body, then=then)


CLOSE = b"Connection: close"
LAST = get(CLOSE)
ONE = (("GET", "/", 0),)

LENGTHS = {
    "plus": b"+7", "minus": b"-7", "minus zero": b"-0", "hex": b"0x7", "list of equals": b"7, 7", "list": b"7, 0",
    "40 digits": b"7" * 40, "2^64+7": b"18446744073709551623", "2^63": b"9223372036854775808", "arabic digits": "٧".encode(),
    "empty": b"", "spaces inside": b"7 7", "decimal": b"7.0", "exponent": b"7e0", "underscore": b"1_0", "letter": b"7a",
    "NUL": b"7\x00", "vertical tab": b"\x0b7", "form feed": b"7\x0c", "comma": b"7,", "quoted": b'"7"', "semicolon": b"7;7",
    "non-breaking space": b"\xa07", "fullwidth": "７".encode(), "superscript": b"\xb9", "CR inside": b"7\r7",
}  # fmt: skip

CODINGS = {
    "xchunked": b"xchunked", "chunkedx": b"chunkedx", "identity": b"identity", "chunked, identity": b"chunked, identity",
    "identity, chunked": b"identity, chunked", "gzip": b"gzip", "gzip, chunked": b"gzip, chunked", "empty": b"",
    "chunked twice": b"chunked, chunked", "chunked, gzip": b"chunked, gzip", "vertical tab": b"\x0bchunked",
    "vertical tab after": b"chunked\x0b", "NUL": b"chunked\x00", "NUL before": b"\x00chunked", "comma before": b", chunked",
    "comma after": b"chunked,", "quoted": b'"chunked"', "parameter": b"chunked;q=1", "form feed": b"\x0cchunked",
    "space inside": b"chu nked", "fold": b"\r\n chunked", "semicolon": b"chunked;", "non-breaking space": b"\xa0chunked",
    "only tab": b"\t", "cow": b"cow", "deflate, chunked": b"deflate, chunked",
}  # fmt: skip

HOSTS = {
    "comma": b"a, b", "comma alone": b"a,b", "user": b"u@a", "user and password": b"u:p@a", "path": b"a/x", "query": b"a?x",
    "path and query": b"h/x?y=", "fragment": b"a#x", "empty": b"", "space": b"a b", "port not a number": b"a:x",
    "port too high": b"a:65536", "port signed": b"a:+1", "two ports": b"a:1:2", "open bracket": b"[::1", "not IPv6": b"[zz]",
    "zone": b"[fe80::1%25eth0]", "escape": b"a%2fb", "non-ASCII": "bücher.example".encode(), "backslash": b"a\\b", "scheme": b"http://a",
    "NUL": b"a\x00b", "angle": b"<a>", "dot alone": b".", "two dots": b"a..b", "label of 64": b"a" * 64, "hyphen first": b"-a",
    "name of 300": b"a." * 150 + b"a", "only a port": b":80", "single quote": b"a'b", "pipe": b"a|b", "tab inside": b"a\tb",
}  # fmt: skip

LINES = {
    "no version": b"GET /", "three spaces": b"GET  / HTTP/1.1", "trailing space": b"GET / HTTP/1.1 ", "leading space": b" GET / HTTP/1.1",
    "tab between": b"GET\t/ HTTP/1.1", "space in target": b"GET /a b HTTP/1.1", "lower-case version": b"GET / http/1.1",
    "version 1.10": b"GET / HTTP/1.10", "version 1": b"GET / HTTP/1", "version x": b"GET / HTTP/1.x", "no slash": b"GET x HTTP/1.1",
    "version comma": b"GET / HTTP/1,1", "at": b"GET @evil HTTP/1.1", "empty target": b"GET  HTTP/1.1", "NUL in target": b"GET /\x00 HTTP/1.1",
    "fragment": b"GET /#x HTTP/1.1", "non-ASCII target": b"GET /\xe9 HTTP/1.1", "DEL in target": b"GET /\x7f HTTP/1.1",
    "control in method": b"G\x01T / HTTP/1.1", "colon in method": b"GE:T / HTTP/1.1", "bracket in method": b"GE(T / HTTP/1.1",
    "other host in target": b"GET http://evil/ HTTP/1.1", "user in target": b"GET http://u@a/ HTTP/1.1", "ftp target": b"GET ftp://a/ HTTP/1.1",
    "asterisk with GET": b"GET * HTTP/1.1", "authority with GET": b"GET a:80 HTTP/1.1", "CR in target": b"GET /\rx HTTP/1.1",
    "version missing digit": b"GET / HTTP/.1", "HTTPS version": b"GET / HTTPS/1.1", "vertical tab between": b"GET /\x0bHTTP/1.1",
}  # fmt: skip

FIELDS = {
    "space before colon": b"X : 1", "tab before colon": b"X\t: 1", "no colon": b"X", "empty name": b": 1", "space in name": b"X Y: 1",
    "NUL in name": b"X\x00: 1", "NUL in value": b"X: a\x00b", "bare CR in value": b"X: a\rb", "control in value": b"X: a\x01b",
    "DEL in value": b"X: a\x7fb", "non-ASCII name": b"\xc3\xa9: 1", "bracket in name": b"X(: 1", "fold": b"X: a\r\n b",
    "fold with tab": b"X: a\r\n\tb", "fold of nothing": b"X: a\r\n ", "space before CL": b"Content-Length : 7", "at in name": b"X@: 1",
    "escape in value": b"X: \x1b[31m", "CR before LF": b"X: a\r", "slash in name": b"X/Y: 1", "space before TE": b"Transfer-Encoding : chunked",
    "name of one quote": b'"X": 1', "NUL alone": b"\x00", "space alone": b" ",
}  # fmt: skip

CHUNKS = {
    "size 0x": b"0x5\r\nhello\r\n0\r\n\r\n", "size plus": b"+5\r\nhello\r\n0\r\n\r\n", "size minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "size underscore": b"1_0\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n", "size empty": b"\r\nhello\r\n0\r\n\r\n", "size of 17 digits": b"00000000000000005\r\nhello\r\n0\r\n\r\n",
    "size 2^64": b"10000000000000005\r\nhello\r\n0\r\n\r\n", "size space before": b" 5\r\nhello\r\n0\r\n\r\n", "size letter": b"g\r\nhello\r\n0\r\n\r\n",
    "size tab after": b"5\t\r\nhello\r\n0\r\n\r\n", "size space after": b"5 \r\nhello\r\n0\r\n\r\n", "size NUL": b"5\x00\r\nhello\r\n0\r\n\r\n",
    "bare LF after size": b"5\nhello\r\n0\r\n\r\n", "bare CR after size": b"5\rhello\r\n0\r\n\r\n", "bare LF after data": b"5\r\nhello\n0\r\n\r\n",
    "nothing after data": b"5\r\nhello0\r\n\r\n", "one byte after data": b"5\r\nhelloX\r\n0\r\n\r\n", "XX after data": b"5\r\nhelloXX0\r\n\r\n",
    "data too long": b"4\r\nhello\r\n0\r\n\r\n", "data too short": b"6\r\nhello\r\n0\r\n\r\n", "bare LF in the end": b"0\r\n\n", "bare LF ends": b"0\n\n",
    "CR X ends": b"0\r\n\rX", "extension with LF": b"5;a\nb\r\nhello\r\n0\r\n\r\n", "extension with CR": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "extension with NUL": b"5;a\x00\r\nhello\r\n0\r\n\r\n", "extension of 64 KiB": b"5;a=" + b"x" * 65536 + b"\r\nhello\r\n0\r\n\r\n",
    "1-byte chunks with 1 KiB each": (b"1;a=" + b"x" * 1024 + b"\r\nx\r\n") * 40 + b"0\r\n\r\n", "quote left open": b'5;a="b\r\nhello\r\n0\r\n\r\n',
    "10 such chunks": (b"1;a=" + b"x" * 1024 + b"\r\nx\r\n") * 10 + b"0\r\n\r\n", "trailer with LF": b"0\r\nX: a\nY: b\r\n\r\n",
    "trailer length": b"0\r\nContent-Length: 5\r\n\r\n", "trailer coding": b"0\r\nTransfer-Encoding: chunked\r\n\r\n", "trailer host": b"0\r\nHost: b\r\n\r\n",
    "trailer fold": b"0\r\nX: a\r\n b\r\n\r\n", "trailer without colon": b"0\r\nX\r\n\r\n", "trailer space before colon": b"0\r\nX : 1\r\n\r\n",
    "trailer of 32 KiB": b"0\r\n" + (b"X: " + b"x" * 1021 + b"\r\n") * 32 + b"\r\n", "trailer of 200 fields": b"0\r\n" + b"X: 1\r\n" * 200 + b"\r\n",
}  # fmt: skip

WHOLE: tuple[Case, ...] = (
    Case("plain", LAST, ONE),
    Case("no fields but Host", get() + LAST, ONE * 2),
    Case("three in a row", get(line=b"GET /1 HTTP/1.1") + get(line=b"GET /2 HTTP/1.1") + LAST, (("GET", "/1", 0), ("GET", "/2", 0), *ONE)),
    Case("counted body", post(b"Content-Length: 5", body=b"hello", then=LAST), (("POST", "/", 5), *ONE)),
    Case("length with zeros in front", post(b"Content-Length: 005", body=b"hello", then=LAST), (("POST", "/", 5), *ONE)),
    Case("length 0", post(b"Content-Length: 0", then=LAST), (("POST", "/", 0), *ONE)),
    Case("white space around a length", post(b"Content-Length:\t 5 \t", body=b"hello", then=LAST), (("POST", "/", 5), *ONE)),
    Case("GET with a body", get(b"Content-Length: 5") + b"hello" + LAST, (("GET", "/", 5), *ONE)),
    Case("chunked body", chunked(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", then=LAST), (("POST", "/", 11), *ONE)),
    Case("Chunked in capitals", post(b"TRANSFER-ENCODING: CHUNKED", body=b"A\r\n0123456789\r\n0\r\n\r\n", then=LAST), (("POST", "/", 10), *ONE)),
    Case("last chunk of many zeros", chunked(b"5\r\nhello\r\n000\r\n\r\n", then=LAST), (("POST", "/", 5), *ONE)),
    Case("small extension", chunked(b'5;a=b;c;d="e f"\r\nhello\r\n0;x\r\n\r\n', then=LAST), (("POST", "/", 5), *ONE)),
    Case("trailer fields", chunked(b"5\r\nhello\r\n0\r\nX: 1\r\nChecksum: 2\r\n\r\n", then=LAST), (("POST", "/", 5), *ONE)),
    Case("1-byte chunks", chunked(b"1\r\nx\r\n" * 300 + b"0\r\n\r\n", then=LAST), (("POST", "/", 300), *ONE)),
    Case("a line break between requests", post(b"Content-Length: 5", body=b"hello\r\n", then=LAST), (("POST", "/", 5), *ONE)),
    Case("a line break first", b"\r\n" + LAST, ONE),
    Case("absolute target", get(CLOSE, line=b"GET http://a/x HTTP/1.1"), (("GET", "/x", 0),)),
    Case("absolute target without path", get(CLOSE, line=b"GET http://a HTTP/1.1"), ONE),
    Case("host with port", get(CLOSE, host=b"Host: example.com:8443\r\n"), ONE),
    Case("host IPv6", get(CLOSE, host=b"Host: [::1]:80\r\n"), ONE),
    Case("host in capitals with a last dot", get(CLOSE, host=b"HOST: EXAMPLE.com.\r\n"), ONE),
    Case("value of obs-text", get(b"X: \xe9", CLOSE), ONE),
    Case("empty value", get(b"X:", CLOSE), ONE),
    Case("every token character in a name", get(b"!#$%&'*+-.^_`|~09Az: 1", CLOSE), ONE),
    Case("100 fields", get(*[b"X: 1"] * 98, CLOSE), ONE),
    Case("HTTP/1.0", get(line=b"GET / HTTP/1.0"), ONE),
    Case("HTTP/1.0 without Host", b"GET / HTTP/1.0\r\n\r\n", ONE),
    Case("HTTP/1.0 kept alive", get(b"Connection: keep-alive", line=b"GET / HTTP/1.0") + LAST, ONE * 2),
    Case("HTTP/1.0 ends after one", get(line=b"GET / HTTP/1.0") + NEXT, ONE),
    Case("closed after close", get(CLOSE) + NEXT, ONE),
    Case("close among others", get(b"Connection: TE, Close", b"TE: trailers") + NEXT, ONE),
    Case("Trailer announced", get(b"Trailer: X", CLOSE), ONE),
    Case("upgrade wish ignored", get(b"Connection: Upgrade, close", b"Upgrade: h2c", b"HTTP2-Settings: AAM"), ONE),
    Case("query kept", get(CLOSE, line=b"GET /x?a=b?c&d=%20 HTTP/1.1"), (("GET", "/x?a=b?c&d=%20", 0),)),
    Case("Expect with a body that comes along", post(b"Expect: 100-continue", b"Content-Length: 5", CLOSE, body=b"hello", then=b""), (("POST", "/", 5),)),
)  # fmt: skip

AMBIGUOUS: tuple[Case, ...] = (
    Case("CL.TE", post(b"Content-Length: 6", b"Transfer-Encoding: chunked", body=b"0\r\n\r\nG")),
    Case("TE.CL", post(b"Transfer-Encoding: chunked", b"Content-Length: 4", body=b"5c\r\nGPOST\r\n0\r\n\r\n")),
    Case("CL.TE closing", post(b"Connection: close", b"Content-Length: 6", b"Transfer-Encoding: chunked", body=b"0\r\n\r\nG")),
    Case("TE.CL kept alive", post(b"Connection: keep-alive", b"Transfer-Encoding: chunked", b"Content-Length: 4", body=b"0\r\n\r\n")),
    Case("CL.TE in HTTP/1.0", post(b"Content-Length: 6", b"Transfer-Encoding: chunked", body=b"0\r\n\r\nG", line=b"POST / HTTP/1.0")),
    Case("TE twice", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")),
    Case("TE twice, one other", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=b"0\r\n\r\n")),
    Case("TE twice, other first", post(b"Transfer-Encoding: x", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), status=(400, 501)),
    Case("TE in HTTP/1.0", post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", line=b"POST / HTTP/1.0")),
    Case("TE in HTTP/1.0 kept alive", post(b"Transfer-Encoding: chunked", b"Connection: keep-alive", body=b"0\r\n\r\n", line=b"POST / HTTP/1.0")),
    Case("two equal CL", post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello")),
    Case("two different CL", post(b"Content-Length: 5", b"Content-Length: 0", body=b"hello")),
    Case("Connection names Content-Length", post(b"Connection: Content-Length", b"Content-Length: 5", body=b"hello")),
    Case("Connection names Transfer-Encoding", chunked(b"0\r\n\r\n", b"Connection: Transfer-Encoding")),
    Case("Connection names Host", get(b"Connection: Host") + NEXT),
    Case("Host missing", get(host=b"") + NEXT),
    Case("Host twice", get(b"Host: a") + NEXT),
    Case("Host twice, different", get(b"Host: b") + NEXT),
    Case("leading space before the first field", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n" + NEXT),
    Case("bare LF everywhere", b"GET / HTTP/1.1\nHost: a\n\n" + NEXT),
    Case("bare LF after the line", b"GET / HTTP/1.1\nHost: a\r\n\r\n" + NEXT),
    Case("bare LF after a field", b"GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n" + NEXT),
    Case("bare LF ends the head", b"GET / HTTP/1.1\r\nHost: a\r\n\n" + NEXT),
    Case("bare CR ends lines", b"GET / HTTP/1.1\rHost: a\r\r" + NEXT),
    Case("LF CR", b"GET / HTTP/1.1\n\rHost: a\n\r\n\r" + NEXT),
    Case("many line breaks first", b"\r\n" * 50 + get() + NEXT),
    Case("bare LF first", b"\n" + get() + NEXT),
    Case("Expect of something else", post(b"Expect: 200-ok", b"Content-Length: 5", body=b"hello"), status=(417,)),
    Case("unknown method", get(line=b"FROBNICATE / HTTP/1.1") + NEXT, status=(405, 501)),
    Case("lower-case method", get(line=b"get / HTTP/1.1") + NEXT, status=(400, 405, 501)),
    Case("CONNECT", get(line=b"CONNECT a:80 HTTP/1.1") + NEXT, status=(405, 501)),
    Case("TRACE", get(line=b"TRACE / HTTP/1.1") + NEXT, status=(405, 501)),
    Case("HTTP/0.9", b"GET /\r\n\r\n" + NEXT),
    Case("HTTP/2.0", get(line=b"GET / HTTP/2.0") + NEXT, status=(400, 505)),
    Case("HTTP/1.2", get(line=b"GET / HTTP/1.2") + NEXT, status=(400, 505)),
    Case("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", status=(400, 405, 501, 505)),
    Case("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(32)) + b"\r\n\r\n"),
    Case("SSH hello", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    Case("RTSP", get(line=b"DESCRIBE / RTSP/1.0") + NEXT, status=(400, 405, 501, 505)),
    Case("junk behind a body", post(b"Content-Length: 5", body=b"hellojunk", then=NEXT), (("POST", "/", 5),)),
    Case("head of 16 KiB and 1", get(*[b"X: " + b"x" * 1000] * 16, b"Y: " + b"y" * 600) + NEXT, status=(431,)),
    Case("value of 128 KiB", get(b"X: " + b"x" * 131072) + NEXT, status=(431,)),
    Case("name of 20 KiB", get(b"x" * 20480 + b": 1") + NEXT, status=(431,)),
    Case("101 fields", get(*[b"X: 1"] * 100) + NEXT, status=(431,)),
    Case("10 000 fields", get(*[b"X: 1"] * 10000) + NEXT, status=(431,)),
    Case("cookie of 200 KB", get(b"Cookie: " + b"c=" + b"1" * 200000) + NEXT, status=(431,)),
    Case("URL over 8 KiB", get(line=b"GET /" + b"x" * 8192 + b" HTTP/1.1") + NEXT, status=(414,)),
    Case("URL of 64 KiB", get(line=b"GET /" + b"x" * 65536 + b" HTTP/1.1") + NEXT, status=(414,)),
    Case("query over 8 KiB", get(line=b"GET /?" + b"x" * 8192 + b" HTTP/1.1") + NEXT, status=(414,)),
)  # fmt: skip

CASES: tuple[Case, ...] = (
    *WHOLE,
    *AMBIGUOUS,
    *(Case(f"length: {name}", post(b"Content-Length: " + value, body=b"hello 7")) for name, value in LENGTHS.items()),
    *(
        Case(f"coding: {name}", post(b"Transfer-Encoding: " + value, body=b"0\r\n\r\n"), status=(400, 501))
        for name, value in CODINGS.items()
    ),
    *(Case(f"host: {name}", get(host=b"Host: " + value + b"\r\n") + NEXT) for name, value in HOSTS.items()),
    *(Case(f"line: {name}", get(line=line) + NEXT) for name, line in LINES.items()),
    *(Case(f"field: {name}", get(field) + NEXT) for name, field in FIELDS.items()),
    *(Case(f"chunk: {name}", chunked(body), status=(400, 431)) for name, body in CHUNKS.items()),
)
