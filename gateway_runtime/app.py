"""The whole service on one page: the layers from the outside in, then the routes of the role."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_runtime.asgi import Edge, Handler
from gateway_runtime.auth.configured import verifier_of
from gateway_runtime.cache.configured import Caching
from gateway_runtime.layers.access_log import AccessLog
from gateway_runtime.layers.auth import Auth
from gateway_runtime.layers.compress import Compress, Compression
from gateway_runtime.layers.cors import Cors
from gateway_runtime.layers.measure import Measure
from gateway_runtime.layers.problems import Problems
from gateway_runtime.layers.request_id import RequestId
from gateway_runtime.logs import Log
from gateway_runtime.metrics import Metrics
from gateway_runtime.rate.configured import Limits, Redis
from gateway_runtime.routes import Route, Router
from gateway_runtime.settings import Settings
from gateway_runtime.stream.stream import Stream

if TYPE_CHECKING:
    from gateway_runtime.roles.health import Part


async def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Role:
    """What a role adds to the layers: its routes, and what happens before the first request and after the last."""

    routes: tuple[Route, ...]
    start: Callable[[], Awaitable[None]] = _nothing
    stop: Callable[[], Awaitable[None]] = _nothing


def build(settings: Settings, log: Log, metrics: Metrics | None = None) -> Edge:
    """The ASGI application of these settings; it counts in `metrics`."""
    metrics = metrics or Metrics()
    redis = Redis(settings, log, metrics)
    limits = Limits(settings, redis.limiters, metrics)
    caching = Caching(settings, redis.shared, metrics)
    verifier = verifier_of(settings, log)
    stream = None
    parts: dict[str, Part] = {"redis": redis.health, "rateLimits": limits.health, "cache": caching.health}
    parts["auth"] = verifier.keys.health if verifier is not None else lambda: {"status": "not configured"}
    if settings.role == "gateway" and settings.ws == "on":
        stream = Stream(settings, log, metrics, redis.shared, verifier)
        parts["websocket"] = stream.health
    role = role_of(settings, metrics, parts, stream)
    router = Router(role.routes)

    # Inside out. Problems stays inside Cors, so that a browser can read an error answer (design: the gateway).
    inner: Handler = Auth(limits.by_user(caching.layer(router)), verifier, router.is_public)
    problems = Problems(limits.by_address(inner), log, full=settings.error_detail == "full")
    compress = Compress(problems, compression_of(settings))
    cors = Cors(compress, settings.cors_allowed_origins, max_age=settings.cors_max_age)
    access_log = AccessLog(cors, log, rate=settings.log_sample_rate)
    outermost = Measure(RequestId(access_log), metrics)

    async def start() -> None:
        if verifier is not None:
            verifier.keys.tend()  # read in the background: nobody's first request waits for it, and neither does this
        await redis.start()
        await role.start()

    async def stop() -> None:
        if verifier is not None:
            verifier.keys.close()
        if stream is not None:
            await stream.stop()
        await redis.stop()
        await role.stop()

    async def drain() -> None:
        if stream is not None:
            await stream.drain()

    return Edge(outermost, last_resort=problems.answer, broken=problems.record, start=start, stop=stop, drain=drain)


def compression_of(settings: Settings) -> Compression:
    """What to compress, and how."""
    return Compression(
        codings=tuple(settings.compression_codings.split(",")) if settings.compression == "on" else (),
        min_bytes=settings.compression_min_bytes,
        levels={
            "br": settings.compression_brotli_quality,
            "zstd": settings.compression_zstd_level,
            "gzip": settings.compression_gzip_level,
        },
    )


def role_of(settings: Settings, metrics: Metrics, parts: Mapping[str, Part], stream: Stream | None) -> Role:
    """The role this process has; only its own modules are imported."""
    if settings.role == "gateway":
        from gateway_runtime.roles.gateway import gateway

        return gateway(settings, metrics, parts, stream)
    if settings.role == "crm":
        from gateway_runtime.roles.crm import crm

        return crm(settings)
    from gateway_runtime.roles.sample import sample

    return sample(settings.role, diagnostics=settings.diagnostics == "on")
