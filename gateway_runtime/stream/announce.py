"""Tells a tenant's subscribers that something was written through the gateway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway_runtime.asgi import Handler, Request, Response
from gateway_runtime.routes import READ

Publish = Callable[[str, str, str, Any], None]
WORDS = {"POST": "created", "PUT": "updated", "PATCH": "updated", "DELETE": "deleted"}


class Announce:
    """Publishes `contacts.changed` to the room `contacts` after each write that succeeded.

    It says that something changed and how, not what it is now: who wants to know asks, with their own rights.
    """

    def __init__(self, inner: Handler, publish: Publish, *, base: str) -> None:
        self._inner = inner
        self._publish = publish
        self._base = base

    async def __call__(self, request: Request) -> Response:
        response = await self._inner(request)
        if request.method not in READ and 200 <= response.status < 300 and request.identity is not None:
            below = request.path.removeprefix(self._base).strip("/")
            # The last segment of a POST, as `batch`, is no id.
            named = request.method != "POST" and below and "/" not in below
            data = {"change": WORDS.get(request.method, "changed"), "id": below if named else None}
            self._publish(request.identity.tenant, "contacts", "contacts.changed", data)
        return response
