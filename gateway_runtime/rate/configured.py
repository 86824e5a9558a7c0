"""The Redis client and the limiters of a process, from its settings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from gateway_runtime.asgi import Handler
from gateway_runtime.layers.rate_limit import Caller, RateLimit, by_address, by_user
from gateway_runtime.logs import Log
from gateway_runtime.metrics import Counter, Metrics
from gateway_runtime.rate.limiter import Limiter
from gateway_runtime.rate.window import Policy
from gateway_runtime.settings import Settings
from gateway_runtime.shared.client import Mode, Shared
from gateway_runtime.shared.settings import Rate

MODES = {"off": 0, "ok": 1, "degraded": 2}


class Redis:
    """Every Redis client of the process: one, or with REDIS_SHARED_CLIENT=off the limiter's own beside it."""

    def __init__(self, settings: Settings, log: Log, metrics: Metrics) -> None:
        def client(purpose: str, instance: str = "") -> Shared:
            def changed(mode: Mode, reason: str) -> None:
                level, words = ("info", mode) if mode == "ok" else ("warning", f"{mode} ({reason})")
                log.write(level, f"Redis: {words}", redis=mode, client=purpose)

            return Shared(
                settings.redis_url if settings.role == "gateway" else "",
                pool=settings.redis_pool_max,
                wait=settings.redis_timeout,
                service=settings.k_service or settings.role,
                name=f"{settings.k_revision or settings.role}/{purpose}",
                instance=instance,
                changed=changed,
            )

        self.shared = client("shared")
        apart = settings.redis_shared_client == "off" and bool(settings.redis_url)
        self.limiters = client("limiter", self.shared.instance) if apart else self.shared
        self._all = [self.shared, self.limiters] if apart else [self.shared]
        _measure(self.shared, metrics)

    def health(self) -> dict[str, str | int]:
        """What /health/deep says of it."""
        shared = self.shared
        if shared.mode == "off":
            return {"status": "not configured"}
        return {
            "status": shared.mode,
            "instances": shared.instances,
            **({"why": shared.reason} if shared.reason else {}),
        }

    async def start(self) -> None:
        """Begins connecting."""
        for client in self._all:
            await client.start()

    async def stop(self) -> None:
        """Drops all connections."""
        for client in self._all:
            await client.close()


class Limits:
    """Makes the layers that limit, outermost by address and innermost by user."""

    def __init__(self, settings: Settings, shared: Shared, metrics: Metrics) -> None:
        self._settings = settings
        self._shared = shared
        self._made: list[Limiter] = []
        self._refused = metrics.counter("gateway_rate_limited_total", "Requests refused with 429.", "policy")
        metrics.gauge(
            "gateway_rate_limit_degraded",
            "1 while a limit is held by this instance alone because Redis is away.",
            "policy",
            read=lambda: [((limiter.policy.name,), float(limiter.degraded)) for limiter in self._made],
        )
        metrics.gauge(
            "gateway_rate_limit_callers",
            "Callers in memory.",
            "policy",
            read=lambda: [((limiter.policy.name,), limiter.remembered) for limiter in self._made],
        )

    def by_address(self, inner: Handler) -> Handler:
        """Limits every network address; `inner` itself when that is off."""
        caller = by_address(self._settings.rate_limit_trusted_hops)
        return self._layer(inner, "address", self._settings.rate_limit_address, caller)

    def by_user(self, inner: Handler) -> Handler:
        """Limits every verified user; `inner` itself when that is off."""
        return self._layer(inner, "user", self._settings.rate_limit_user, by_user)

    @property
    def mode(self) -> str:
        """ "local" (no Redis configured), "shared", or "degraded"."""
        if self._shared.mode == "off":
            return "local"
        return "degraded" if any(limiter.degraded for limiter in self._made) else "shared"

    def health(self) -> dict[str, str]:
        """What /health/deep says of them."""
        return {"mode": self.mode}

    def _layer(self, inner: Handler, name: str, rate: Rate, caller: Caller) -> Handler:
        settings = self._settings
        # Behind the gateway all callers have the gateway's address, and it has limited them.
        if not rate.limit or settings.role != "gateway":
            return inner
        limiter = Limiter(
            Policy(name, rate.limit, rate.seconds),
            self._shared,
            keys=settings.rate_limit_keys,
            instances=settings.rate_limit_instances,
        )
        self._made.append(limiter)
        return RateLimit(inner, limiter, caller, refused=_counting(self._refused, name))


def _counting(counter: Counter, name: str) -> Callable[[], None]:
    return lambda: counter.add(name)


def _measure(shared: Shared, metrics: Metrics) -> None:
    metrics.gauge(
        "gateway_redis_mode", "0 no Redis configured, 1 ok, 2 degraded.", read=lambda: [((), MODES[shared.mode])]
    )
    metrics.gauge(
        "gateway_redis_instances",
        "Live instances of this service, as Redis last said.",
        read=lambda: [((), shared.instances)],
    )
    for name, about in (
        ("calls", "Calls to Redis, refused ones included."),
        ("unavailable", "Calls that went without Redis."),
        ("lost", "How often Redis was lost."),
        ("opened", "Connections opened to Redis."),
    ):
        metrics.gauge(f"gateway_redis_{name}_total", about, kind="counter", read=partial(_count, shared, name))


def _count(shared: Shared, name: str) -> list[tuple[tuple[str, ...], float]]:
    return [((), shared.counts[name])]
