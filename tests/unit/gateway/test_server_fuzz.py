# ruff: noqa: E501  a table is read by its columns
"""Random bytes, broken requests and random packets against the server edge on a real socket pair; h11 has a say in each.

What the edge takes for a request, h11 must take for the same one. (The other way round it may refuse more.)
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway_runtime.server.front import Front
from gateway_runtime.server.hosts import HostPolicy
from gateway_runtime.server.limits import Limits
from tests.helpers.edge import answers
from tests.helpers.framing_cases import CASES

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "400"))
BOUNDED = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
Taken = tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]


@dataclass
class Stage:
    """One loop, one edge, and an application that notes what reaches it."""

    loop: asyncio.AbstractEventLoop
    taken: list[Taken] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.front = Front(Limits(), HostPolicy())
        self.front.loop, self.front.app = self.loop, self.app
        self.front.connections, self.front.tasks = set(), set()
        self.front.server_state = type("State", (), {"total_requests": 0})()  # type: ignore[assignment]

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            body, more = body + message["body"], message["more_body"]
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        self.taken.append((scope["method"].encode(), target, list(scope["headers"]), body))
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")], "whole": True}
        )
        await send({"type": "http.response.body", "body": b""})

    def play(self, data: bytes, cuts: list[int]) -> tuple[list[Taken], list[int]]:
        """Sends the data in these pieces; what was taken, and the statuses that came back."""
        from gateway_runtime.server.connection import Connection

        self.taken = []
        here, there = socket.socketpair()
        here.setblocking(False)

        async def run() -> bytes:
            transport, _ = await self.loop.connect_accepted_socket(lambda: Connection(self.front), there)
            said, at = b"", 0
            for end in [*sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]:
                if end > at:
                    await self._send(here, data[at:end])
                    at = end
                    for _ in range(3):
                        await asyncio.sleep(0)
            for _ in range(4 * (len(data) // 18 + 3)):  # no request is shorter: enough turns for every one of them
                if not self.front.tasks and transport.is_closing():
                    break
                await asyncio.sleep(0)
            while True:
                try:
                    piece = here.recv(65536)
                except (BlockingIOError, ConnectionResetError):
                    break
                if not piece:
                    break
                said += piece
            transport.abort()
            for _ in range(3):
                await asyncio.sleep(0)
            return said

        try:
            said = self.loop.run_until_complete(run())
        finally:
            here.close()
        assert self.front.connections == set()
        assert self.front.tasks == set()
        return self.taken, [status for status, _ in answers(said)]

    async def _send(self, wire: socket.socket, data: bytes) -> None:
        with suppress(OSError):  # refused and cut meanwhile
            await self.loop.sock_sendall(wire, data)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    loop = asyncio.new_event_loop()
    found = Stage(loop)
    faults: list[Any] = []
    loop.set_exception_handler(lambda _, context: faults.append(context))
    logging.getLogger("uvicorn.error").addHandler(handler := _Fails(faults))
    yield found
    logging.getLogger("uvicorn.error").removeHandler(handler)
    found.front.sweep._timer and found.front.sweep._timer.cancel()
    loop.close()
    assert faults == []


class _Fails(logging.Handler):
    def __init__(self, faults: list[Any]) -> None:
        super().__init__()
        self._faults = faults

    def emit(self, record: logging.LogRecord) -> None:
        self._faults.append(record.getMessage())


def by_h11(data: bytes) -> list[Taken]:
    """The requests h11 finds in the data, until the first it refuses or waits for."""
    found: list[Taken] = []
    while True:
        data = data[2:] if data.startswith(b"\r\n") else data  # we forgive one, as RFC 9112 2.2 says; h11 does not
        reader = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        reader.receive_data(data)
        request, body = None, b""
        try:
            while not isinstance(event := reader.next_event(), h11.EndOfMessage):
                if isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                else:
                    return found
        except h11.RemoteProtocolError:
            return found
        assert request is not None
        fields = [(bytes(name), bytes(value)) for name, value in request.headers]
        found.append((bytes(request.method), bytes(request.target), fields, body))
        data = bytes(reader.trailing_data[0])


def bare(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Fields without what means nothing: white space around values, and the case of a transfer coding."""
    return [
        (name, value.strip(b" \t").lower() if name == b"transfer-encoding" else value.strip(b" \t"))
        for name, value in fields
    ]


