"""A gateway with small limits for the stream, and a well-behaved client beside those who are not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.helpers.gateway_process import Running, running
from tests.helpers.stream_client import Raw, counted, raw

ORIGIN = "https://app.example.com"
_MOST = 80 * 1024 * 1024
_SMALL = {
    "CORS_ALLOWED_ORIGINS": f"{ORIGIN},https://*.example.org",
    "WS_CONNECT_TIMEOUT": "2",
    "WS_POLL_GAP": "3",
    "SERVER_WRITE_TIMEOUT": "2",
    "WS_BACKLOG_BYTES": "65536",
    "RATE_LIMIT_ADDRESS": "off",
}


@contextmanager
def small_gateway(folder: Path) -> Iterator[Running]:
    with running(folder, **_SMALL) as process:
        yield process


@contextmanager
def neighbour_of(others: Running) -> Iterator[Raw]:
    """A socket that must be served before and after, by a process that grows little and says nothing of anybody."""
    counted(others, 0)
    rss = psutil.Process(others.process.pid).memory_info().rss
    with raw(others) as found:
        found.connect()
        yield found
        assert found.ask("keepalive") == {"ok": True}
        assert others.process.poll() is None
        assert psutil.Process(others.process.pid).memory_info().rss - rss < _MOST
        counted(others, 1)
    text = others.out.read_text()
    assert "Traceback" not in text
    assert "eyJ" not in text
