"""Is it alive, and is what it needs there?"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from gateway_runtime.asgi import JSON, Request, Response
from gateway_runtime.errors import Problem
from gateway_runtime.operator import Operator
from gateway_runtime.upstream.client import Ask
from gateway_runtime.upstream.deadlines import Deadline, Deadlines
from gateway_runtime.upstream.guard import Upstream

DEEP_SECONDS = 2.0
REMEMBERED_SECONDS = 1.0
"""How long one look at the upstreams answers everybody: asking often costs them nothing."""
NO_STORE = (b"cache-control", b"no-store")

Part = Callable[[], Mapping[str, Any]]
"""What another part of the gateway says about itself (a cache, a limiter): words and numbers, never an address."""


async def live(request: Request) -> Response:
    """Liveness: the process answers. It asks nobody, so that a sick upstream cannot get healthy gateways restarted."""
    return Response(200, [(b"content-type", JSON), NO_STORE], b'{"status":"healthy"}')


class Deep:
    """Every upstream's /health, asked at once within DEEP_SECONDS; 200 even when degraded.

    Everybody sees names, states and the stated deadlines; counts only the operator; nobody an address.
    `parts` is read at each request: name -> what that part says.
    """

    def __init__(
        self,
        upstreams: Mapping[str, Upstream | None],
        deadlines: Deadlines,
        operator: Operator,
        parts: Mapping[str, Part],
    ) -> None:
        self._upstreams = upstreams
        self._deadlines = _stated(deadlines)
        self._operator = operator
        self._parts = parts
        self._looking: asyncio.Task[dict[str, str]] | None = None
        self._looked = -math.inf

    async def __call__(self, request: Request) -> Response:
        states = await self._look()
        parts = {name: dict(part()) for name, part in self._parts.items()}
        degraded = any(state not in ("healthy", "not configured") for state in states.values())
        degraded = degraded or any(part.get("status") == "degraded" for part in parts.values())
        details = self._operator.is_here(request)
        body = {
            "status": "degraded" if degraded else "healthy",
            "deadlines": self._deadlines,
            "dependencies": {
                name: {"status": states[name], **(_protection(upstream, details) if upstream else {})}
                for name, upstream in self._upstreams.items()
            },
            **parts,
        }
        return Response(200, [(b"content-type", JSON), NO_STORE], json.dumps(body).encode())

    async def _look(self) -> dict[str, str]:
        """The states; one look for all who ask within REMEMBERED_SECONDS, whoever of them leaves."""
        now = time.monotonic()
        if self._looking is None or (self._looking.done() and now - self._looked > REMEMBERED_SECONDS):
            self._looking = asyncio.get_running_loop().create_task(self._states())
            self._looked = now
        return await asyncio.shield(self._looking)

    async def _states(self) -> dict[str, str]:
        states = await asyncio.gather(*(_state(upstream) for upstream in self._upstreams.values()))
        return dict(zip(self._upstreams, states, strict=True))


async def _state(upstream: Upstream | None) -> str:
    if upstream is None:
        return "not configured"
    client = upstream.client
    ask = Ask("GET", f"{client.url.path}/health", f"host: {client.url.authority}\r\n".encode("ascii"))
    deadline = Deadline(time.monotonic() + DEEP_SECONDS, DEEP_SECONDS)
    try:
        async with asyncio.timeout(DEEP_SECONDS):
            answer = await client.ask(ask, deadline=deadline)  # beside breaker and bulkhead: it only looks
            try:
                await answer.read()
            finally:
                answer.close()
    except (Problem, TimeoutError):
        return "unreachable"
    return "healthy" if answer.status == 200 else "unhealthy"


def _protection(upstream: Upstream, details: bool) -> dict[str, Any]:
    breaker, bulkhead = upstream.breaker, upstream.bulkhead
    state = str(breaker.state) if breaker.policy.enabled else "off"
    said: dict[str, Any] = {"breaker": state}
    if state == "open":
        said["retryAfter"] = breaker.retry_after
    if details:
        said["failureShare"] = round(breaker.failure_share, 3)
        said["opened"] = breaker.opened
        said["inFlight"] = {"now": bulkhead.taken, "waiting": bulkhead.waiting, "limit": bulkhead.limit}
    return said


def _stated(deadlines: Deadlines) -> dict[str, Any]:
    if deadlines.usual == math.inf:
        return {"usual": None, "long": None, "segments": []}
    long = max(deadlines.long, deadlines.usual)
    return {"usual": deadlines.usual, "long": long, "segments": sorted(deadlines.segments)}
