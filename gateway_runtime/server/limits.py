"""Every figure the server edge holds a client to."""

from __future__ import annotations

from dataclasses import dataclass

from gateway_runtime.settings import Settings

CHUNK_EXTRA = 16 * 1024
"""Bytes of chunk extensions a body may carry; nobody is known to use any."""
CHUNK_EXTRA_RATIO = 16
"""Bytes of chunk extensions per byte of body, from CHUNK_EXTRA_FREE on."""
CHUNK_EXTRA_FREE = 256
HIGH_WATER = 64 * 1024
"""Bytes read ahead of the application, of one request's body or of requests behind it; then reading pauses."""
LINGER_SECONDS = 2.0
"""How long a refused client may go on sending before the connection is cut: time for it to read why."""
LINGER_HEAD = 64 * 1024
LINGER_UPLOAD = 16 * 1024 * 1024
"""Bytes it may go on sending meanwhile: behind a refused head, and of a body that nobody reads."""
LINGERING = 16
"""Connections beyond the limit that are let linger; more are closed at once."""
DRAIN_GRACE = 0.5
"""How long an idle connection stays after SIGTERM: a request already on its way still gets its answer."""


@dataclass(frozen=True)
class Limits:
    """The settings of the server edge. Seconds, bytes, bytes per second."""

    head_bytes: int = 16 * 1024
    head_fields: int = 100
    url_bytes: int = 8 * 1024
    head_seconds: float = 10
    """From the first byte of a head (or the connection's start) to its last."""
    body_seconds: float = 10
    """Longest pause in a body; and the time before `body_rate` counts."""
    body_rate: int = 500
    write_seconds: float = 20
    """Longest time a client may take nothing of an answer that waits for it."""
    write_rate: int = 2048
    idle_seconds: float = 75
    connections: int = 2000

    @staticmethod
    def of(settings: Settings) -> Limits:
        """The limits in the settings."""
        return Limits(
            head_bytes=settings.server_head_bytes,
            head_fields=settings.server_head_fields,
            url_bytes=settings.server_url_bytes,
            head_seconds=settings.server_head_timeout,
            body_seconds=settings.server_body_timeout,
            body_rate=settings.server_body_rate,
            write_seconds=settings.server_write_timeout,
            write_rate=settings.server_write_rate,
            idle_seconds=settings.server_idle_timeout,
            connections=settings.server_max_connections,
        )
