"""A Redis that answers scripts with exactly the bytes it is told to, and everything else as a Redis does."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Iterator


class _Talk(socketserver.StreamRequestHandler):
    server: RawRedis

    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := self.rfile.readline():
                words = [self._word() for _ in range(int(line[1:]))]
                self.wfile.write(self.server.answer(words))

    def _word(self) -> bytes:
        return self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2]


class RawRedis(socketserver.ThreadingTCPServer):
    """`says`: what stands in a script's first key -> the answer to it. Signs of life are answered; other scripts get a nil."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, says: dict[bytes, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Talk)
        self.says = says
        self.heard: list[bytes] = []
        """The keys that scripts were asked about."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.server_address[1]}"

    def answer(self, words: list[bytes]) -> bytes:
        if not words[0].upper().startswith(b"EVAL"):
            return b"+OK\r\n"
        key, last = words[3], words[-1]
        if key.endswith(b":live"):
            return b"*2\r\n$%d\r\n%b\r\n:1\r\n" % (len(last), last)
        self.heard.append(key)
        return next((said for part, said in self.says.items() if part in key), b"$-1\r\n")


@contextlib.contextmanager
def raw_redis(says: dict[bytes, bytes]) -> Iterator[RawRedis]:
    with RawRedis(says) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
