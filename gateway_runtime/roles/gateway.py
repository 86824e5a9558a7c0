"""The gateway: health, and the routes to the services behind it."""

from __future__ import annotations

import asyncio
import json

from gateway_runtime.app import Role
from gateway_runtime.asgi import JSON, Request, Response
from gateway_runtime.errors import Problem
from gateway_runtime.metrics import Metrics
from gateway_runtime.routes import ANY, READ, Route
from gateway_runtime.settings import Settings
from gateway_runtime.upstream.client import Ask, Client
from gateway_runtime.upstream.forward import Forward

DEEP_SECONDS = 2.0
NO_STORE = (b"cache-control", b"no-store")


def gateway(settings: Settings, metrics: Metrics) -> Role:
    """The role `gateway` with the upstreams of these settings."""
    urls = {
        "crm": settings.upstream_crm_url,
        "slack": settings.upstream_slack_url,
        "gmail": settings.upstream_gmail_url,
    }
    clients = {name: Client(url, timeout=settings.upstream_timeout) if url else None for name, url in urls.items()}

    async def stop() -> None:
        for client in clients.values():
            if client is not None:
                client.close()

    return Role(
        routes=(
            Route(READ, "/health", live, public=True),
            Route(READ, "/health/deep", Deep(clients), public=True),
            Route(ANY, "/api/v2/crm/contacts/*", Forward("crm", clients["crm"], strip="/api/v2/crm")),
            Route(ANY, "/api/v2/slack/*", Forward("slack", clients["slack"], strip="/api/v2/slack")),
            Route(ANY, "/api/v2/gmail/*", Forward("gmail", clients["gmail"], strip="/api/v2/gmail")),
        ),
        stop=stop,
    )


async def live(request: Request) -> Response:
    """Liveness: the process answers. It asks nobody, so that a sick upstream cannot get healthy gateways restarted."""
    return Response(200, [(b"content-type", JSON), NO_STORE], b'{"status":"healthy"}')


class Deep:
    """Asks every upstream's /health at once, within DEEP_SECONDS. Names, never addresses; 200 even when degraded."""

    def __init__(self, clients: dict[str, Client | None]) -> None:
        self._clients = clients

    async def __call__(self, request: Request) -> Response:
        states = await asyncio.gather(*(self._state(client) for client in self._clients.values()))
        found = dict(zip(self._clients, states, strict=True))
        degraded = any(state not in ("healthy", "not configured") for state in states)
        body = {
            "status": "degraded" if degraded else "healthy",
            "dependencies": {name: {"status": state} for name, state in found.items()},
        }
        return Response(200, [(b"content-type", JSON), NO_STORE], json.dumps(body).encode())

    async def _state(self, client: Client | None) -> str:
        if client is None:
            return "not configured"
        ask = Ask("GET", f"{client.url.path}/health", f"host: {client.url.authority}\r\n".encode("ascii"))
        try:
            async with asyncio.timeout(DEEP_SECONDS):
                answer = await client.ask(ask, within=DEEP_SECONDS)
                try:
                    await answer.read()
                finally:
                    answer.close()
        except (Problem, TimeoutError):
            return "unreachable"
        return "healthy" if answer.status == 200 else "unhealthy"
