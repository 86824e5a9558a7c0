"""Refuses a caller's requests past the limit (requirements SR, FR-5; plan 1.3). Who the caller is, is given from outside.

Every answer says where the caller stands: RateLimit and RateLimit-Policy (IETF draft "RateLimit header fields for HTTP"),
X-RateLimit-* for older clients, and Retry-After on a refusal. `X-RateLimit-Mode: degraded` says that the instance
decided alone because Redis is away.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import lru_cache

from gateway_runtime.asgi import Handler, Request, Response
from gateway_runtime.errors import Problem
from gateway_runtime.rate.address import client_address
from gateway_runtime.rate.limiter import Limiter
from gateway_runtime.rate.window import Decision

Caller = Callable[[Request], bytes | None]
EXEMPT = b"/health"
"""Liveness: a platform that cannot see it restarts the process, which helps nobody who is being limited."""
OLDER = frozenset((b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset", b"x-ratelimit-mode"))
"""Fields that can hold one limit only: the innermost limiter's, which is the last to speak."""
Fields = list[tuple[bytes, bytes]]


class RateLimit:
    """One limiter before the inner layers. A request without a caller passes."""

    def __init__(self, inner: Handler, limiter: Limiter, caller: Caller, *, refused: Callable[[], None]) -> None:
        self._inner = inner
        self._limiter = limiter
        self._caller = caller
        self._refused = refused
        policy = limiter.policy
        self._policy = (b"ratelimit-policy", f'"{policy.name}";q={policy.limit};w={policy.seconds}'.encode())
        self._name = f'"{policy.name}"'.encode()
        self._limit = (b"x-ratelimit-limit", b"%d" % policy.limit)

    def __call__(self, request: Request) -> Awaitable[Response]:
        caller = self._caller(request)
        if caller is None or request.raw_path == EXEMPT:  # as it came: one that is malformed counts too
            return self._inner(request)
        decision = self._limiter.leased(caller)
        if decision is None:
            return self._asked(request, caller)
        self._tell(request, decision)
        return self._inner(request)

    async def _asked(self, request: Request, caller: bytes) -> Response:
        decision = await self._limiter.take(caller)
        self._tell(request, decision)
        if not decision.allowed:
            self._refused()
            raise Problem("RATE_LIMITED", headers=[(b"retry-after", b"%d" % max(1, math.ceil(decision.seconds)))])
        return await self._inner(request)

    def _tell(self, request: Request, decision: Decision) -> None:
        left, seconds = decision.left, math.ceil(decision.seconds)
        fields = [
            self._policy,
            (b"ratelimit", b"%b;r=%d;t=%d" % (self._name, left, seconds)),
            self._limit,
            (b"x-ratelimit-remaining", b"%d" % left),
            (b"x-ratelimit-reset", b"%d" % seconds),
        ]
        if decision.local:
            fields.append((b"x-ratelimit-mode", b"degraded"))
        fields += [field for field in request.answer_fields if field[0] not in OLDER]
        request.answer_fields = fields


def by_address(trusted_hops: int) -> Caller:
    """The caller is a network address."""

    def caller(request: Request) -> bytes | None:
        return client_address(request, trusted_hops).encode("latin-1")

    return caller


def by_user(request: Request) -> bytes | None:
    """The caller is the user whose token was verified, within their tenant; nobody without one."""
    identity = request.identity
    if identity is None:
        return None
    return _name_of(identity.tenant, identity.user)


@lru_cache(maxsize=4096)
def _name_of(tenant: str, user: str) -> bytes:
    """One name for each two: the length keeps ("ab", "c") from being ("a", "bc")."""
    whose = tenant.encode()
    return b"%d:%b%b" % (len(whose), whose, user.encode())
