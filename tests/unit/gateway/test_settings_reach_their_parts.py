"""From the environment to the part that a setting is for, through the real reader and the real application.

Each setting is given alone. Exactly what it is for must then differ from the default application, and have its value: so a
setting that is not passed on fails here, and so do two that are passed on in each other's place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway_runtime.app import build
from gateway_runtime.cache.layer import Cache
from gateway_runtime.layers.access_log import AccessLog
from gateway_runtime.layers.auth import Auth
from gateway_runtime.layers.compress import Compress
from gateway_runtime.layers.cors import Cors
from gateway_runtime.layers.rate_limit import RateLimit
from gateway_runtime.logs import Log
from gateway_runtime.routes import Router
from gateway_runtime.server.run import front
from gateway_runtime.settings import TABLE, read
from tests.helpers import tokens
from tests.helpers.gateway_request import request

BASE = {**tokens.settings(), "UPSTREAM_SLACK_URL": "http://127.0.0.1:9", "REDIS_URL": "redis://127.0.0.1:9"}


class Application:
    """What a process would serve with, taken apart."""

    def __init__(self, **env: str) -> None:
        settings, log = read({**BASE, **env}), Log()
        self.front = front(settings, log)
        self.layers = list(_layers(build(settings, log)._handler))
        found = self.of(Router).find
        self.stream = found(request("GET", b"/api/xynergyos/v2/stream"))[0].handler
        self.forward = found(request("GET", b"/api/v2/slack/x"))[0].handler
        self.upstream = self.forward._upstream
        self.by_address, self.by_user = (layer for layer in self.layers if isinstance(layer, RateLimit))

    def of(self, kind: type) -> Any:
        return next(layer for layer in self.layers if isinstance(layer, kind))


def _layers(layer: Any) -> Iterator[Any]:
    while layer is not None:
        yield layer
        layer = getattr(layer, "_inner", None)


Look = Callable[[Application], Any]
ROWS: dict[str, tuple[str, object, Look]] = {
    # setting: (what it is set to, what its part then has, where that is)
    "CORS_MAX_AGE": ("61", b"61", lambda app: dict(app.of(Cors)._preflight)[b"access-control-max-age"]),
    "LOG_SAMPLE_RATE": ("0.62", 0.62, lambda app: app.of(AccessLog)._rate),
    "UPSTREAM_TIMEOUT": ("63", [63, 63], lambda app: [rule.usual for rule in deadlines(app)]),
    "UPSTREAM_TIMEOUT_LONG": ("64", [64, 64], lambda app: [rule.long for rule in deadlines(app)]),
    "UPSTREAM_LONG_SEGMENTS": ("slow", [{"slow"}] * 2, lambda app: [rule.segments for rule in deadlines(app)]),
    "UPSTREAM_STREAM_IDLE": ("65", 65, lambda app: app.upstream.client._stream_idle),
    "UPSTREAM_CONNECT_TIMEOUT": ("6", 6, lambda app: app.upstream.client._pool._connect_seconds),
    "UPSTREAM_MAX_IN_FLIGHT": ("67", 67, lambda app: app.upstream.bulkhead.limit),
    "UPSTREAM_QUEUE": ("68", 68, lambda app: app.upstream.bulkhead._queue),
    "UPSTREAM_QUEUE_TIMEOUT": ("6.9", 6.9, lambda app: app.upstream.bulkhead._seconds),
    "UPSTREAM_RETRIES": ("3", 3, lambda app: app.upstream._retries.policy.tries),
    "UPSTREAM_RETRY_BUDGET": ("0.7", 0.7, lambda app: app.upstream._retries.policy.share),
    "UPSTREAM_RETRY_PAUSE": ("0.71", 0.71, lambda app: app.upstream._retries.policy.pause),
    "BREAKER": ("off", False, lambda app: app.upstream.breaker.policy.enabled),
    "BREAKER_FAILURE_SHARE": ("0.72", 0.72, lambda app: app.upstream.breaker.policy.failure_share),
    "BREAKER_SLOW_SHARE": ("0.73", 0.73, lambda app: app.upstream.breaker.policy.slow_share),
    "BREAKER_SLOW_AFTER": ("0.74", 0.74, lambda app: app.upstream._slow_after),
    "BREAKER_WINDOW": ("75", 75, lambda app: app.upstream.breaker.policy.window),
    "BREAKER_MIN_CALLS": ("16", 16, lambda app: app.upstream.breaker.policy.min_calls),
    "BREAKER_HALF_OPEN_CALLS": ("7", 7, lambda app: app.upstream.breaker.policy.half_open_calls),
    "BREAKER_OPEN_SECONDS": ("78", 78, lambda app: app.upstream.breaker.policy.open_seconds),
    "BREAKER_HALF_OPEN_SECONDS": ("179", 179, lambda app: app.upstream.breaker.policy.half_open_seconds),
    "AUTH_ISSUER": ("issuer-1", "issuer-1", lambda app: app.of(Auth)._verifier._rules.issuer),
    "AUTH_AUDIENCE": ("audience-1", "audience-1", lambda app: app.of(Auth)._verifier._rules.audience),
    "AUTH_TENANT_CLAIM": ("org.id", "org.id", lambda app: app.of(Auth)._verifier._rules.tenant),
    "AUTH_USER_CLAIM": ("uid", "uid", lambda app: app.of(Auth)._verifier._rules.user),
    "AUTH_ROLES_CLAIM": ("groups", "groups", lambda app: app.of(Auth)._verifier._rules.roles),
    "AUTH_LEEWAY": ("8", 8, lambda app: app.of(Auth)._verifier._rules.leeway),
    "AUTH_KEYS_REFETCH": ("81", 81, lambda app: app.of(Auth)._verifier.keys._refetch),
    "AUTH_KEYS_STALE": ("82", 82, lambda app: app.of(Auth)._verifier.keys._stale),
    "AUTH_REMEMBERED": ("83", 83, lambda app: app.of(Auth)._verifier._room),
    "SERVER_HEAD_BYTES": ("8401", 8401, lambda app: app.front.limits.head_bytes),
    "SERVER_HEAD_FIELDS": ("85", 85, lambda app: app.front.limits.head_fields),
    "SERVER_URL_BYTES": ("4096", 4096, lambda app: app.front.limits.url_bytes),
    "SERVER_HEAD_TIMEOUT": ("87", 87, lambda app: app.front.limits.head_seconds),
    "SERVER_BODY_TIMEOUT": ("88", 88, lambda app: app.front.limits.body_seconds),
    "SERVER_BODY_RATE": ("89", 89, lambda app: app.front.limits.body_rate),
    "SERVER_WRITE_TIMEOUT": ("90", 90, lambda app: app.front.limits.write_seconds),
    "SERVER_WRITE_RATE": ("91", 91, lambda app: app.front.limits.write_rate),
    "SERVER_IDLE_TIMEOUT": ("92", 92, lambda app: app.front.limits.idle_seconds),
    "SERVER_MAX_CONNECTIONS": ("93", 93, lambda app: app.front.limits.connections),
    "CACHE_MEMORY": ("94", 94 * 1024 * 1024, lambda app: app.of(Cache)._store.memory._limit),
    "CACHE_ENTRY_LIMIT": ("95", 95 * 1024, lambda app: app.of(Cache)._store.entry_limit),
    "CACHE_LONGEST": ("96", 96, lambda app: app.of(Cache)._limits.longest),
    "CACHE_TRUST": ("97", 0.097, lambda app: app.of(Cache)._store._trust),
    "COMPRESSION_CODINGS": ("gzip,br", ("gzip", "br"), lambda app: app.of(Compress)._how.codings),
    "COMPRESSION_MIN_BYTES": ("98", 98, lambda app: app.of(Compress)._how.min_bytes),
    "COMPRESSION_BROTLI_QUALITY": ("9", 9, lambda app: app.of(Compress)._how.levels["br"]),
    "COMPRESSION_ZSTD_LEVEL": ("5", 5, lambda app: app.of(Compress)._how.levels["zstd"]),
    "COMPRESSION_GZIP_LEVEL": ("3", 3, lambda app: app.of(Compress)._how.levels["gzip"]),
    "REDIS_POOL_MAX": ("9", 9, lambda app: app.of(Cache)._store.shared._lines._pool),
    "REDIS_TIMEOUT": ("1.5", 1.5, lambda app: app.of(Cache)._store.shared._lines._wait),
    "RATE_LIMIT_ADDRESS": ("99/33", (99, 33), lambda app: rate(app.by_address)),
    "RATE_LIMIT_USER": ("98/34", (98, 34), lambda app: rate(app.by_user)),
    "RATE_LIMIT_KEYS": ("101", [101, 101], lambda app: [r._limiter._most for r in (app.by_address, app.by_user)]),
    "RATE_LIMIT_INSTANCES": ("12", [12] * 3, lambda app: [*assumed(app), app.stream._leases._instances]),
    "WS_MAX_PER_USER": ("13", 13, lambda app: app.stream._leases.per_user),
    "WS_MAX_TOTAL": ("14", 14, lambda app: app.stream._leases.total),
    "WS_LEASE": ("15", 15, lambda app: app.stream._leases._lease),
}


def rate(layer: Any) -> tuple[int, int]:
    return layer._limiter.policy.limit, layer._limiter.policy.seconds


def deadlines(app: Application) -> list[Any]:
    """Who forwards a request and who lets it wait for others go by the same rule."""
    return [app.forward._deadlines, app.of(Cache)._limits.deadlines]


def assumed(app: Application) -> list[int]:
    return [layer._limiter._assumed for layer in (app.by_address, app.by_user)]


@pytest.fixture(scope="module")
def usual() -> dict[str, Any]:
    app = Application()
    return {name: look(app) for name, (_, _, look) in ROWS.items()}


@pytest.mark.parametrize("name", ROWS)
def test_a_setting_changes_what_it_is_for_and_nothing_else(name: str, usual: dict[str, Any]) -> None:
    text, value, _ = ROWS[name]
    app = Application(**{name: text})
    found = {other: look(app) for other, (_, _, look) in ROWS.items()}
    assert {other: seen for other, seen in found.items() if seen != usual[other]} == {name: value}


def test_the_limits_of_a_head_are_what_heads_are_read_with() -> None:
    app = Application()
    assert app.front.heads._limits is app.front.limits


def test_the_rows_are_settings() -> None:
    assert set(ROWS) <= {setting.env for setting in TABLE}
