"""How soon a request is answered while the breaker of its upstream is open: p99 under 5 ms, from a client of its own."""

from __future__ import annotations

import socket
import statistics
import tempfile
import time
from pathlib import Path

from tests.helpers.gateway_process import read_answer, running
from tests.helpers.raw_upstream import RawUpstream, status
from tests.helpers.tokens import bearer

ASKED, WITHIN = 5000, 0.005
OPEN = {
    "BREAKER_MIN_CALLS": "4", "BREAKER_WINDOW": "4", "BREAKER_OPEN_SECONDS": "300",
    "RATE_LIMIT_ADDRESS": "off", "RATE_LIMIT_USER": "off",
}  # fmt: skip


def run() -> str:
    """Opens it with four errors, then asks over one connection."""
    with (
        tempfile.TemporaryDirectory() as place,
        RawUpstream(status(500)) as upstream,
        running(Path(place), UPSTREAM_SLACK_URL=upstream.url, **OPEN) as gateway,
    ):
        for _ in range(4):
            gateway.ask("GET", "/api/v2/slack/x")
        upstream.requests.clear()
        took = _asked(gateway.port)
    assert not upstream.requests, "the upstream was asked"
    cuts = statistics.quantiles(took, n=100)
    told = (
        f"{ASKED} answers: p50 {cuts[49] * 1000:.2f} ms, p99 {cuts[98] * 1000:.2f} ms, worst {max(took) * 1000:.1f} ms"
    )
    assert cuts[98] < WITHIN, told
    return told


def _asked(port: int) -> list[float]:
    request = f"GET /api/v2/slack/x HTTP/1.1\r\nHost: gateway.test\r\n{bearer()}\r\n\r\n".encode()
    took = []
    with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
        for number in range(ASKED + 100):
            began = time.perf_counter()
            wire.sendall(request)
            answer = read_answer(wire)
            if number >= 100:
                took.append(time.perf_counter() - began)
            assert answer.status == 503, answer
    return took
