"""Carries a session over what the client has: a WebSocket, or polls and POSTs. Between the request and the engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from gateway_runtime.asgi import Headers, Request, Response
from gateway_runtime.errors import ClientGone, Problem
from gateway_runtime.server.websocket_name import WIRE
from gateway_runtime.stream import handshake
from gateway_runtime.stream import reasons as why
from gateway_runtime.stream.packets import count, payload
from gateway_runtime.stream.session import Reader, Session

if TYPE_CHECKING:
    from gateway_runtime.settings import Settings
    from gateway_runtime.stream.engine import Server
    from gateway_runtime.stream.reasons import Reason

CLOSE, TAKEN = b"1", b"OK"
"""Engine.IO's packet, as the answer to a poll; the answer to a POST."""


class Transports:
    """`fail` ends a session with a reason; `cut` ends it for good, at once."""

    def __init__(
        self,
        settings: Settings,
        fail: Callable[[Session, Reason], None],
        cut: Callable[[Session], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._fail = fail
        self._cut = cut

    def websocket(self, server: Server, request: Request, session: Session, wish: handshake.Wish) -> Response:
        """The answer to a WebSocket's handshake: of a new session, or of one that comes over from polling."""
        switch = request.switch
        assert switch is not None
        if session.line is not None or session.upgrading or session.closing is not None:
            raise handshake.unknown_session()
        session.upgrading = bool(wish.sid)
        line = switch.scope["extensions"][WIRE]
        settings = self._settings

        async def run(headers: Headers) -> None:
            async def accept() -> Any:
                await switch.send({"type": "websocket.accept", "headers": headers})
                switch.scope.clear()
                return line

            async def send(_message: Any) -> None:
                """What the library would say, everything of which has been said."""

            reader = Reader(
                switch.receive, session, self._fail, limit=settings.ws_message_bytes, rate=settings.ws_message_rate
            )
            scope, first = server.request(wish.query, session=session, reader=reader, accept=accept)

            async def receive() -> Any:
                return first

            try:
                await server.handle_request(scope, receive, send)
            except OSError:  # the client went before it could be accepted
                pass
            finally:
                session.upgrading = False
                line.end(1000, "")
                if not wish.sid:
                    await server.finish(session)

        response = Response(101)
        response.run = run
        return response

    async def poll(self, server: Server, request: Request, session: Session, wish: handshake.Wish) -> Response:
        """The packets that wait, as soon as there are any."""
        if session.polling:
            self._fail(session, why.BAD_MESSAGE)
            raise Problem("BAD_REQUEST", "There is a poll under way")
        if session.closing is not None and session.outbox.empty:
            await self._cut(session)
            return _polled(CLOSE)
        session.polling = True
        asked = asyncio.ensure_future(self._ask(server, session, wish))
        gone = asyncio.ensure_future(request.disconnected())
        try:
            await asyncio.wait((asked, gone), return_when=asyncio.FIRST_COMPLETED)
            if not asked.done():  # a browser whose poll breaks off begins a new session
                self._fail(session, why.GONE)
                session.cut_at = 0
                raise ClientGone
            answer = asked.result()
            if answer.body == CLOSE:
                await self._cut(session)
            return answer
        finally:
            session.polling, session.polled_at = False, time.monotonic()
            for task in (asked, gone):
                task.cancel()
            await asyncio.gather(asked, gone, return_exceptions=True)

    async def post(self, server: Server, request: Request, session: Session) -> Response:
        """Takes what a polling client says."""
        if session.posting:
            self._fail(session, why.BAD_MESSAGE)
            raise Problem("BAD_REQUEST", "There is a POST under way")
        session.posting = True
        try:
            body = b""
            async for piece in request.stream():
                body += piece
                if len(body) > self._settings.ws_message_bytes:
                    self._fail(session, why.TOO_LARGE)
                    raise Problem("PAYLOAD_TOO_LARGE", f"A message may hold {self._settings.ws_message_bytes} bytes")
            if not session.may_send(self._settings.ws_message_rate, count(body)):
                self._fail(session, why.TOO_MANY)
                if session.sio:  # its poll tells it not to come again; an error here would be quicker, and it would
                    return _polled(TAKEN)
                raise Problem("RATE_LIMITED")
            packets = payload(body)
            if packets is None:
                self._fail(session, why.BAD_MESSAGE)
                raise Problem("BAD_REQUEST", "The packets are not well formed, or not allowed")
            await server.said(session, packets)
            return _polled(TAKEN)
        finally:
            session.posting, session.polled_at = False, time.monotonic()

    async def _ask(self, server: Server, session: Session, wish: handshake.Wish) -> Response:
        """The library's answer to a poll, or to the handshake of a session."""
        said: dict[str, Any] = {}
        scope, first = server.request(wish.query, session=session)

        async def receive() -> Any:
            return first

        async def send(message: Any) -> None:
            said.update(message)

        await server.handle_request(scope, receive, send)
        if said["status"] != 200:
            raise handshake.unknown_session()
        return _polled(said["body"])


def _polled(body: bytes) -> Response:
    fields = [(b"content-type", b"text/plain; charset=UTF-8"), (b"cache-control", b"no-store")]
    return Response(200, fields, body)
