"""The real-time stream of one gateway instance: who is let in, what they may do, and when they have to go.

handshake     (gateway_runtime.stream.handshake)  origin, query, transport; nothing is counted yet
CONNECT       the token, then a place among the user's and among all (gateway_runtime.stream.leases)
events        subscribe, unsubscribe, keepalive; to the client whatever is published in its tenant's rooms
end           by the client, by the one sweep over all sessions, or when the process stops (drain)
"""

from __future__ import annotations

import asyncio
import importlib
import math
import random
import time
from typing import TYPE_CHECKING, Any

from gateway_runtime.asgi import Request, Response
from gateway_runtime.errors import Problem
from gateway_runtime.rate.address import client_address
from gateway_runtime.stream import handshake
from gateway_runtime.stream import reasons as why
from gateway_runtime.stream.admission import Admission
from gateway_runtime.stream.leases import Leases
from gateway_runtime.stream.news import News
from gateway_runtime.stream.rooms import answer_to, room_key
from gateway_runtime.stream.session import NEVER, Session
from gateway_runtime.stream.transports import Transports

if TYPE_CHECKING:
    from gateway_runtime.auth.verifier import Verifier
    from gateway_runtime.logs import Log
    from gateway_runtime.metrics import Metrics
    from gateway_runtime.settings import Settings
    from gateway_runtime.shared.client import Shared
    from gateway_runtime.stream.engine import Server
    from gateway_runtime.stream.reasons import Reason

SWEEP_SECONDS = 0.5
CUT_SECONDS = 2.0
"""From a session's last word to its end, if its client does not end it."""
DRAIN_SECONDS = 2.0
WAITING = 1000
"""Sessions that have not been let in yet; more get 503."""
WAITING_EACH = 250
"""Of these, sessions of one network address: else one stranger could keep everybody out."""
AGE_SPREAD = 0.05
RESYNC_SECONDS = 5.0
"""Over so long those who may have missed something are asked to ask the API: not all at once."""
GAPS_SECONDS = 1.0
"""Gaps that come within so long are told as one: when Redis is back each instance may have one to say."""


