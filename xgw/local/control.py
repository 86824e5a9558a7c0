"""The daemon's own HTTP endpoint, for `xgw local status`: GET /status, JSON, loopback only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

from xgw.local.connection import Connection, HeadTooLarge
from xgw.local.http_wire import Malformed, Request, encode, parse_request

IDLE_S = 10.0


class Control:
    """Serves what `tell` returns. One request a connection."""

    def __init__(self, tell: Callable[[], dict[str, Any]]) -> None:
        self._tell = tell
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[Connection] = set()
        self.url = ""

    async def serve(self, host: str = "127.0.0.1") -> None:
        """Listen on any free port; `url` tells where."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self._accepted, self._connections.discard), host, 0)
        self.url = f"http://{host}:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)

    def _accepted(self, connection: Connection) -> None:
        self._connections.add(connection)
        task = asyncio.create_task(self._answer(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, connection: Connection) -> None:
        timer = asyncio.get_running_loop().call_later(IDLE_S, connection.abort)
        try:
            status, body = self._reply(parse_request(await connection.head()))
            await connection.send(_response(status, body))
        except (Malformed, HeadTooLarge):
            await connection.send(_response(400, {"error": "bad request"}))
        except (OSError, EOFError):
            return
        finally:
            timer.cancel()
            connection.close_politely()

    def _reply(self, request: Request) -> tuple[int, dict[str, Any]]:
        hosts = [value for name, value in request.headers if name.lower() == b"host"]
        # A web page whose name was made to point here still says its own name.
        if not all(host.partition(b":")[0] in (b"127.0.0.1", b"localhost") for host in hosts):
            return 403, {"error": "loopback only"}
        if request.target.partition(b"?")[0] != b"/status":
            return 404, {"error": "not found"}
        if request.method != b"GET":
            return 405, {"error": "GET only"}
        return 200, self._tell()


def _response(status: int, body: dict[str, Any]) -> bytes:
    raw = json.dumps(body).encode()
    headers = [
        (b"Date", formatdate(usegmt=True).encode()),
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"%d" % len(raw)),
        (b"Connection", b"close"),
    ]
    return encode(b"HTTP/1.1 %d %b" % (status, b"OK" if status == 200 else b"Refused"), headers) + raw
