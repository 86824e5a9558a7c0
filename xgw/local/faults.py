"""Programs that misbehave in one way each, to rehearse what a deployment must survive.

`python -m xgw.local.faults KIND`. They are the bodies of the `xgw.local/fault-*` images. Each one listens on $PORT like
a real container, unless not listening is its fault.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MIB = 1024 * 1024
KEPT_PER_REQUEST = 8 * MIB
MOST_AT_START = 2560 * MIB
"""More than any limit of the plan; a bound, so that the program cannot take the machine down without a watchdog."""

_kept: list[bytearray] = []


def _keep(size: int) -> None:
    """Hold `size` bytes of resident memory: written, not only reserved, or they would not count."""
    _kept.append(bytearray(b"\x01") * size)


def _serve(answer: Callable[[str], tuple[int, Mapping[str, object]]]) -> None:
    """Serve HTTP on $PORT for ever; `answer` maps a path to a status and a JSON body."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = answer(self.path)
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(raw)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _any  # noqa: N815  http.server's names

        def log_message(self, format: str, *args: object) -> None:
            sys.stdout.write(json.dumps({"severity": "INFO", "message": format % args}) + "\n")

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    Server((os.environ.get("LISTEN_ADDRESS", "127.0.0.1"), int(os.environ["PORT"])), Handler).serve_forever()


def crash() -> None:
    """Exits 1 before it listens."""
    sys.stderr.write("fault-crash: giving up at start\n")
    sys.exit(1)


def silent() -> None:
    """Never listens."""
    while True:
        time.sleep(3600)


def memory_at_start() -> None:
    """Takes more and more memory before it listens, up to 2.5 GiB, then waits."""
    for _ in range(MOST_AT_START // (16 * MIB)):
        _keep(16 * MIB)
        time.sleep(0.002)
    silent()


def memory_under_load() -> None:
    """Answers 200 to everything and keeps 8 MiB for every request."""

    def answer(path: str) -> tuple[int, Mapping[str, object]]:
        _keep(KEPT_PER_REQUEST)
        return 200, {"status": "ok", "path": path, "kept": len(_kept)}

    _serve(answer)


def errors() -> None:
    """Answers 500 to everything but /health."""

    def answer(path: str) -> tuple[int, Mapping[str, object]]:
        if path.partition("?")[0] == "/health":
            return 200, {"status": "ok"}
        return 500, {"error": {"code": "INTERNAL", "message": "fault-errors fails every request"}}

    _serve(answer)


def slow_stop() -> None:
    """Answers 200 and ignores SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _serve(lambda path: (200, {"status": "ok", "path": path}))


KINDS: Mapping[str, Callable[[], None]] = {
    "crash": crash,
    "silent": silent,
    "memory-at-start": memory_at_start,
    "memory-under-load": memory_under_load,
    "errors": errors,
    "slow-stop": slow_stop,
}

if __name__ == "__main__":
    KINDS[sys.argv[1]]()
