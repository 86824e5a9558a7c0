"""Paths that answer late on purpose, so that a deadline can be measured from outside (DIAGNOSTICS=on).

A service behind the gateway has `GET /delay?ms=` and `GET /ai/delay?ms=`: they wait that long (DELAY_LIMIT at most) and
say what was left of the caller's deadline when they were asked. The gateway makes the Slack service's reachable without a
token below `/diagnostics/slack/`. Both are off unless told: they let a stranger hold a place for as long as he likes.
"""

from __future__ import annotations

import asyncio
import json
import re

from gateway_runtime.asgi import JSON, Request, Response
from gateway_runtime.errors import Problem
from gateway_runtime.routes import Route
from gateway_runtime.upstream.deadlines import HEADER

PREFIX = "/diagnostics/slack"
DELAY_LIMIT = 10_000
"""Milliseconds."""
_MS = re.compile(rb"(?:^|&)ms=([0-9]{1,5})(?:&|$)")


def paths() -> tuple[Route, ...]:
    """The routes of a service behind the gateway."""
    return tuple(Route(("GET",), path, delay, public=True) for path in ("/delay", "/ai/delay"))


async def delay(request: Request) -> Response:
    """Waits `ms` milliseconds, then says what it was given: {"delayedMs": 0, "deadlineMs": 30000 or null}."""
    found = _MS.search(request.query)
    asked = int(found[1]) if found else -1
    if not 0 <= asked <= DELAY_LIMIT:
        raise Problem("VALIDATION_FAILED", f"ms must be a whole number from 0 to {DELAY_LIMIT}")
    given = request.header(HEADER)
    await asyncio.sleep(asked / 1000)
    said = {"delayedMs": asked, "deadlineMs": int(given) if given and given.isdigit() else None}
    return Response(200, [(b"content-type", JSON), (b"cache-control", b"no-store")], json.dumps(said).encode())
