"""Real gateway_runtime processes on real sockets, and a client that says exactly the bytes it is told to."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.helpers import tokens
from tests.helpers.waiting import PATIENCE, free_port

ROOT = Path(__file__).resolve().parents[2]
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONDONTWRITEBYTECODE")


@dataclass
class Answer:
    """One answer as it came: `complete` is False when the connection ended before the promised body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    complete: bool = True

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json()["error"]["code"])


@dataclass
class Running:
    """A started process; its log lines are in `log()` once it has been stopped or a moment has passed."""

    port: int
    process: subprocess.Popen[bytes]
    out: Path
    answers: list[Answer] = field(default_factory=list)

    def ask(
        self,
        method: str,
        target: str,
        *headers: str,
        body: bytes = b"",
        timeout: float = PATIENCE,
        token: str | None = None,
    ) -> Answer:
        """One request, with a right token unless `token` is empty or another header line."""
        shown = tokens.bearer() if token is None else token
        lines = [f"{method} {target} HTTP/1.1", "Host: gateway.test", *filter(None, (shown,)), *headers]
        lines.append("Connection: close")
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return self.raw(
            "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body, head=method == "HEAD", timeout=timeout
        )

    def raw(self, data: bytes, *, head: bool = False, timeout: float = PATIENCE) -> Answer:
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as wire:
            wire.sendall(data)
            return read_answer(wire, head=head)

    def lines(self) -> list[str]:
        return self.out.read_text().splitlines()

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines()]

    def await_log(self, wanted: str, seconds: float = PATIENCE) -> list[str]:
        """The lines once one of them holds `wanted`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if any(wanted in line for line in self.lines()):
                return self.lines()
            time.sleep(0.02)
        raise AssertionError(f"no line with {wanted!r} in {self.lines()}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE)


def proven(data: bytes) -> bytes:
    """The head of a request with a right token in it."""
    line, end, rest = data.partition(b"\r\n")
    return line + end + tokens.bearer().encode() + end + rest


def read_answer(wire: socket.socket, *, head: bool = False) -> Answer:
    """Reads one answer; chunked bodies are joined."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = wire.recv(65536)
        if not piece:
            raise ConnectionError(f"closed after {data!r}")
        data += piece
    top, _, body = data.partition(b"\r\n\r\n")
    lines = top.decode("latin-1").split("\r\n")
    headers = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines[1:])]
    answer = Answer(int(lines[0].split()[1]), headers, body)
    if head or answer.status in (204, 304):
        return answer
    chunked, length = answer.header("transfer-encoding"), answer.header("content-length")
    while (not _chunks_end(body)) if chunked else (length is None or len(body) < int(length)):
        try:
            piece = wire.recv(65536)
        except ConnectionResetError:
            piece = b""
        if not piece:
            answer.complete = not chunked and length is None
            break
        body += piece
    answer.body = _join(body) if chunked else body
    return answer


def _chunks_end(data: bytes) -> bool:
    return data == b"0\r\n\r\n" or data.endswith(b"\r\n0\r\n\r\n")


def _join(data: bytes) -> bytes:
    whole = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        count = int(size or b"0", 16)
        whole, data = whole + data[:count], data[count + 2 :]
    return whole


@contextmanager
def running(folder: Path, *words: str, wait: bool = True, auth: bool = True, **env: str) -> Iterator[Running]:
    """A gateway_runtime process with this environment, which believes the tests' issuer; killed at the end, whatever
    happens. `auth=False` leaves authentication unconfigured; `words` are what Python is started with instead.
    """
    port = int(env.get("PORT", 0)) or free_port()
    out = folder / f"out-{port}-{time.monotonic_ns()}.log"
    base = {name: os.environ[name] for name in KEPT if name in os.environ} | (tokens.settings() if auth else {})
    with out.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, *(words or ("-m", "gateway_runtime"))],
            env={**base, "PORT": str(port), **env},
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
        )
    try:
        if wait:
            _until_listening(process, port, out)
        yield Running(port, process, out)
    finally:
        process.kill()
        process.wait()


def _until_listening(process: subprocess.Popen[bytes], port: int, out: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.01)
    raise AssertionError(f"did not listen: {out.read_text()}")
