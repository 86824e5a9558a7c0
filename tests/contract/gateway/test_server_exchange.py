from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

from tests.helpers.edge import answers, edge, talk, well
from tests.helpers.gateway_process import Running, read_answer, running
from tests.helpers.waiting import PATIENCE

CLOSE = b"Connection: close\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with edge(tmp_path_factory.mktemp("edge")) as process:
        yield process


def dial(server: Running, data: bytes = b"") -> socket.socket:
    wire = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
    wire.sendall(data)
    return wire


def state(server: Running) -> dict[str, Any]:
    found: dict[str, Any] = server.ask("GET", "/state").json()
    return found


def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_continue_is_said_only_when_the_application_reads(server: Running) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n" + CLOSE
    with dial(server, head) as wire:
        assert wire.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.sendall(b"hello")
        assert read_answer(wire).json() == ["POST", "/", 5]


def test_a_refusal_comes_instead_of_continue_and_ends_the_connection(server: Running) -> None:
    head = b"POST /refuse HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    with dial(server, head) as wire:
        answer = read_answer(wire)
        assert (answer.status, answer.header("connection")) == (401, "close")
        assert wire.recv(1) == b""


def test_an_upload_nobody_reads_ends_with_its_answer_not_a_reset(server: Running) -> None:
    with dial(server, b"POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n") as wire:
        wire.sendall(b"x" * 4_000_000)
        assert read_answer(wire).status == 401
    assert well(server.port)


def test_a_refused_body_that_came_along_does_not_cost_the_connection(server: Running) -> None:
    one = b"POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    said, _ = talk(server.port, one + one + b"GET /x HTTP/1.1\r\nHost: a\r\n" + CLOSE)
    assert [status for status, _ in answers(said)] == [401, 401, 200]


def test_pipelined_requests_are_answered_in_order_the_slow_one_first(server: Running) -> None:
    said, ended = talk(
        server.port,
        b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n"
        + b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(50))
        + b"GET /end HTTP/1.1\r\nHost: a\r\n"
        + CLOSE,
    )
    found = answers(said)
    assert ended
    assert found[0] == (200, b"late")
    assert [json.loads(body)[1] for _, body in found[1:]] == [*(f"/{n}" for n in range(50)), "/end"]


@pytest.mark.parametrize("path", ["/204", "/304"])
def test_bodiless_answers_have_no_body_and_keep_the_connection(path: str, server: Running) -> None:
    one = f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    said, _ = talk(server.port, one + b"GET /x HTTP/1.1\r\nHost: a\r\n" + CLOSE)
    assert [status for status, _ in answers(said)] == [int(path[1:]), 200]
    assert b"never on the wire" not in said
    if path == "/204":
        assert b"content-length" not in said.partition(b"\r\n\r\n")[0]
        assert b"transfer-encoding" not in said


def test_head_has_the_length_and_not_the_body(server: Running) -> None:
    with dial(server, b"HEAD /big HTTP/1.1\r\nHost: a\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n" + CLOSE) as wire:
        said = b""
        while piece := wire.recv(65536):
            said += piece
    first, _, rest = said.partition(b"\r\n\r\n")
    assert b"content-length: 10485760" in first
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_stream_is_chunked_and_its_head_does_not_wait_for_the_body(server: Running) -> None:
    with dial(server, b"GET /stream HTTP/1.1\r\nHost: a\r\n" + CLOSE) as wire:
        first = wire.recv(65536)
        assert b"transfer-encoding: chunked" in first
        assert b"two" not in first
        while piece := wire.recv(65536):
            first += piece
    assert answers(first) == [(200, b"onetwo")]