def agrees(taken: list[Taken], statuses: list[int], data: bytes) -> None:
    known = by_h11(data)
    assert len(taken) <= len(known), (taken, known)
    for ours, theirs in zip(taken, known, strict=False):
        method, target, fields, body = theirs
        if target.startswith(b"http"):  # in absolute form; ours has only the path of it
            below = re.sub(rb"^[a-z]+://[^/?]*", b"", target, flags=re.IGNORECASE)
            target = below if below.startswith(b"/") else b"/" + below
        target = target.removesuffix(b"?") if target.count(b"?") == 1 else target  # ASGI knows no empty query
        assert (ours[0], ours[1], ours[3]) == (method, target, body)
        assert bare(ours[2]) == bare(fields)
    refused = [status for status in statuses if status not in (100, 200)]
    assert statuses.count(200) == len(taken)
    assert len(refused) <= 1
    assert all(400 <= status < 500 or status in (501, 505) for status in refused)


NAMES = st.sampled_from([b"X", b"Accept", b"Cookie", b"Content-Type", b"TE", b"X_Y", b"!"])
VALUES = st.binary(max_size=12).map(lambda value: bytes(byte for byte in value if 0x20 <= byte < 0x7F or byte >= 0xA1))
PATHS = st.text("ab/%2e.;=&?~", max_size=12).map(lambda text: b"/" + text.encode())
BODY = st.binary(max_size=40)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS"]))
    fields = [
        b"Host: a.example",
        *(name + b": " + value for name, value in draw(st.lists(st.tuples(NAMES, VALUES), max_size=4))),
    ]
    kind, body = draw(st.sampled_from(["none", "counted", "chunked"])), b""
    if kind == "counted":
        body = draw(BODY)
        fields.append(b"Content-Length: %d" % len(body))
    elif kind == "chunked":
        fields.append(b"Transfer-Encoding: chunked")
        for piece in draw(st.lists(BODY, max_size=3)):
            if piece:
                body += b"%x%b\r\n%b\r\n" % (len(piece), draw(st.sampled_from([b"", b";a", b";a=b"])), piece)
        body += b"0\r\n" + draw(st.sampled_from([b"", b"X: 1\r\n"])) + b"\r\n"
    if draw(st.booleans()):
        fields.append(draw(st.sampled_from([b"Connection: close", b"Connection: keep-alive", b"Connection: TE"])))
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0"]))
    if version == b"1.0" and kind == "chunked":
        version = b"1.1"
    head = b"%b %b HTTP/%b\r\n%b\r\n\r\n" % (method, draw(PATHS), version, b"\r\n".join(fields))
    return head + body


NASTY = st.sampled_from([
    b"\n", b"\r", b"\r\n", b"\0", b" ", b"\t", b":", b";", b",", b"\x0b", b"\x85", b"\xa0", b"\x7f", b"0", b"+", b"-", b"_", b"x", b"f",
    b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Host: b\r\n", b"0\r\n\r\n",
    b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"GET / HTTP/1.1\r\n", b"\r\n\r\n", b"HTTP/1.0", b"http://a.example",
])  # fmt: skip


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    data = b"".join(draw(st.lists(requests(), min_size=1, max_size=3)))
    if draw(st.integers(0, 4)) == 0:
        data = draw(st.sampled_from([case.data for case in CASES if len(case.data) < 2000]))
    for _ in range(draw(st.integers(1, 4))):
        at, size = draw(st.integers(0, len(data))), draw(st.integers(0, 6))
        data = (
            data[:at]
            + draw(st.one_of(st.just(b""), NASTY, st.binary(max_size=3)))
            + data[at + size * draw(st.integers(0, 1)) :]
        )
    return data


CUTS = st.lists(st.integers(0, 2000), max_size=6)


@BOUNDED
@given(st.lists(requests(), min_size=1, max_size=4), CUTS)
def test_whole_requests_are_taken_as_sent_in_any_packets(stage: Stage, sent: list[bytes], cuts: list[int]) -> None:
    data = b"".join(sent)
    taken, statuses = stage.play(data, cuts)
    agrees(taken, statuses, data)
    assert taken, statuses


@BOUNDED
@given(broken(), CUTS)
def test_whatever_is_taken_h11_takes_alike_and_packets_make_no_difference(
    stage: Stage, data: bytes, cuts: list[int]
) -> None:
    taken, statuses = stage.play(data, cuts)
    agrees(taken, statuses, data)
    again, said = stage.play(data, [])
    # Of two faults in one head either may be named, by which was there first: 400 or 501.
    assert (again, [status < 300 for status in said]) == (taken, [status < 300 for status in statuses])


@BOUNDED
@given(st.binary(max_size=300), CUTS)
def test_random_bytes_do_no_harm(stage: Stage, data: bytes, cuts: list[int]) -> None:
    taken, statuses = stage.play(data, cuts)
    agrees(taken, statuses, data)


@pytest.mark.parametrize("case", [case for case in CASES if case.serve], ids=lambda case: case.name)
def test_h11_agrees_on_every_case_that_is_served(case: Any, stage: Stage) -> None:
    taken, statuses = stage.play(case.data, [])
    assert len(taken) == len(case.serve)
    agrees(taken, statuses, case.data)
