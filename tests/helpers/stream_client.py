"""A client of the stream that says exactly what it is told to, over WebSocket or polling."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.helpers import tokens
from tests.helpers.gateway_process import Running, read_answer
from tests.helpers.waiting import PATIENCE, until

PATH = "/api/xynergyos/v2/stream/"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def user_token(user: str, tenant: str = tokens.TENANT, **claims: Any) -> str:
    return tokens.issuer().token(tenant, user, **claims)


def stated(gateway: Running) -> dict[str, Any]:
    """What the gateway says about its sockets."""
    said: dict[str, Any] = gateway.ask("GET", "/health/deep", token="").json()["websocket"]
    return said


def counted(gateway: Running, wanted: int, seconds: float = PATIENCE) -> None:
    """Waits until the gateway counts so many open sockets."""
    try:
        until(lambda: stated(gateway)["connections"] == wanted, seconds)
    except AssertionError as fault:
        told = [line for line in gateway.lines() if "/health" not in line][-40:]
        raise AssertionError("\n".join([f"{stated(gateway)}", *told])) from fault


class Refused(Exception):
    """The handshake was answered with something else than 101."""

    def __init__(self, status: int, code: str) -> None:
        self.status, self.code = status, code
        super().__init__(f"{status} {code}")


class Ended(Exception):
    """The socket is over; `code` is the close frame's, 0 without one."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        super().__init__(str(code))


class Raw:
    """One WebSocket, frame by frame."""

    def __init__(
        self, port: int, *headers: str, query: str = "EIO=4&transport=websocket", timeout: float = PATIENCE
    ) -> None:
        self.wire = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self._buffer = b""
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {PATH}?{query} HTTP/1.1", "Host: gateway.test", "Upgrade: websocket", "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", *headers,
        ]  # fmt: skip
        self.wire.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
        head = self._until(b"\r\n\r\n")
        self.status = int(head.split()[1])
        if self.status != 101:
            self._buffer = head + self._buffer
            answer = read_answer(_Replay(self._buffer, self.wire))  # type: ignore[arg-type]
            self.wire.close()
            raise Refused(answer.status, answer.code)
        self.head = head.lower()

    def close(self) -> None:
        self.wire.close()

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._fill()
        found, _, self._buffer = self._buffer.partition(mark)
        return found + mark

    def _fill(self) -> None:
        try:
            piece = self.wire.recv(65536)
        except ConnectionResetError:
            piece = b""
        if not piece:
            raise Ended
        self._buffer += piece

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._fill()
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found

    def frame(self) -> tuple[int, bytes]:
        """The next frame: what it is, and what it holds."""
        first, second = self._take(2)
        size = second & 127
        if size == 126:
            (size,) = struct.unpack("!H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._take(8))
        return first & 15, self._take(size)

    def text(self, *, heartbeats: bool = False) -> str:
        """The next text; Ended when a close frame or the end comes first."""
        while True:
            kind, data = self.frame()
            if kind == CLOSE:
                raise Ended(struct.unpack("!H", data[:2])[0] if data else 0)
            if kind == TEXT and (heartbeats or data != b"2"):
                return data.decode()

    def end(self) -> int:
        """Reads to the end; the close frame's code."""
        try:
            while True:
                self.text()
        except Ended as ended:
            return ended.code

    def send(self, text: str | bytes, kind: int = TEXT) -> None:
        self.wire.sendall(masked(text.encode() if isinstance(text, str) else text, kind))

    def connect(self, token: str | None = None) -> Raw:
        """Engine.IO's OPEN read, and CONNECT accepted."""
        answer = self.asked_to_connect(token)
        assert answer.startswith('40{"sid"'), answer
        return self

    def asked_to_connect(self, token: str | None = None) -> str:
        self.open = json.loads(self.text().removeprefix("0"))
        self.send("40" + json.dumps({"token": token if token is not None else user_token(os.urandom(4).hex())}))
        return self.text()

    def ask(self, *event: Any) -> Any:
        """Emits an event; its acknowledgement."""
        self.send("427" + json.dumps(event))
        answer = self.text()
        assert answer.startswith("437["), answer
        return json.loads(answer[3:])[0]


class _Replay:
    def __init__(self, data: bytes, wire: socket.socket) -> None:
        self._data, self._wire = data, wire

    def recv(self, size: int) -> bytes:
        data, self._data = self._data, b""
        return data or self._wire.recv(size)


def masked(data: bytes, kind: int = TEXT, *, bits: int = 0x80) -> bytes:
    """One frame as a client sends it; the mask is zero, which is a mask like any other."""
    size = len(data)
    if size < 126:
        head = struct.pack("!BB", bits | kind, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", bits | kind, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", bits | kind, 0x80 | 127, size)
    return head + bytes(4) + data


@contextmanager
def raw(gateway: Running, *headers: str, **more: Any) -> Iterator[Raw]:
    """A WebSocket whose handshake was accepted."""
    found = Raw(gateway.port, *headers, **more)
    try:
        yield found
    finally:
        found.close()


class Polling:
    """A client that polls."""

    def __init__(self, gateway: Running, **headers: str) -> None:
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{gateway.port}", timeout=PATIENCE, headers=headers, trust_env=False
        )
        first = self.http.get(f"{PATH}?EIO=4&transport=polling")
        self.first = first
        self.sid = json.loads(first.text[1:])["sid"] if first.status_code == 200 else ""

    @property
    def query(self) -> str:
        return f"{PATH}?EIO=4&transport=polling&sid={self.sid}"

    def poll(self) -> httpx.Response:
        return self.http.get(self.query)

    def post(self, body: str | bytes) -> httpx.Response:
        return self.http.post(self.query, content=body, headers={"content-type": "text/plain;charset=UTF-8"})

    def connect(self, token: str | None = None) -> Polling:
        answer = self.asked_to_connect(token)
        assert answer.startswith('40{"sid"'), answer
        return self

    def asked_to_connect(self, token: str | None = None) -> str:
        self.post("40" + json.dumps({"token": token if token is not None else user_token(os.urandom(4).hex())}))
        return self.poll().text

    def __enter__(self) -> Polling:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
