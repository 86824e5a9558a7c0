"""Media types whose messages have no end by design: each piece is for now, and nobody waits for the whole."""

from __future__ import annotations

import re

_STREAM = re.compile(rb"text/event-stream|application/(?:x-ndjson|jsonl|json-seq|stream\+json)", re.IGNORECASE)


def is_stream(value: bytes) -> bool:
    """Whether a Content-Type is, or an Accept asks for, server-sent events or JSON line by line."""
    return _STREAM.search(value) is not None
