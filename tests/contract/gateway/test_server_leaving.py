"""A client that leaves is heard whether its connection is being read or not; an upstream is not blamed for it."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.helpers.edge import answers, edge
from tests.helpers.gateway_process import Running, proven, running
from tests.helpers.raw_upstream import OK, RawUpstream, late
from tests.helpers.waiting import PATIENCE, until

OPERATOR = "operator-token-0123456789"
SOON = 15.0
"""Seconds: half of the deadline, which is what ended the upstream's work before."""
POST = b"POST /api/v2/crm/contacts HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
GET = b"GET /api/v2/crm/contacts HTTP/1.1\r\nHost: a\r\n\r\n"


class Silent:
    """An upstream that reads a first piece and no more, answers nothing, and notes when it is hung up on."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked = threading.Event()
        self.left = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError), self._listener, self._listener.accept()[0] as wire:
            wire.recv(1000)
            self.asked.set()
            look = select.poll()
            look.register(wire, select.POLLRDHUP)
            look.poll(PATIENCE * 1000)
            self.left.set()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)


@contextmanager
def silent() -> Iterator[Silent]:
    upstream = Silent()
    try:
        yield upstream
    finally:
        upstream.close()


SENT: dict[str, bytes] = {
    "a body in one piece": POST % 150_000 + b"x" * 150_000,
    "a body in many": POST % 1_000_000 + b"x" * 1_000_000,
    "requests ahead": GET + GET * 2000,
    "nothing": GET,
}


def close(wire: socket.socket) -> None:
    wire.close()


def reset(wire: socket.socket) -> None:
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()


def half_close(wire: socket.socket) -> None:
    wire.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("leave", [close, reset, half_close])
@pytest.mark.parametrize("kind", SENT)
def test_a_client_that_leaves_is_heard_whatever_it_had_sent(
    kind: str, leave: Callable[[socket.socket], None], tmp_path: Path
) -> None:
    with silent() as upstream, running(tmp_path, UPSTREAM_CRM_URL=upstream.url, OPERATOR_TOKEN=OPERATOR) as gateway:
        wire = socket.create_connection(("127.0.0.1", gateway.port))
        wire.settimeout(1)
        with wire:
            with suppress(TimeoutError):  # as much of it as is taken
                wire.sendall(proven(SENT[kind]))
            assert upstream.asked.wait(PATIENCE)
            time.sleep(0.5)  # until what is not read stands in the way
            leave(wire)
            assert upstream.left.wait(SOON)
            assert until(lambda: outcomes(gateway)) == {"client_gone"}


@pytest.mark.parametrize("leave", [close, reset, half_close])
def test_a_client_that_leaves_an_upload_which_nobody_reads_is_heard(
    leave: Callable[[socket.socket], None], tmp_path: Path
) -> None:
    """160 KB: two reads, and a rest that waits in the kernel with the client's end behind it."""
    with edge(tmp_path) as server, socket.create_connection(("127.0.0.1", server.port)) as wire:
        wire.sendall(b"POST /busy HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 160_000)
        until(lambda: server.ask("GET", "/state").json()["open"] == 2)
        time.sleep(0.3)
        leave(wire)
        until(lambda: server.ask("GET", "/state").json()["left"] == 1, SOON)


def outcomes(gateway: Running) -> set[str]:
    """How the calls to the upstream ended."""
    page = gateway.ask("GET", "/metrics", token=f"Authorization: Bearer {OPERATOR}").body.decode()
    lines = [line for line in page.splitlines() if line.startswith("gateway_upstream_requests_total{")]
    return {line.partition('outcome="')[2].partition('"')[0] for line in lines}


def test_what_is_read_late_is_read_whole(tmp_path: Path) -> None:
    """Neither a pause nor its end loses what was sent: uploads and the requests behind them are served to the last."""
    with RawUpstream(late(0.3, OK)) as upstream, running(tmp_path, UPSTREAM_CRM_URL=upstream.url) as gateway:
        body = proven(POST % 300_000) + b"x" * 300_000
        last = proven(GET.replace(b"Host: a\r\n", b"Host: a\r\nConnection: close\r\n"))
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE) as wire:
            wire.sendall(body + body + last)
            said = b""
            while piece := wire.recv(65536):
                said += piece
    assert [status for status, _ in answers(said)] == [200, 200, 200]
    assert [len(request.partition(b"\r\n\r\n")[2]) for request in upstream.requests] == [300_000, 300_000, 0]