def test_a_stream_to_http_1_0_ends_with_the_connection(server: Running) -> None:
    said, ended = talk(server.port, b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert ended
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert body == b"onetwo"


@pytest.mark.parametrize("path", ["/crash", "/silent", "/split"])
def test_a_fault_of_the_application_is_a_plain_500(path: str, server: Running) -> None:
    answer = server.ask("GET", path)
    assert (answer.status, answer.code) == (500, "INTERNAL_ERROR")
    assert b"secret" not in answer.body
    assert answer.header("set-cookie") is None
    assert well(server.port)


def test_an_answer_cut_short_is_seen_to_be(server: Running) -> None:
    answer = server.ask("GET", "/crash-late")
    assert (answer.body, answer.complete) == (b"hell", False)


def test_a_client_that_leaves_is_noticed_before_its_answer_and_inside_its_body(server: Running) -> None:
    before = state(server)["left"]
    dial(server, b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").close()
    assert until(lambda: state(server)["left"] == before + 1)
    dial(server, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello").close()
    assert until(lambda: state(server)["left"] == before + 2)
    dial(server, b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").close()
    assert until(lambda: state(server)["open"] == 1)


def test_a_body_is_not_read_ahead_of_the_application(server: Running) -> None:
    with dial(server, b"POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n") as wire:
        wire.settimeout(0.3)
        sent = 0
        with suppress(TimeoutError):
            while sent < 50_000_000:
                sent += wire.send(b"x" * 65536)
        assert sent < 16_000_000  # what the two sockets hold


def test_a_malformed_chunk_in_the_middle_is_the_callers_fault(server: Running) -> None:
    with dial(server, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n") as wire:
        time.sleep(0.1)
        wire.sendall(b"zz\r\n")
        answer = read_answer(wire)
        assert (answer.status, answer.code) == (400, "BAD_REQUEST")
        assert wire.recv(1) == b""


def test_a_host_that_is_not_ours_is_421(tmp_path: Path) -> None:
    with edge(tmp_path, SERVER_ALLOWED_HOSTS="api.example.com,*.run.app") as server:
        asked = {
            name: answers(talk(server.port, f"GET / HTTP/1.1\r\nHost: {name}\r\n".encode() + CLOSE)[0])[0][0]
            for name in (
                "api.example.com",
                "API.example.com:443",
                "x.run.app",
                "run.app",
                "xrun.app",
                "evil.com",
                "127.0.0.1",
            )
        }
    assert list(asked.values()) == [200, 200, 200, 421, 421, 421, 421]


def test_a_websocket_is_handed_over_and_plain_requests_are_not(tmp_path: Path) -> None:
    with edge(tmp_path, ws="wsproto") as server, dial(server) as wire:
        client = WSConnection(ConnectionType.CLIENT)
        wire.sendall(client.send(Request(host="a", target="/socket")))
        said: list[object] = []
        while not any(isinstance(event, AcceptConnection) for event in said):
            client.receive_data(wire.recv(65536))
            said += client.events()
        wire.sendall(client.send(TextMessage("hi")))
        while not any(isinstance(event, TextMessage) for event in said):
            client.receive_data(wire.recv(65536))
            said += client.events()
        assert [event.data for event in said if isinstance(event, TextMessage)] == ["echo hi"]
        wire.sendall(client.send(CloseConnection(code=1000)))
        assert server.ask("GET", "/x").status == 200
        strict = b"GET /socket HTTP/1.1\r\nHost: a\r\nHost: b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        assert answers(talk(server.port, strict)[0])[0][0] == 400


def test_without_websockets_the_wish_is_ignored(server: Running) -> None:
    answer = server.ask(
        "GET", "/x", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    )
    assert answer.status == 200


def test_sigterm_under_load_fails_no_accepted_request_and_ends_with_0(tmp_path: Path) -> None:
    with running(tmp_path, LOG_LEVEL="error") as gateway:
        stop, done, failed = threading.Event(), [0], list[str]()

        def client() -> None:
            while not stop.is_set():
                try:
                    wire = socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE)
                except OSError:
                    return  # no new connections any more
                with wire:
                    while not stop.is_set():
                        try:
                            wire.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
                            answer = read_answer(wire)
                        except OSError as error:
                            failed.append(repr(error))
                            return
                        done[0] += 1
                        if answer.header("connection") == "close":
                            break
                        time.sleep(0.05)

        clients = [threading.Thread(target=client) for _ in range(8)]
        for thread in clients:
            thread.start()
        assert until(lambda: done[0] > 50)
        os.kill(gateway.process.pid, signal.SIGTERM)
        assert gateway.process.wait(timeout=PATIENCE) == 0
        stop.set()
        for thread in clients:
            thread.join()
    assert failed == []
