"""One request and its answer, as the ASGI application sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from gateway_runtime.errors import ClientGone, Problem
from gateway_runtime.server.answers import BODILESS, CONTINUE, LAST_CHUNK, BadAnswer, Start
from gateway_runtime.server.head import Head

if TYPE_CHECKING:
    from gateway_runtime.server.connection import Connection

JOIN_LIMIT = 64 * 1024
"""A body up to this size leaves in one write with its head."""
_ASGI = {"version": "3.0", "spec_version": "2.3"}
_EXTENSIONS: dict[str, dict[str, str]] = {"gateway.whole": {}}
_GONE = {"type": "http.disconnect"}


class Exchange:
    """`run` calls the application; `receive` and `send` are its ends of the exchange.

    Beyond ASGI: `receive` raises the Problem when the body turns out malformed or too slow, so that the application's own
    error answer goes out; `send` raises ClientGone once the client has left; a start with `"whole": True` promises that the
    body follows at once, so that both leave in one write, and one with a `"body"` holds all of it (the extension
    `gateway.whole` says that it may). `on_leave` in the scope takes a function that is called at once when the client leaves.
    """

    __slots__ = (
        "_body", "_chunked", "_complete", "_connection", "_event", "_fault", "_framed", "_gone", "_head", "_left", "_left_too",
        "_more",
        "_silent", "_size", "_start", "_told", "expects", "keep_alive", "task",
    )  # fmt: skip

    def __init__(self, connection: Connection, head: Head) -> None:
        self._connection = connection
        self._head = head
        self.keep_alive = head.keep_alive
        self.expects = head.expects
        """Whether the client still waits for 100 Continue."""
        self.task: asyncio.Task[None] | None = None
        self._event: asyncio.Event | None = None
        # the request's body
        self._body: list[bytes] = []
        self._size = 0
        self._more = head.length != 0
        """Whether some of it has not arrived."""
        self._told = False
        """Whether the application knows that it is whole."""
        self._fault: Problem | None = None
        self._gone = False
        self._left_too: Callable[[], None] | None = None
        # the answer
        self._start: Start | None = None
        self._framed = False
        """Whether its head is on the wire."""
        self._chunked = False
        self._left: int | None = None
        """Bytes the answer's body still owes; None when it is not counted."""
        self._silent = False
        """Whether the answer has no body on the wire, whatever the application sends."""
        self._complete = False

    def scope(self) -> dict[str, Any]:
        """The ASGI connection scope."""
        head, connection = self._head, self._connection
        path = head.path.decode("ascii")
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": "1.0" if head.http10 else "1.1",
            "method": head.method,
            "scheme": "http",
            "path": unquote(path) if "%" in path else path,
            "raw_path": head.path,
            "query_string": head.query,
            "root_path": "",
            "headers": head.fields,
            "server": connection.server,
            "client": connection.client,
            "state": connection.front.state.copy(),
            "extensions": _EXTENSIONS,
            "on_leave": self.on_leave,
        }

    async def run(self) -> None:
        """Calls the application and makes sure that there is an answer, or an end."""
        front = self._connection.front
        try:
            await front.app(self.scope(), self.receive, self.send)
            if not (self._complete or self._gone):
                self._give_up("The application ended without a whole answer")
        except ClientGone:
            if not self._gone:
                self._give_up("The application gave up a client that is still there")
        except Problem as problem:
            self._give_up(problem if problem is self._fault else f"Exception in the application: {problem!r}")
        except asyncio.CancelledError:
            self._give_up(Problem("SERVICE_UNAVAILABLE"))
            raise
        except Exception as error:
            if not self._gone:
                front.logger.error("Exception in the application", exc_info=error)
            self._give_up(Problem("INTERNAL_ERROR"))
        finally:
            if self.task is not None:
                front.tasks.discard(self.task)

    async def receive(self) -> dict[str, Any]:
        """The next piece of the body; after its end, waits for the client to leave or the answer to be out."""
        while True:
            if self._gone or self._complete:
                return _GONE
            if self._body or not (self._more or self._told):
                body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
                self._body, self._size = [], 0
                self._told = not self._more
                return {"type": "http.request", "body": body, "more_body": self._more}
            if self._fault is not None:
                raise self._fault
            if self._more:
                self._connection.listen(CONTINUE if self.expects else b"")
                self.expects = False
            if self._event is None:
                self._event = asyncio.Event()
            self._event.clear()
            await self._event.wait()

    async def send(self, message: dict[str, Any]) -> None:
        """Sends the head or a piece of the body of the answer."""
        if self._connection.blocked:
            await self._connection.writable()
        if self._gone:
            raise ClientGone
        kind = message["type"]
        start = self._start
        if start is None and kind == "http.response.start":
            self._start = start = Start(message["status"], message.get("headers", ()))
            body = message.get("body")
            if body is not None:
                self._write(self._frame(start, len(body)), self._portion(body, False))
                self._end()
            elif not message.get("whole", False):
                self._connection.write(self._frame(start, None))
            return
        if start is None or self._complete or kind != "http.response.body":
            raise BadAnswer(f"{kind} out of turn")
        body, more = message.get("body", b""), message.get("more_body", False)
        data = b"" if self._framed else self._frame(start, None if more else len(body))
        self._write(data, self._portion(body, more))
        if not more:
            self._end()

    def on_leave(self, then: Callable[[], None]) -> None:
        """Calls `then` when the client leaves before the answer is out; at once when it has left."""
        if self._gone:
            then()
        else:
            self._left_too = then

    def _write(self, data: bytes, portion: bytes) -> None:
        if len(portion) > JOIN_LIMIT:
            if data:
                self._connection.write(data)
            self._connection.write(portion)
        elif data or portion:
            self._connection.write(data + portion)

    def _frame(self, start: Start, size: int | None) -> bytes:
        """The head on the wire; `size` is the length of the whole body, where it is known."""
        old = self._head.http10
        fields = []
        self._silent = self._head.method == "HEAD" or start.status in BODILESS
        if not self._silent:
            self._left = size if start.length is None else start.length
            if self._left is None:
                self._chunked = not old
                if old:  # only the end of the connection can end the body
                    self.keep_alive = False
                else:
                    fields.append(b"\r\ntransfer-encoding: chunked")
            elif start.length is None:
                fields.append(b"\r\ncontent-length: %d" % self._left)
        if start.closes or self._more:  # a body nobody reads to its end cannot be told from the next request
            self.keep_alive = False
        if not self.keep_alive:
            fields.append(b"\r\nconnection: close")
        elif old:
            fields.append(b"\r\nconnection: keep-alive")
        data = start.frame(*fields)
        self._framed = True
        return data

    def _portion(self, body: bytes, more: bool) -> bytes:
        """A piece of the body as it goes on the wire."""
        if self._silent:
            return b""
        if self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return chunk if more else chunk + LAST_CHUNK
        if self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise BadAnswer("the body is longer or shorter than its content-length")
        return body

    def _end(self) -> None:
        self._complete = True
        self._left_too = None
        self._wake()
        self._connection.answered(self)

    # the connection's side

    def arrived(self, piece: bytes, whole: bool) -> int:
        """Takes body bytes from the wire; returns how many wait for the application."""
        if piece:
            self._body.append(piece)
            self._size += len(piece)
        if whole:
            self._more = self.expects = False
        elif piece:
            self.expects = False
        self._wake()
        return self._size

    def fail(self, problem: Problem) -> None:
        """The rest of the body will not come."""
        self.keep_alive = False
        self._fault = self._fault or problem
        self._wake()

    def leave(self) -> None:
        """The client is gone."""
        self._gone = True
        self._wake()
        if self._left_too is not None and not self._complete:
            then, self._left_too = self._left_too, None
            then()

    # within

    def _give_up(self, reason: Problem | str) -> None:
        """An answer of the server's own where the application made none, or the end of one cut short."""
        if self._complete or self._gone:
            return
        self._complete, self.keep_alive, self._left_too = True, False, None
        if self._framed:
            self._connection.cut_short(self, framed=self._chunked or self._left is not None)
            return
        if isinstance(reason, str):
            self._connection.front.logger.error(reason)
            reason = Problem("INTERNAL_ERROR")
        self._connection.refuse(reason)

    def _wake(self) -> None:
        if self._event is not None:
            self._event.set()
