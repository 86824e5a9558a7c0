from __future__ import annotations

import resource
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from tests.helpers.edge import answers, edge, talk, well
from tests.helpers.gateway_process import Running, read_answer
from tests.helpers.waiting import PATIENCE, connections, until

QUICK = {
    "SERVER_HEAD_TIMEOUT": "1",
    "SERVER_BODY_TIMEOUT": "1",
    "SERVER_WRITE_TIMEOUT": "1.5",
    "SERVER_IDLE_TIMEOUT": "3",
}
LONG_PAST = 9.0
"""Seconds: none of these is over by then if the defaults (10 s and more) are in force."""
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with edge(tmp_path_factory.mktemp("edge"), **QUICK) as process:
        yield process


def dial(server: Running, data: bytes = b"", seconds: float = PATIENCE) -> socket.socket:
    wire = socket.create_connection(("127.0.0.1", server.port), timeout=seconds)
    wire.sendall(data)
    return wire


def open_at(server: Running) -> int:
    return connections(server.process.pid, server.port)


def memory(server: Running) -> int:
    return psutil.Process(server.process.pid).memory_info().rss


ENDLESS = {
    "one value": (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"x" * 65536),
    "fields": (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: 1\r\n" * 10000),
    "a target": (b"GET /", b"x" * 65536),
    "a method": (b"", b"X" * 65536),
    "a name": (b"GET / HTTP/1.1\r\nHost: a\r\n", b"x" * 65536),
    "line breaks": (b"", b"\r\n" * 30000),
    "a chunk extension": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=", b"x" * 65536),
    "a chunk size": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"0" * 65536),
    "a trailer": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: 1\r\n" * 10000),
    "requests, answers unread": (b"", b"GET /" + b"x" * 8000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_endless_thing_is_cut_and_costs_no_memory(kind: str, server: Running) -> None:
    assert well(server.port)
    first, more = ENDLESS[kind]
    for _ in range(2):  # the first one warms the allocator
        before, sent = memory(server), 0
        with dial(server, first) as wire:
            with suppress(ConnectionError):
                while sent < 60_000_000:
                    wire.sendall(more)
                    sent += len(more)
            grown = memory(server) - before
        assert sent < 40_000_000, "never cut"
    assert grown < 2 * 1024 * 1024
    assert well(server.port)


def ended(wire: socket.socket) -> tuple[bytes, float]:
    """What was said until the end, and after how many seconds that was."""
    began, said = time.monotonic(), b""
    with suppress(ConnectionResetError):
        while piece := wire.recv(65536):
            said += piece
    return said, time.monotonic() - began


def test_a_head_has_until_its_deadline_however_it_trickles(server: Running) -> None:
    with dial(server, b"GET / HT") as wire:
        wire.settimeout(0.2)
        said, began = b"", time.monotonic()
        while time.monotonic() - began < LONG_PAST:
            with suppress(TimeoutError):
                if not (piece := wire.recv(65536)):
                    break
                said += piece
            with suppress(OSError):
                wire.send(b"T")
        assert 0.9 < time.monotonic() - began < LONG_PAST
        assert said.startswith(b"HTTP/1.1 408 ")
        assert b"REQUEST_TIMEOUT" in said


def test_a_silent_connection_is_closed_without_a_word(server: Running) -> None:
    with dial(server) as wire:
        said, took = ended(wire)
    assert said == b""
    assert 0.9 < took < LONG_PAST


def test_an_idle_connection_is_closed_without_a_word_later_than_a_silent_one(server: Running) -> None:
    with dial(server, GET) as wire:
        assert read_answer(wire).status == 200
        time.sleep(1.1)
        wire.sendall(GET)
        assert read_answer(wire).status == 200
        said, took = ended(wire)
    assert said == b""
    assert 2.9 < took < LONG_PAST


def test_the_longest_head_there_can_be_is_read_behind_a_slow_request(tmp_path: Path) -> None:
    head = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: "
    head += b"x" * (65536 - len(head) - 4) + b"\r\n\r\n"
    with edge(tmp_path, SERVER_HEAD_BYTES="65536") as server:
        said, ended = talk(server.port, b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n" + head)
    assert ended
    assert [status for status, _ in answers(said)] == [200, 200]


def test_a_body_that_stops_is_408_through_the_application(server: Running) -> None:
    with dial(server, POST + b"x" * 10) as wire:
        began = time.monotonic()
        answer = read_answer(wire)
        assert (answer.status, answer.code) == (408, "REQUEST_TIMEOUT")
        assert 0.9 < time.monotonic() - began < LONG_PAST
        assert wire.recv(1) == b""


def test_a_body_that_trickles_is_408_by_its_rate(server: Running) -> None:
    with dial(server, POST) as wire:
        wire.settimeout(0.2)
        said, began = b"", time.monotonic()
        while time.monotonic() - began < LONG_PAST and b"\r\n\r\n" not in said:
            wire.send(b"x")
            with suppress(TimeoutError):
                said += wire.recv(65536)
        assert said.startswith(b"HTTP/1.1 408 ")


def test_a_slow_application_is_not_blamed_on_its_client(server: Running) -> None:
    with dial(server, b"POST /late HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n") as wire:
        assert read_answer(wire).body == b"late"


def test_a_client_that_takes_nothing_is_cut_and_the_application_hears_of_it(server: Running) -> None:
    open_before = server.ask("GET", "/state").json()["open"]
    with dial(server) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        wire.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        end = time.monotonic() + PATIENCE
        while server.ask("GET", "/state").json()["open"] > open_before:
            assert time.monotonic() < end
            wire.recv(256)  # 1 KiB a second and less
            time.sleep(0.25)
    assert well(server.port)


def test_one_that_takes_nothing_is_cut_though_it_has_left_and_nobody_reads_what_it_sent(server: Running) -> None:
    until(lambda: server.ask("GET", "/state").json()["open"] == 1)
    with socket.socket() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        wire.connect(("127.0.0.1", server.port))
        wire.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n" + GET * 2500)
        time.sleep(0.5)
        wire.shutdown(socket.SHUT_WR)
        until(lambda: server.ask("GET", "/state").json()["open"] == 1)


def test_a_client_that_takes_steadily_is_not_cut(server: Running) -> None:
    with dial(server) as wire:
        wire.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        got, began = 0, time.monotonic()
        while piece := wire.recv(262144):
            got += len(piece)
            if time.monotonic() - began < 3:
                time.sleep(0.2)
    assert got > 10485760


def test_three_kinds_of_slow_clients_are_cut_while_others_are_served(server: Running) -> None:
    """60 of each here; benchmarks/gateway/slow_clients.py runs 300 of each and prints the figures."""
    begun = {"head": b"GET / HTTP/1.1\r\nX: ", "body": POST + b"x", "silent": b""}
    with ExitStack() as stack, selectors.DefaultSelector() as waiting:
        for kind, data in begun.items():
            for _ in range(60):
                wire = stack.enter_context(dial(server, data))
                waiting.register(wire, selectors.EVENT_READ, kind)
        cut = dict.fromkeys(begun, 0)
        end = time.monotonic() + PATIENCE
        while waiting.get_map() and time.monotonic() < end:
            assert server.ask("GET", "/x").status == 200
            for key, _ in waiting.select(timeout=0.05):
                with suppress(ConnectionResetError):
                    if key.fileobj.recv(65536):  # type: ignore[union-attr]
                        continue
                waiting.unregister(key.fileobj)
                cut[str(key.data)] += 1
    assert cut == {"head": 60, "body": 60, "silent": 60}


def test_a_connection_too_many_is_told_so_and_the_others_live_on(tmp_path: Path) -> None:
    with edge(tmp_path, SERVER_MAX_CONNECTIONS="20") as server, ExitStack() as stack:
        until(lambda: open_at(server) == 0)  # the look whether it listens is over
        wires = [stack.enter_context(dial(server, GET)) for _ in range(20)]
        assert [read_answer(wire).status for wire in wires] == [200] * 20
        with dial(server) as extra:
            answer = read_answer(extra)
        assert (answer.status, answer.code, answer.header("retry-after")) == (503, "OVERLOADED", "1")
        wires[0].sendall(GET)
        assert read_answer(wires[0]).status == 200
        wires[0].close()
        until(lambda: open_at(server) < 20)
        assert well(server.port)


def test_1000_connections_on_256_descriptors_do_no_lasting_harm(tmp_path: Path) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 1200:
        pytest.skip("this shell may not open 1000 connections")
    with edge(tmp_path, descriptors=256) as server:
        wires: list[socket.socket] = []
        for _ in range(1000):
            with suppress(OSError):
                wire = socket.socket()
                wire.settimeout(2)
                wires.append(wire)
                wire.connect(("127.0.0.1", server.port))
        time.sleep(1)
        assert server.process.poll() is None
        for wire in wires:
            wire.close()

        def served_again() -> bool:
            with suppress(OSError):
                return well(server.port)
            return False

        until(served_again)
        assert well(server.port)
        assert "Traceback" not in server.out.read_text()
