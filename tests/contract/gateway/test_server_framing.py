from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.helpers.edge import answers, edge, fault, talk, well
from tests.helpers.framing_cases import CASES, Case
from tests.helpers.gateway_process import Running, read_answer
from tests.helpers.waiting import PATIENCE


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with edge(tmp_path_factory.mktemp("edge")) as running:
        yield running


def test_the_set_is_as_large_as_it_claims() -> None:
    assert len(CASES) >= 130
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_request_is_taken_as_framed_or_refused(case: Case, server: Running) -> None:
    assert fault(server.port, case) == ""


@pytest.mark.parametrize(
    "case", [case for case in CASES if not case.serve and len(case.data) < 4096], ids=lambda c: c.name
)
def test_a_refusal_is_the_same_whatever_the_packets(case: Case, server: Running) -> None:
    """Byte by byte through the same judge, on the real wire."""
    assert said_in_pieces(server.port, case.data) == [status for status, _ in answers(talk(server.port, case.data)[0])]


def said_in_pieces(port: int, data: bytes) -> list[int]:
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for at in range(0, len(data), 7):
                wire.sendall(data[at : at + 7])
            while piece := wire.recv(65536):
                said += piece
        except (ConnectionResetError, BrokenPipeError):
            pass
    return [status for status, _ in answers(said)]


@pytest.mark.parametrize(
    "field", [b"Proxy-Connection: close", b"Connection: close", b"Upgrade: h2c", b"Expect: 100-continue"]
)
def test_what_one_client_says_changes_nothing_for_the_next(field: bytes, server: Running) -> None:
    assert only_answer(server.port, b"GET / HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n\r\n") == 200
    assert only_answer(server.port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == 200


def only_answer(port: int, data: bytes) -> int:
    """The status of the one answer there is: nothing follows it for a moment."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as wire:
        wire.sendall(data)
        answer = read_answer(wire)
        wire.settimeout(0.2)
        with suppress(TimeoutError):
            assert wire.recv(1) == b""
    return answer.status


def test_every_refusal_is_in_the_standard_form_and_shows_nothing(server: Running) -> None:
    for case in CASES:
        if case.serve:
            continue
        said, _ = talk(server.port, case.data)
        status, body = answers(said)[-1]
        error = json.loads(body)["error"]
        assert set(error) == {"code", "message", "requestId", "timestamp"}, case.name
        assert f"x-request-id: {error['requestId']}".encode() in said
        assert b"connection: close" in said
        for leak in (b"Traceback", b"gateway_runtime", b"httptools", b"llhttp", b"File ", b".py"):
            assert leak not in said, case.name
        if status in (405, 501) and case.name in ("unknown method", "CONNECT", "TRACE", "lower-case method"):
            assert b"allow: GET" in said
    assert server.process.poll() is None
    assert well(server.port)


def test_plain_uvicorn_fails_some_so_the_set_can_fail(tmp_path: Path) -> None:
    known = {"TE in HTTP/1.0", "Host missing", "Host twice", "host: path and query", "101 fields"}
    with edge(tmp_path, "uvicorn") as plain:
        assert {case.name for case in CASES if case.name in known and fault(plain.port, case, 1.0)} == known
