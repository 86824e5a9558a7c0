"""A server of public keys on loopback: it counts who asks, and can be slow, sick, or gone."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


class KeyServer:
    """`play` says how it answers: ok, 500, html, redirect, huge, silent (until closed), drip."""

    def __init__(self, body: bytes, *, cache_control: str = "public, max-age=3600") -> None:
        self.body, self.cache_control, self.play = body, cache_control, "ok"
        self.asked: list[str] = []
        self._over = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.asked.append(self.path)
                server._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def _answer(self, to: BaseHTTPRequestHandler) -> None:
        status, body, more = 200, self.body, [("Cache-Control", self.cache_control)]
        if self.play == "silent":
            self._over.wait(30)
            to.close_connection = True
            return
        if self.play == "500":
            status = 500  # with a key set all the same: what a sick server says does not count
        elif self.play == "html":
            body = b"<html>maintenance</html>"
        elif self.play == "redirect":
            status, more = 302, [("Location", f"http://127.0.0.1:{self.port}/elsewhere")]
        elif self.play == "huge":
            body = self.body + b" " * 5_000_000
        to.send_response(status)
        for name, value in (("Content-Length", str(len(body))), ("Content-Type", "application/json"), *more):
            to.send_header(name, value)
        to.end_headers()
        try:
            if self.play == "drip":
                for byte in body:
                    to.wfile.write(bytes([byte]))
                    time.sleep(0.05)
            else:
                to.wfile.write(body)
        except OSError:
            pass

    def __enter__(self) -> KeyServer:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Gone: from now on nobody listens there."""
        self._over.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
