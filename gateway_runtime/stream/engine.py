"""The one file that imports python-socketio and python-engineio; itself imported when the first client of the stream comes.

What these libraries bring: Engine.IO's handshake, sessions and polling, Socket.IO's namespaces, rooms and packets. What is
put in place of theirs, and why:

- The loop behind a WebSocket. Theirs has three tasks and two timers for each socket, waits for ever for an upgrade that does
  not go on, and leaves a session half dead when one fails. Here a socket is one task, and packets are written when they arise.
- The queue, which has no bound (`Outbox`).
- The heartbeat's timer: a task that sleeps on after its socket has gone. The stream's one sweep does it.
- Their log, which holds what clients have written.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import engineio
import socketio
from engineio import packet as eio
from engineio.exceptions import EngineIOError
from socketio.exceptions import ConnectionRefusedError as Refuse

from gateway_runtime.stream.path import PATH
from gateway_runtime.stream.reasons import BAD_MESSAGE, GONE, LEFT, REFUSED, SLOW, Reason
from gateway_runtime.stream.session import BURST_SECONDS, NEVER, POLL_PACKETS, Outbox, Reader, Session

if TYPE_CHECKING:
    from gateway_runtime.settings import Settings

SESSION, READER, ACCEPT = "session", "reader", "accept"
"""What our side of an Engine.IO request puts into its ASGI scope."""
UPGRADE_SECONDS = 10.0
_quiet = logging.getLogger("gateway.stream.libraries")


class Refusal(Exception):
    """A CONNECT that is not accepted: what its client is told."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        super().__init__(data["code"])


class Keeper(Protocol):
    """The stream, as its engine needs it."""

    async def admit(self, session: Session, auth: object) -> None: ...
    def admitted(self, session: Session) -> None: ...
    def event(self, session: Session, name: str, arguments: list[Any]) -> Any: ...
    def fail(self, session: Session, reason: Reason) -> None: ...
    def ended(self, session: Session, reason: Reason) -> None: ...


