"""The Slack and Gmail services as samples: they answer plainly, so that the gateway has something behind it."""

from __future__ import annotations

import json

from gateway_runtime.app import Role
from gateway_runtime.asgi import JSON, Handler, Request, Response
from gateway_runtime.roles.diagnostics import paths as late
from gateway_runtime.routes import READ, Route

ANSWERS = {
    "slack": ("/channels", {"channels": [{"id": "C1", "name": "general"}, {"id": "C2", "name": "sales"}]}),
    "gmail": ("/messages", {"messages": [{"id": "M1", "subject": "Welcome"}, {"id": "M2", "subject": "Invoice"}]}),
}


def sample(role: str, *, diagnostics: bool = False) -> Role:
    """The role `slack` or `gmail`; with `diagnostics` also paths that answer late on purpose."""
    path, answer = ANSWERS[role]
    return Role(
        routes=(
            Route(READ, "/health", _says({"status": "healthy"}), public=True),
            Route(READ, path, _says(answer)),
            *(late() if diagnostics else ()),
        )
    )


def _says(answer: object) -> Handler:
    body = json.dumps(answer, separators=(",", ":")).encode()

    async def handler(request: Request) -> Response:
        return Response(200, [(b"content-type", JSON)], body)

    return handler
