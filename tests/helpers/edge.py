"""Starts tests.helpers.edge_program, and judges framing cases against it.

python -m tests.helpers.edge        # how many of CASES the server edge and plain uvicorn get right
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.helpers.framing_cases import CASES, Case
from tests.helpers.gateway_process import ROOT, Running, read_answer
from tests.helpers.waiting import PATIENCE, free_port

SAID_WITHIN = 8.0
"""Seconds in which a refusal has to be there, its end of the connection included: before any deadline could be what ends it."""


@contextmanager
def edge(
    folder: Path, server: str = "ours", ws: str = "none", *, descriptors: int = 0, **settings: str
) -> Iterator[Running]:
    """The program, listening, with so many file descriptors where a number is given; killed at the end."""
    port = free_port()
    out = folder / f"edge-{port}.log"
    words = [str(port), server, ws, *(f"{name}={value}" for name, value in settings.items())]
    with out.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.edge_program", *words],
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
        )
    try:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.01)
        else:
            raise AssertionError(f"did not listen: {out.read_text()}")
        yield Running(port, process, out)
    finally:
        process.kill()
        process.wait()


def talk(port: int, data: bytes, seconds: float = SAID_WITHIN) -> tuple[bytes, bool]:
    """All that comes back for these bytes, and whether the connection was ended from there in time."""
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as wire:
        with suppress(OSError):  # refused before all of it was sent; what was said is still there to read
            wire.sendall(data)
        try:
            while piece := wire.recv(65536):
                said += piece
        except ConnectionResetError:
            return said, True
        except TimeoutError:
            return said, False
    return said, True


def answers(said: bytes) -> list[tuple[int, bytes]]:
    """The answers in what came back: status and body. ValueError when it is not a row of whole answers."""
    found = []
    while said:
        head, mark, rest = said.partition(b"\r\n\r\n")
        match = re.match(rb"HTTP/1\.1 ([0-9]{3}) ", head)
        if not mark or not match:
            raise ValueError(said[:100])
        if match[1] == b"100":
            said = rest
            continue
        length = re.search(rb"\r\ncontent-length: ([0-9]+)", head, re.IGNORECASE)
        if length:
            body, said = rest[: int(length[1])], rest[int(length[1]) :]
        elif match[1] in (b"204", b"304"):
            body, said = b"", rest
        else:
            body = b""
            while size := re.match(rb"([0-9a-f]+)\r\n", rest):
                count = int(size[1], 16)
                body += rest[size.end() : size.end() + count]
                rest = rest[size.end() + count + 2 :]
                if not count:
                    break
            said = rest
        found.append((int(match[1]), body))
    return found


def fault(port: int, case: Case, seconds: float = SAID_WITHIN) -> str:
    """What is wrong with how this server takes the case; empty when nothing is."""
    said, ended = talk(port, case.data, seconds)
    try:
        found = answers(said)
    except ValueError as error:
        return f"not answers: {error}"
    served = [tuple(json.loads(body)) for status, body in found if status == 200]
    if not ended:
        return f"not ended, answered {[status for status, _ in found]} {served}"
    if served != list(case.serve):
        return f"served {served}"
    refused = [status for status, _ in found if status != 200]
    if case.serve:
        return f"refused {refused}" if refused and case.name != "junk behind a body" else ""
    return "" if len(refused) == 1 and refused[0] in case.status else f"refused {refused}"


def well(port: int) -> bool:
    """Whether another connection is still served."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as wire:
        wire.sendall(b"GET /state HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        return read_answer(wire).status == 200


def compare() -> None:
    """Prints both figures, and the cases each gets wrong."""
    with tempfile.TemporaryDirectory() as folder:
        for server in ("ours", "uvicorn"):
            with edge(Path(folder), server) as running:
                wrong = {case.name: said for case in CASES if (said := fault(running.port, case))}
            sys.stdout.write(f"{server}: {len(CASES) - len(wrong)} of {len(CASES)}\n")
            for name, said in wrong.items():
                sys.stdout.write(f"  {name}: {said[:90]}\n")


if __name__ == "__main__":
    compare()
