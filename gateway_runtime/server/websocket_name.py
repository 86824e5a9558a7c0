"""The name under which an ASGI scope holds the WebSocket protocol itself; apart, so that knowing it imports nothing."""

from __future__ import annotations

WIRE = "gateway.wire"
