"""One client of the stream, over whichever transport: what is known of it, what waits for it, and how it is spoken to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

from gateway_runtime.stream.packets import allowed
from gateway_runtime.stream.reasons import BAD_MESSAGE, GONE, LEFT, TOO_LARGE, TOO_MANY, Reason

if TYPE_CHECKING:
    from gateway_runtime.auth.identity import Identity

NEVER = float("inf")
BURST_SECONDS = 4
"""Seconds' worth of messages a client may send at once."""
PACKETS = 512
"""Packets that may wait for a polling client, beside the bytes of WS_BACKLOG_BYTES; more when it may send more at once, for each
may have an answer."""
POLL_PACKETS = 16
"""Packets in the answer to one poll: python-socketio's client takes no more, and calls the answer broken."""


class Line(Protocol):
    """A WebSocket connection (gateway_runtime.server.websocket.Socket): nothing here waits."""

    @property
    def backlog(self) -> int: ...
    def write(self, text: str) -> None: ...
    def end(self, code: int, reason: str) -> None: ...
    def abort(self) -> None: ...


class Session:
    """One Engine.IO session: from its handshake to its end. Times are time.monotonic."""

    __slots__ = (
        "address", "authorization", "blocked_at", "born", "closing", "cut_at", "deadline", "ends", "expires", "heard", "id",
        "identity", "line", "outbox", "ping_at", "polled_at", "polling", "posting", "rooms", "sid", "sio", "stuck_at",
        "tokens", "tokens_at", "trace", "upgrading", "user",
    )  # fmt: skip

    def __init__(self, request_id: str, trace: str, authorization: bytes | None, *, deadline: float, rate: int) -> None:
        now = time.monotonic()
        self.id = request_id
        """The request id of its handshake: how its log lines are found."""
        self.trace = trace
        self.authorization = authorization
        """The Authorization field of its handshake, until it has been looked at."""
        self.address = ""
        """The network address it counts for until it is let in."""
        self.sid = ""
        """Engine.IO's name for it."""
        self.sio = ""
        """Socket.IO's name for it, once its CONNECT has been accepted."""
        self.user = b""
        """Whose place it holds; empty without one."""
        self.identity: Identity | None = None
        self.born = self.heard = self.polled_at = self.tokens_at = now
        self.deadline = now + deadline
        """When its CONNECT must have been accepted; NEVER afterwards."""
        self.blocked_at = self.ends = self.expires = self.ping_at = self.stuck_at = self.cut_at = NEVER
        self.closing: Reason | None = None
        self.line: Line | None = None
        """Its WebSocket; None while it polls."""
        self.outbox: Outbox
        self.polling = self.posting = self.upgrading = False
        self.rooms: set[str] | None = None
        self.tokens = float(rate * BURST_SECONDS)

    def accepted(self) -> bool:
        """Whether its CONNECT has been."""
        return bool(self.sio)

    def may_send(self, rate: int, count: int = 1) -> bool:
        """Whether so many more messages from it are not too many."""
        now = time.monotonic()
        self.tokens = min(float(rate * BURST_SECONDS), self.tokens + (now - self.tokens_at) * rate)
        self.tokens_at = now
        self.tokens -= count
        return self.tokens >= 0


class Outbox:
    """What waits for a client: Engine.IO's queue of packets while it polls, and a way through once there is a WebSocket.

    Bounded: `overflow` is called when the client lets too much wait.
    """

    __slots__ = ("_given", "_limit", "_most", "_packets", "_size", "_waiting", "overflow", "owner")

    def __init__(self, limit: int, burst: int = 0) -> None:
        self._most = max(PACKETS, burst)
        self._packets: list[Any] = []
        self._size = self._given = 0
        self._limit = limit
        self._waiting: asyncio.Future[None] | None = None
        self.owner: Session | None = None
        self.overflow: Callable[[], None] | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._packets

    async def put(self, packet: Any) -> None:
        self.put_nowait(packet)

    def put_nowait(self, packet: Any) -> None:
        """Sends a packet now or lets it wait."""
        owner = self.owner
        if owner is not None and packet is not None and packet.packet_type == _MESSAGE:
            owner.heard = time.monotonic()
        if owner is not None and owner.line is not None:
            self._pass_on(owner.line, packet)
            return
        size = _size(packet)
        if self._size + size > self._limit or len(self._packets) >= self._most:
            if self.overflow is not None:
                self.overflow()
            return
        self._packets.append(packet)
        self._size += size
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def get(self) -> Any:
        """The first packet of a poll's answer; what else waits is asked for with `get_nowait`, until it has no more for it."""
        while not self._packets:
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        self._given = 1
        return self._next()

    def get_nowait(self) -> Any:
        if not self._packets or self._given >= POLL_PACKETS:
            raise asyncio.QueueEmpty
        self._given += 1
        return self._next()

    def _next(self) -> Any:
        packet = self._packets.pop(0)
        self._size -= _size(packet)
        return packet

    def task_done(self) -> None:
        """Nobody waits for it."""

    async def join(self) -> None:
        """Nobody waits for it."""

    def flush(self) -> None:
        """Sends all that waited over the WebSocket there is now."""
        assert self.owner is not None
        assert self.owner.line is not None
        while self._packets:
            packet = self._next()
            if packet is not None and packet.packet_type != _NOOP:
                self._pass_on(self.owner.line, packet)

    def _pass_on(self, line: Line, packet: Any) -> None:
        if packet is None:
            return
        if line.backlog > self._limit:
            if self.overflow is not None:
                self.overflow()
            return
        line.write(packet.encode())


_MESSAGE, _NOOP = 4, 6


def _size(packet: Any) -> int:
    data = getattr(packet, "data", None)
    return 64 + (len(data) if isinstance(data, str | bytes) else 0)


class Reader:
    """What a client says over a WebSocket, packet by packet, as far as it may say it."""

    __slots__ = ("_code", "_fail", "_limit", "_rate", "_receive", "session")

    def __init__(
        self,
        receive: Callable[[], Awaitable[Any]],
        session: Session,
        fail: Callable[[Session, Reason], None],
        *,
        limit: int,
        rate: int,
    ) -> None:
        self._receive = receive
        self._code = 0
        self._fail = fail
        self._limit = limit
        self._rate = rate
        self.session = session

    async def raw(self) -> str | None:
        """The next text, whatever it says; None at the end."""
        message = await self._receive()
        if message["type"] != "websocket.receive":
            self._code = message.get("code") or 1005
            return None
        text = message.get("text")
        return text if isinstance(text, str) else ""

    async def packet(self) -> str | None:
        """The next packet that is allowed; None at the end, which one that is not allowed brings about."""
        text = await self.raw()
        if text is None:
            # 1005, 1006: it went without a word. Everything else is an end that somebody has said.
            self._fail(self.session, TOO_LARGE if self._code == 1009 else GONE if self._code in (1005, 1006) else LEFT)
            return None
        reason = None
        if not allowed(text):
            reason = BAD_MESSAGE
        elif len(text) > self._limit:
            reason = TOO_LARGE
        elif not self.session.may_send(self._rate):
            reason = TOO_MANY
        if reason is not None:
            self._fail(self.session, reason)
            return None
        return text
