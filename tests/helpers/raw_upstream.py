"""An upstream that answers with exactly the bytes it is told to, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Play = Callable[[socket.socket, int], None]


def says(*pieces: bytes, pause: float = 0, then: str = "close") -> Play:
    """Answers each request with these pieces; then "close", "reset", or "keep" for the next request."""

    def play(wire: socket.socket, _number: int) -> None:
        for piece in pieces:
            wire.sendall(piece)
            time.sleep(pause)
        if then == "reset":
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if then != "keep":
            wire.close()

    return play


def late(seconds: float, answer: bytes = OK) -> Play:
    """Answers each request after this long, and keeps the connection."""

    def play(wire: socket.socket, _number: int) -> None:
        time.sleep(seconds)
        wire.sendall(answer)

    return play


@contextlib.contextmanager
def mute() -> Iterator[RawUpstream]:
    """An upstream that takes requests and never answers one."""
    over = threading.Event()

    def play(_wire: socket.socket, _number: int) -> None:
        over.wait()

    with RawUpstream(play) as upstream:
        try:
            yield upstream
        finally:
            over.set()


def status(number: int) -> Play:
    """Answers each request with this status, and keeps the connection."""
    return says(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\n{}" % number, then="keep")


@contextlib.contextmanager
def blackhole() -> Iterator[str]:
    """An address where a connection is neither made nor refused: its queue is full and nobody empties it."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


class RawUpstream:
    """Serves `play(wire, number of the request on this connection)` for every request that arrives whole."""

    def __init__(self, play: Play, *, tls: ssl.SSLContext | None = None) -> None:
        self.play = play
        self._tls = tls
        self.requests: list[bytes] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._wires: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def hang_up(self) -> None:
        """Ends every connection there is."""
        while self._wires:
            wire = self._wires.pop()
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
            wire.close()

    def __enter__(self) -> RawUpstream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join(timeout=30)

    def _accept(self) -> None:
        while True:
            try:
                wire, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._wires.append(wire)
            thread = threading.Thread(target=self._serve, args=(wire,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, wire: socket.socket) -> None:
        number = 0
        with contextlib.suppress(OSError):
            if self._tls is not None:
                wire = self._tls.wrap_socket(wire, server_side=True)
                self._wires.append(wire)
            while request := _read(wire):
                self.requests.append(request)
                number += 1
                self.play(wire, number)


def _read(wire: socket.socket) -> bytes:
    data = bytearray()
    while not _whole(data):
        piece = wire.recv(65536)
        if not piece:
            return b""
        data += piece
    return bytes(data)


def _whole(data: bytearray) -> bool:
    end = data.find(b"\r\n\r\n")  # never a copy of the body: 10 MB of it would outlast the deadline of a test
    if end < 0:
        return False
    lines = bytes(data[:end]).split(b"\r\n")[1:]
    fields = {line.partition(b":")[0].lower(): line.partition(b":")[2].strip() for line in lines}
    if fields.get(b"transfer-encoding") == b"chunked":
        return len(data) > end + 4 and data.endswith(b"0\r\n\r\n")
    return len(data) - end - 4 >= int(fields.get(b"content-length", b"0"))