class Engine(engineio.AsyncServer):  # type: ignore[misc]
    """Engine.IO with our queue, our heartbeat, and our loop behind a WebSocket."""

    backlog = burst = 0
    sessions: dict[str, Session]

    def create_queue(self, *_: Any, **__: Any) -> Outbox:
        return Outbox(self.backlog, self.burst)

    def start_background_task(self, target: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        if getattr(target, "__name__", "") != "_send_ping":
            return super().start_background_task(target, *args, **kwargs)
        session = self.sessions.get(target.__self__.sid)  # type: ignore[attr-defined]
        if session is not None:
            session.ping_at = time.monotonic() + self.ping_interval
            session.stuck_at = NEVER
        return None

    def websockets(self) -> None:
        """Takes the place of the library's WebSocket loop."""
        self._async: dict[str, Any] = {
            **self._async,
            "websocket": lambda handler, _: partial(self._live, handler.__self__),
        }

    async def _live(self, socket: Any, environ: dict[str, Any]) -> str:
        """One WebSocket, from its acceptance to its end."""
        scope = environ["asgi.scope"]
        session: Session = scope[SESSION]
        reader: Reader = scope[READER]
        line = await scope[ACCEPT]()
        if socket.connected:
            socket.upgrading = True
            try:
                if not await self._upgraded(socket, reader, line):
                    line.end(1002, "")
                    return ""
            finally:
                socket.upgrading = session.upgrading = False
        socket.connected = socket.upgraded = True
        session.line = line
        session.outbox.flush()
        try:
            while (text := await reader.packet()) is not None:
                if session.closing is None:
                    await socket.receive(eio.Packet(encoded_packet=text))
        finally:
            await socket.close(wait=False, abort=True, reason=self.reason.TRANSPORT_CLOSE)
        return ""

    async def _upgraded(self, socket: Any, reader: Reader, line: Any) -> bool:
        """Whether the polling client has come over. If not, it goes on polling."""
        try:
            async with asyncio.timeout(UPGRADE_SECONDS):
                if await reader.raw() != "2probe":
                    return False
                line.write("3probe")
                socket.queue.put_nowait(eio.Packet(eio.NOOP))  # ends the poll that waits
                return await reader.raw() == "5" and not socket.closed
        except TimeoutError:
            return False


class Server(socketio.AsyncServer):  # type: ignore[misc]
    """Socket.IO with one namespace, whose clients may CONNECT once and send the events the stream knows."""

    eio: Engine

    def __init__(self, settings: Settings, keeper: Keeper, sessions: dict[str, Session]) -> None:
        _quiet.setLevel(logging.CRITICAL)
        super().__init__(
            async_mode="asgi",
            async_handlers=False,  # one after another: what a client sends faster than it is done waits in its connection
            cors_allowed_origins=[],  # off: the origin has been judged, by the policy that HTTP has
            logger=_quiet,
            engineio_logger=_quiet,
            ping_interval=settings.ws_ping_interval,
            ping_timeout=settings.ws_ping_timeout,
            max_http_buffer_size=settings.ws_message_bytes,
            http_compression=False,
            monitor_clients=False,
        )
        self._keeper = keeper
        self.sessions = sessions
        self.eio.sessions = sessions
        self.eio.backlog, self.eio.burst = settings.ws_backlog_bytes, settings.ws_message_rate * BURST_SECONDS
        self.eio.websockets()
        self.on("connect", self._on_connect)

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    # -- Engine.IO's events -------------------------------------------------------------------------------------------
    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> None:
        session: Session = environ["asgi.scope"][SESSION]
        session.sid = eio_sid
        session.outbox = self.eio.sockets[eio_sid].queue
        session.outbox.owner = session
        session.outbox.overflow = partial(self._keeper.fail, session, SLOW)
        self.sessions[eio_sid] = session
        await super()._handle_eio_connect(eio_sid, {})  # nothing of the request is kept

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        session = self.sessions.get(eio_sid)
        if session is None or session.closing is not None:
            return
        try:
            await super()._handle_eio_message(eio_sid, data)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            self._keeper.fail(session, BAD_MESSAGE)

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        await super()._handle_eio_disconnect(eio_sid, reason)
        self.eio.sockets.pop(eio_sid, None)
        session = self.sessions.pop(eio_sid, None)
        if session is not None:
            self._keeper.ended(session, LEFT if reason == self.reason.CLIENT_DISCONNECT else GONE)

    # -- Socket.IO's packets ------------------------------------------------------------------------------------------
    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        session = self.sessions[eio_sid]
        if session.accepted() or (data is not None and not isinstance(data, dict)):
            raise ValueError("a second CONNECT, or one that is none")
        await super()._handle_connect(eio_sid, namespace, data)
        if session.accepted():
            self._keeper.admitted(session)
        elif session.closing is None and (namespace or "/") == "/":
            self._keeper.fail(session, REFUSED)

    async def _on_connect(self, sid: str, _environ: Any, auth: Any) -> None:
        session = self.sessions.get(self.manager.eio_sid_from_sid(sid, "/"))
        if session is None:
            raise Refuse("gone")
        try:
            await self._keeper.admit(session, auth)
        except Refusal as refusal:
            raise Refuse(refusal.data["message"], refusal.data) from None
        if session.sid not in self.sessions or session.closing is not None:  # it left while it was being looked at
            raise Refuse("gone")
        session.sio = sid

    async def _handle_disconnect(self, eio_sid: str, namespace: str | None, reason: str | None = None) -> None:
        session = self.sessions.get(eio_sid)
        await super()._handle_disconnect(eio_sid, namespace, reason)
        if reason == self.reason.CLIENT_DISCONNECT and session is not None and session.sio:
            self._keeper.fail(session, LEFT)

    async def _handle_event(self, eio_sid: str, namespace: str | None, id: int | None, data: Any) -> None:
        session = self.sessions[eio_sid]
        if not session.sio or not data or not isinstance(data[0], str):
            raise ValueError("an event of nobody, or without a name")
        session.heard = time.monotonic()
        answer = self._keeper.event(session, data[0], data[1:])
        if id is not None:
            packet = self.packet_class(socketio.packet.ACK, namespace="/", id=id, data=[answer])
            await self._send_packet(eio_sid, packet)

    # -- what the stream asks for -------------------------------------------------------------------------------------
    def request(self, query: bytes, **more: Any) -> Any:
        """An Engine.IO GET: its ASGI scope, and the message with its body, which is empty."""
        upgrade = [(b"connection", b"upgrade"), (b"upgrade", b"websocket")] if READER in more else []
        scope = {
            "type": "websocket" if upgrade else "http",
            "method": "GET",
            "path": PATH,
            "query_string": query,
            "headers": upgrade,
            **more,
        }
        first = {"type": "websocket.connect"} if upgrade else {"type": "http.request", "body": b"", "more_body": False}
        return scope, first

    async def said(self, session: Session, packets: list[str]) -> None:
        """Takes what a polling client says in one POST. The library's decoder refuses more than 16 packets; npm's client sends
        all it has. Others get their turn in between."""
        socket = self.eio.sockets.get(session.sid)
        for number, packet in enumerate(packets, 1):
            if socket is None or socket.closed or session.closing is not None:
                return
            with contextlib.suppress(EngineIOError):
                await socket.receive(eio.Packet(encoded_packet=packet))
            if number % POLL_PACKETS == 0:
                await asyncio.sleep(0)

    def tell(self, session: Session, event: str, data: Any) -> None:
        """Sends an event to one client, without waiting."""
        packet = self.packet_class(socketio.packet.EVENT, namespace="/", data=[event, data])
        session.outbox.put_nowait(eio.Packet(eio.MESSAGE, packet.encode()))

    def part(self, session: Session) -> None:
        """Sends Socket.IO's DISCONNECT: do not come again by yourself."""
        packet = self.packet_class(socketio.packet.DISCONNECT, namespace="/")
        session.outbox.put_nowait(eio.Packet(eio.MESSAGE, packet.encode()))

    def deliver(self, room: str, event: str, data: Any) -> int:
        """Sends an event to every client here that is in the room; how many that were. It is encoded once."""
        packet = None
        count = 0
        for _sid, eio_sid in self.manager.get_participants("/", room):
            session = self.sessions.get(eio_sid)
            if session is None or session.closing is not None:
                continue
            if packet is None:
                text = self.packet_class(socketio.packet.EVENT, namespace="/", data=[event, data]).encode()
                packet = eio.Packet(eio.MESSAGE, text)
            session.outbox.put_nowait(packet)
            count += 1
        return count

    def enter(self, session: Session, room: str) -> None:
        """Puts a client into a room."""
        self.manager.basic_enter_room(session.sio, "/", room)

    def leave(self, session: Session, room: str) -> None:
        """Takes it out."""
        self.manager.basic_leave_room(session.sio, "/", room)

    def ping(self, session: Session) -> None:
        """Sends a heartbeat; its answer is due in WS_PING_TIMEOUT seconds."""
        socket = self.eio.sockets.get(session.sid)
        session.ping_at = NEVER
        if socket is not None:
            session.stuck_at = time.monotonic() + self.eio.ping_timeout
            socket.last_ping = time.time()
            session.outbox.put_nowait(eio.Packet(eio.PING))

    def end_poll(self, session: Session) -> None:
        """Lets the poll that waits, or the next one, end with Engine.IO's CLOSE."""
        session.outbox.put_nowait(eio.Packet(eio.CLOSE))

    async def finish(self, session: Session) -> None:
        """Ends the session for good."""
        socket = self.eio.sockets.get(session.sid)
        if socket is not None:
            await socket.close(wait=False, abort=True, reason=self.reason.SERVER_DISCONNECT)
