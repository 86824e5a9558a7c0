from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from xgw.cloud.redis import RedisClient, RedisDoor
from xgw.errors import Unreachable
from xgw.plan.model import GATEWAY, Verdict
from xgw.probes import redis
from xgw.probes.redis import by_instance, redis_is_reached


def test_clients_are_counted_by_instance_and_purpose_of_the_one_revision() -> None:
    names = [
        "r-1/shared/a",
        "r-1/shared/a",
        "r-1/limiter/a",
        "r-1/shared/b",
        "r-2/limiter/c",
        "",
        "r-1",
        "r-1/x",
        "other/x/y",
    ]
    found = by_instance([RedisClient(name) for name in names], "r-1")
    assert {instance: dict(purposes) for instance, purposes in found.items()} == {
        "a": {"shared": 2, "limiter": 1},
        "b": {"shared": 1},
    }


@pytest.mark.parametrize("address", ["", "127.0.0.1:1"])
def test_a_redis_that_cannot_be_asked_is_unreachable_and_not_zero_clients(address: str) -> None:
    with pytest.raises(Unreachable) as fault:
        RedisDoor(address).clients()
    assert "XGW_REDIS_ADDRESS" in fault.value.fix


@contextmanager
def gateway(deep: bytes, limited: Mapping[str, str]) -> Iterator[str]:
    """One that answers /health/deep with these bytes, and everything else with these fields."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, fields = (deep, {}) if self.path == "/health/deep" else (b"{}", limited)
            self.send_response(200)
            for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **fields}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


SHARED, ALONE = {"RateLimit": '"a";r=1;t=1'}, {"RateLimit": '"a";r=1;t=1', "X-RateLimit-Mode": "degraded"}


@pytest.mark.parametrize(
    ("deep", "limited", "verdict", "measured"),
    [
        (b'{"redis": {"status": "ok"}}', SHARED, Verdict.PASSED, "Redis ok, limits shared"),
        (b'{"redis": {"status": "degraded"}}', SHARED, Verdict.FAILED, "Redis degraded, limits shared"),
        (b'{"redis": {"status": "ok"}}', ALONE, Verdict.FAILED, "Redis ok, limits degraded"),
        (b'{"redis": {"status": "ok"}}', {}, Verdict.INCONCLUSIVE, "Redis ok, limits off"),
        (
            b'{"redis": {"status": "not configured"}}',
            SHARED,
            Verdict.INCONCLUSIVE,
            "Redis not configured, limits shared",
        ),
        *(
            (body, SHARED, Verdict.INCONCLUSIVE, "Redis is not told of, limits shared")
            for body in (b"{}", b'{"redis": "ok"}', b"[1]", b"{", b"\xff")
        ),
    ],
)
def test_redis_is_reached_when_it_answers_the_gateway_and_limits_are_shared(
    deep: bytes, limited: Mapping[str, str], verdict: Verdict, measured: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "REACH_S", 0.0)
    with gateway(deep, limited) as url:
        subject: Any = SimpleNamespace(urls={GATEWAY: url})
        reading = redis_is_reached(GATEWAY).measure(subject)
    assert (reading.verdict, reading.measured) == (verdict, measured)
