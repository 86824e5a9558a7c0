"""The cache of a process, from its settings."""

from __future__ import annotations

from gateway_runtime.asgi import Handler, Request, Response
from gateway_runtime.cache.answers import guarded
from gateway_runtime.cache.counts import Counts
from gateway_runtime.cache.flight import Flights
from gateway_runtime.cache.layer import Cache
from gateway_runtime.cache.policy import Way
from gateway_runtime.cache.search import Limits
from gateway_runtime.cache.store import Store
from gateway_runtime.metrics import Metrics
from gateway_runtime.settings import Settings
from gateway_runtime.shared.client import Shared
from gateway_runtime.upstream.deadlines import deadlines_of


class Guarded:
    """A gateway without a cache: what caches between here and the user may do with an authorised answer is decided all the
    same.
    """

    def __init__(self, inner: Handler) -> None:
        self._inner = inner

    async def __call__(self, request: Request) -> Response:
        response = await self._inner(request)
        if request.identity is not None:
            response.headers = guarded(request.method, response.status, response.headers)
        return response


class Caching:
    """Makes the layer, and says what /health/deep says of it."""

    def __init__(self, settings: Settings, shared: Shared, metrics: Metrics) -> None:
        self._settings = settings
        self._on = settings.cache == "on" and settings.role == "gateway"
        self.store = Store(
            shared,
            space=settings.environment.encode(),
            memory=settings.cache_memory * 1024 * 1024,
            entry_limit=settings.cache_entry_limit * 1024,
            trust=settings.cache_trust / 1000,
        )
        self._counts = Counts(metrics, self.store)

    def layer(self, inner: Handler) -> Handler:
        """The layer; without a cache, what tells other caches whose an answer is."""
        if self._settings.role != "gateway":
            return inner
        if not self._on:
            return Guarded(inner)
        settings = self._settings
        rows = sorted(settings.routes.rows, key=lambda row: len(row.pattern), reverse=True)
        ways = tuple(Way(row.pattern.removesuffix("/*"), row.strip, row.upstream, row.seconds) for row in rows)
        limits = Limits(
            settings.environment.encode(), settings.cache_longest, ways, settings.cache_routes, deadlines_of(settings)
        )
        return Cache(inner, self.store, Flights(self.store), limits, self._counts)

    @property
    def mode(self) -> str:
        """ "off", "local" (no Redis configured), "shared", or "degraded" (Redis is away: this instance only)."""
        if not self._on:
            return "off"
        if self.store.shared.mode == "off":
            return "local"
        return "degraded" if self.store.alone else "shared"

    def health(self) -> dict[str, str]:
        """What /health/deep says of it."""
        return {"mode": self.mode}
