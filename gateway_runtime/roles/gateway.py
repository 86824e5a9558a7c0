"""The gateway: health, numbers, its description, and the routes to the services behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway_runtime.app import Role
from gateway_runtime.asgi import Handler, Request, Response
from gateway_runtime.metrics import CONTENT_TYPE, Labels, Metrics
from gateway_runtime.operator import Operator
from gateway_runtime.roles.description import description
from gateway_runtime.roles.diagnostics import PREFIX
from gateway_runtime.roles.health import NO_STORE, Deep, Part, live
from gateway_runtime.routes import ANY, READ, Route
from gateway_runtime.settings import Settings
from gateway_runtime.stream.announce import Announce
from gateway_runtime.stream.path import PATHS
from gateway_runtime.stream.stream import Stream
from gateway_runtime.upstream.breaker import Breaker, BreakerPolicy, State
from gateway_runtime.upstream.bulkhead import Bulkhead
from gateway_runtime.upstream.client import Client
from gateway_runtime.upstream.deadlines import Deadlines, deadlines_of
from gateway_runtime.upstream.forward import Forward
from gateway_runtime.upstream.guard import Meters, Upstream
from gateway_runtime.upstream.retry import RetryBudget, RetryPolicy
from gateway_runtime.upstream.settings import UPSTREAMS, RouteRow

__all__ = ["gateway", "live"]

LATE = (RouteRow("slack", PREFIX, "", 0.0),)
"""With DIAGNOSTICS=on: what the probe of plan 1.5 measures deadlines with."""
STATE_NUMBERS = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}


def gateway(
    settings: Settings, metrics: Metrics, parts: Mapping[str, Part] | None = None, stream: Stream | None = None
) -> Role:
    """The role `gateway` with the upstreams of these settings; `parts` adds to /health/deep."""
    deadlines = deadlines_of(settings)
    upstreams = upstreams_of(settings, deadlines, metrics)
    operator = Operator(settings.operator_token)

    async def stop() -> None:
        for upstream in upstreams.values():
            if upstream is not None:
                upstream.client.close()

    def forward(row: RouteRow) -> Forward:
        return Forward(
            row.upstream,
            upstreams[row.upstream],
            strip=row.strip,
            deadlines=deadlines,
            seconds=row.seconds,
            hops=settings.rate_limit_trusted_hops,
        )

    def served(row: RouteRow) -> Handler:
        if stream is None or row.upstream != "crm":
            return forward(row)
        return Announce(forward(row), stream.publish, base=row.pattern.removesuffix("/*"))

    rows, late = settings.routes.rows, LATE if settings.diagnostics == "on" else ()
    # Public: a page cannot put a token into a WebSocket's handshake; it comes in the first message.
    streams = [Route(("GET", "POST"), path, stream, public=True) for path in PATHS] if stream is not None else []
    return Role(
        routes=(
            *streams,
            Route(READ, "/health", live, public=True),
            Route(READ, "/health/deep", Deep(upstreams, deadlines, operator, parts or {}), public=True),
            Route(READ, "/metrics", numbers(metrics, operator), public=True),  # it asks for the operator's own token
            Route(READ, "/openapi.json", description(rows, late, stream=stream is not None), public=True),
            *(Route(ANY, row.pattern, served(row)) for row in rows),
            *(Route(ANY, row.pattern, forward(row), public=True) for row in late),
        ),
        stop=stop,
    )


def upstreams_of(settings: Settings, deadlines: Deadlines, metrics: Metrics) -> dict[str, Upstream | None]:
    """Every upstream by name, None where no address is configured."""
    policy = BreakerPolicy(
        enabled=settings.breaker == "on",
        failure_share=settings.breaker_failure_share,
        slow_share=settings.breaker_slow_share,
        window=settings.breaker_window,
        min_calls=settings.breaker_min_calls,
        half_open_calls=settings.breaker_half_open_calls,
        open_seconds=settings.breaker_open_seconds,
        half_open_seconds=max(settings.breaker_half_open_seconds, _longest(settings, deadlines)),
    )
    retry = RetryPolicy(settings.upstream_retries, settings.upstream_retry_budget, settings.upstream_retry_pause)
    meters = Meters.of(metrics)
    made: dict[str, Upstream | None] = dict.fromkeys(UPSTREAMS)
    for name in UPSTREAMS:
        url = getattr(settings, f"upstream_{name}_url")
        if url is not None:
            made[name] = Upstream(
                name,
                Client(
                    url,
                    timeout=settings.upstream_timeout,
                    connect=settings.upstream_connect_timeout,
                    stream_idle=settings.upstream_stream_idle,
                    ca_file=settings.upstream_ca_file,
                ),
                breaker=Breaker(policy),
                bulkhead=Bulkhead(
                    settings.upstream_max_in_flight, settings.upstream_queue, settings.upstream_queue_timeout
                ),
                retries=RetryBudget(retry),
                meters=meters,
                slow_after=settings.breaker_slow_after,
            )
    _gauges(metrics, [upstream for upstream in made.values() if upstream is not None])
    return made


def numbers(metrics: Metrics, operator: Operator) -> Handler:
    """GET /metrics, for the operator."""

    async def handler(request: Request) -> Response:
        operator.require(request)
        return Response(200, [(b"content-type", CONTENT_TYPE), NO_STORE], metrics.text().encode())

    return handler


def _longest(settings: Settings, deadlines: Deadlines) -> float:
    """The longest a call may take: half open must outwait it, or an upstream that is well but slow never gets closed."""
    own = [row.seconds for row in settings.routes.rows]
    found = max(deadlines.usual, deadlines.long, *own)
    return 0.0 if found == float("inf") else found


def _gauges(metrics: Metrics, upstreams: Iterable[Upstream]) -> None:
    every = list(upstreams)

    def states() -> Iterable[tuple[Labels, float]]:
        return [((u.name,), STATE_NUMBERS[u.breaker.state]) for u in every if u.breaker.policy.enabled]

    metrics.gauge("gateway_breaker_state", "0 closed, 1 half open, 2 open.", "upstream", read=states)
    metrics.gauge(
        "gateway_breaker_opened_total",
        "How often a breaker has opened.",
        "upstream",
        kind="counter",
        read=lambda: [((u.name,), u.breaker.opened) for u in every],
    )
    metrics.gauge(
        "gateway_upstream_in_flight",
        "Places taken at an upstream.",
        "upstream",
        read=lambda: [((u.name,), u.bulkhead.taken) for u in every],
    )
    metrics.gauge(
        "gateway_upstream_waiting",
        "Requests waiting for a place at an upstream.",
        "upstream",
        read=lambda: [((u.name,), u.bulkhead.waiting) for u in every],
    )