class Stream:
    """One per gateway process. Nothing of Socket.IO is imported until the first client comes."""

    def __init__(
        self, settings: Settings, log: Log, metrics: Metrics, shared: Shared, verifier: Verifier | None
    ) -> None:
        self._settings = settings
        self._log = log
        self._sessions: dict[str, Session] = {}
        self._leases = Leases(
            shared,
            per_user=settings.ws_max_per_user,
            total=settings.ws_max_total,
            lease=settings.ws_lease,
            instances=settings.rate_limit_instances,
        )
        self._admission = Admission(verifier, self._leases)
        self._news = News(shared, self._deliver, self._gap)
        self._transports = Transports(settings, self.fail, self._cut)
        self._server: Server | None = None
        self._loading: asyncio.Task[Server] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._resyncing: asyncio.TimerHandle | None = None
        self._draining = False
        self._refused = metrics.counter("gateway_stream_refused_total", "Sockets that were not let in.", "code")
        self._closed = metrics.counter("gateway_stream_closed_total", "Sockets that ended, by reason.", "reason")
        self._measure(metrics)

    # -- life ---------------------------------------------------------------------------------------------------------
    async def drain(self) -> None:
        """Says good-bye to everybody and lets nobody in any more. Bounded by DRAIN_SECONDS."""
        self._draining = True
        for session in list(self._sessions.values()):
            self.fail(session, why.RESTART)
        end = time.monotonic() + DRAIN_SECONDS
        while self._sessions and time.monotonic() < end:  # noqa: ASYNC110  once in a life
            await asyncio.sleep(0.02)
        for session in list(self._sessions.values()):
            await self._cut(session)
        await self._leases.stop()

    async def stop(self) -> None:
        """Ends what goes on in the background."""
        if self._resyncing is not None:
            self._resyncing.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def publish(self, tenant: str, room: str, event: str, data: Any) -> None:
        """Sends an event to everybody who is subscribed to a room of the tenant, whichever instance they are on."""
        self._news.publish(tenant, room, event, data)

    def health(self) -> dict[str, Any]:
        """What /health/deep says of it: the limits in force, and the open sockets of this instance."""
        leases = self._leases
        limits = {"perUser": leases.per_user, "total": leases.total}
        share = 0.0 if leases.total == math.inf else 100 * leases.everybody / leases.total
        return {
            "mode": leases.mode,
            "connections": leases.open,
            "users": leases.users,
            "totalConnections": leases.everybody,
            "limits": {name: None if most == math.inf else int(most) for name, most in limits.items()},
            "utilization": f"{share:.1f}%",
        }

    # -- requests -----------------------------------------------------------------------------------------------------
    async def __call__(self, request: Request) -> Response:
        """Everything at the stream's path: a handshake, a poll, a POST of a polling client, a WebSocket's handshake."""
        handshake.check_origin(request, self._settings.cors_allowed_origins)
        wish = handshake.wish_of(request)
        authorization = handshake.authorization_of(request)
        address = "" if wish.sid else self._may_begin(request)
        server = self._server or await self._loaded()
        session = self._sessions.get(wish.sid) if wish.sid else self._new(request, authorization)
        if session is None:
            raise handshake.unknown_session()
        session.address = session.address or address
        if request.switch is not None:
            return self._transports.websocket(server, request, session, wish)
        if session.line is not None:
            raise handshake.unknown_session()
        if request.method == "POST":
            return await self._transports.post(server, request, session)
        return await self._transports.poll(server, request, session, wish)

    def _may_begin(self, request: Request) -> str:
        """The address of who wants to begin a session; Problem when too many wait already."""
        address = client_address(request, self._settings.rate_limit_trusted_hops)
        waiting = len(self._sessions) - self._leases.open
        if waiting >= WAITING_EACH:  # only then they are counted
            sessions = self._sessions.values()
            of_it = sum(session.address == address and session.deadline < NEVER for session in sessions)
        else:
            of_it = 0
        if self._draining or waiting >= WAITING or of_it >= WAITING_EACH:
            raise Problem("OVERLOADED", headers=[(b"retry-after", b"5")])
        return address

    def _new(self, request: Request, authorization: bytes | None) -> Session:
        settings = self._settings
        return Session(
            request.id,
            request.trace,
            authorization,
            deadline=settings.ws_connect_timeout,
            rate=settings.ws_message_rate,
        )

    async def _loaded(self) -> Server:
        """Imports Socket.IO, once, in a thread: everybody else is served meanwhile."""
        if self._loading is None:
            self._loading = asyncio.ensure_future(self._load())
        return await asyncio.shield(self._loading)

    async def _load(self) -> Server:
        engine = await asyncio.to_thread(importlib.import_module, "gateway_runtime.stream.engine")
        server: Server = engine.Server(self._settings, self, self._sessions)
        self._server = server
        for work in (self._sweep(), self._leases.keep()):
            task = asyncio.ensure_future(work)
            self._tasks.add(task)
        return server

    # -- what the engine asks -----------------------------------------------------------------------------------------
    async def admit(self, session: Session, auth: object) -> None:
        """Lets a client in: its token, then a place. Refusal with what it is told."""
        from gateway_runtime.stream.engine import Refusal

        problem = await self._admission.admit(session, auth) if not self._draining else why.refusal(why.AWAY)
        if problem is None:
            return
        self._refused.add(problem["code"])
        self._line("warning", "refused", session, code=problem["code"])
        raise Refusal(problem)

    def admitted(self, session: Session) -> None:
        """It has been told that it is in."""
        identity = session.identity
        assert identity is not None
        session.authorization, session.deadline = None, NEVER
        now = session.heard = time.monotonic()
        age = self._settings.ws_max_age
        if age != math.inf:
            session.ends = session.born + age * random.uniform(1 - AGE_SPREAD, 1)  # noqa: S311  not all at once
        session.expires = now + identity.expires + self._settings.auth_leeway - time.time()
        self._line("info", "connected", session)

    def event(self, session: Session, name: str, arguments: list[Any]) -> Any:
        """The answer to an event of a client."""
        assert self._server is not None
        return answer_to(self._server, session, name, arguments)

    def fail(self, session: Session, reason: Reason) -> None:
        """Ends a session: its place is free from now on, and what can be told is told."""
        if session.closing is not None:
            return
        session.closing, session.cut_at = reason, time.monotonic() + CUT_SECONDS
        self._let_go(session)
        server = self._server
        if server is None or not session.sid:
            return
        line = session.line
        if reason is why.SLOW and line is not None:
            line.abort()
            return
        if session.sio and reason.told:
            server.tell(session, "closing", why.told(reason))
            if not reason.again:
                server.part(session)
        if line is not None:
            line.end(reason.code, reason.name)
        elif session.outbox.empty:  # else with the next poll: libraries forget what comes together with a CLOSE
            server.end_poll(session)

    def ended(self, session: Session, reason: Reason) -> None:
        """It is over; the engine has forgotten it."""
        session.closing = session.closing or reason
        self._let_go(session)
        if session.line is not None:  # no sweep looks at it any more: who said good-bye and stays would stay for ever
            session.line.end(session.closing.code, session.closing.name)
        self._closed.add(session.closing.name)
        self._line("info", "closed", session, reason=session.closing.name)

    # -- the sweep ----------------------------------------------------------------------------------------------------
    async def _sweep(self) -> None:
        """Looks at every session twice a second: the one timer behind all their deadlines."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now, wall = time.monotonic(), time.time()
            for session in list(self._sessions.values()):
                if session.closing is None:
                    reason = self._due(session, now, wall)
                    if reason is not None:
                        self.fail(session, reason)
                elif now >= session.cut_at:
                    await self._cut(session)

    def _due(self, session: Session, now: float, wall: float) -> Reason | None:
        settings = self._settings
        if now >= session.deadline:
            return why.TOO_LATE
        if now >= session.stuck_at:
            return why.PING_TIMEOUT
        identity = session.identity
        if identity is not None:
            if now >= session.expires or wall >= identity.expires + settings.auth_leeway:
                return why.EXPIRED
            if now >= session.ends:
                return why.AGE
            if now - session.heard >= settings.ws_idle_timeout:
                return why.IDLE
        if session.line is None:
            if not session.polling and now - session.polled_at >= settings.ws_poll_gap:
                return why.GONE
        elif not session.line.backlog:
            session.blocked_at = NEVER
        elif session.blocked_at == NEVER:
            session.blocked_at = now
        elif now - session.blocked_at >= settings.server_write_timeout:
            return why.SLOW
        if now >= session.ping_at and self._server is not None:
            self._server.ping(session)
        return None

    async def _cut(self, session: Session) -> None:
        if session.line is not None:
            session.line.abort()
        if self._server is not None:
            await self._server.finish(session)

    # -- within -------------------------------------------------------------------------------------------------------
    def _let_go(self, session: Session) -> None:
        if session.user:
            session.user = b""
            self._leases.free(session.sid)

    def _deliver(self, tenant: str, room: str, event: str, data: Any) -> None:
        if self._server is not None:
            self._server.deliver(room_key(tenant, room), event, data)

    def _gap(self) -> None:
        """Events of other instances may have been missed."""
        if self._resyncing is None and any(session.rooms for session in self._sessions.values()):
            self._resyncing = asyncio.get_running_loop().call_later(GAPS_SECONDS, self._resync)

    def _resync(self) -> None:
        """Says so to every subscriber here."""
        self._resyncing = None
        for session in list(self._sessions.values()):
            if self._server is not None and session.rooms and session.closing is None:
                wait = random.uniform(0, RESYNC_SECONDS)  # noqa: S311  not all at once, nothing more
                self._server.tell(session, "resync", {"retryAfterMs": round(1000 * wait)})

    def _line(self, level: str, what: str, session: Session, **more: Any) -> None:
        """A log line: what happened to which socket, and of no person."""
        self._log.write(
            level,
            f"stream: {what}",
            trace=session.trace,
            requestId=session.id,
            transport="polling" if session.line is None else "websocket",
            connections=self._leases.open,
            **more,
        )

    def _measure(self, metrics: Metrics) -> None:
        leases = self._leases
        metrics.gauge("gateway_stream_connections", "Open sockets.", read=lambda: [((), leases.open)])
        metrics.gauge("gateway_stream_users", "Users with an open socket.", read=lambda: [((), leases.users)])
        metrics.gauge(
            "gateway_stream_sessions",
            "Sockets, not yet let in ones included.",
            read=lambda: [((), len(self._sessions))],
        )
        metrics.gauge("gateway_tasks", "Tasks under way.", read=lambda: [((), len(asyncio.all_tasks()))])
        metrics.gauge(
            "gateway_stream_degraded",
            "1 while sockets are counted by this instance alone because Redis is away.",
            read=lambda: [((), float(leases.mode == "degraded"))],
        )
