"""What an upstream sends besides the body of its answer is counted, and has an end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.helpers.gateway_process import Running, running
from tests.helpers.raw_upstream import RawUpstream, says

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
PLENTY = 64 * 1024 * 1024
ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "trailer fields": (b"2\r\nok\r\n0\r\n", b"X: " + b"y" * 60_000 + b"\r\n"),
    "small trailer fields": (b"2\r\nok\r\n0\r\n", b"X: y\r\n" * 10_000),
    "one trailer value": (b"2\r\nok\r\n0\r\nX: ", b"y" * 60_000),
    "one trailer name": (b"2\r\nok\r\n0\r\n", b"y" * 60_000),
    "one chunk extension": (b"2;x=", b"y" * 60_000),
    "chunk extensions": (b"", b"2;x=" + b"y" * 1000 + b"\r\nok\r\n"),
    "zeros before a size": (b"", b"0" * 60_000),
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RawUpstream, Running]]:
    with RawUpstream(says(b"")) as upstream:
        folder: Path = tmp_path_factory.mktemp("gateway")
        with running(folder, UPSTREAM_SLACK_URL=upstream.url, BREAKER="off") as gateway:
            yield upstream, gateway


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_is_no_body_cannot_go_on_for_ever(kind: str, stage: tuple[RawUpstream, Running]) -> None:
    upstream, gateway = stage
    sent = [0]

    def pour(wire: socket.socket, _number: int) -> None:
        first, more = ENDLESS[kind]
        with suppress(OSError):
            wire.sendall(HEAD + first)
            while sent[0] < PLENTY:
                wire.sendall(more)
                sent[0] += len(more)
        wire.close()

    upstream.play = pour
    for _ in range(2):  # the first one warms the allocator
        sent[0] = 0
        before = psutil.Process(gateway.process.pid).memory_info().rss
        answer = gateway.ask("GET", "/api/v2/slack/x")
        grown = psutil.Process(gateway.process.pid).memory_info().rss - before
        assert answer.status == 502 or not answer.complete
        assert sent[0] < PLENTY, "never cut"
    assert grown < 4 * 1024 * 1024


HONEST: dict[str, bytes] = {
    "a byte in each chunk": b"1\r\nx\r\n" * 200_000,
    "sizes of eight digits": b"00000002\r\nxx\r\n" * 100_000,
    "an extension and a trailer": b"30d40;name=value\r\n" + b"x" * 200_000 + b"\r\n0\r\nETag: x\r\nX: " + b"y" * 30_000,
}


@pytest.mark.parametrize("kind", HONEST)
def test_an_honest_answer_comes_through_however_it_is_cut(kind: str, stage: tuple[RawUpstream, Running]) -> None:
    upstream, gateway = stage
    upstream.play = says(HEAD + HONEST[kind] + (b"\r\n\r\n" if "trailer" in kind else END))
    answer = gateway.ask("GET", "/api/v2/slack/x")
    assert answer.complete
    assert answer.body == b"x" * 200_000
