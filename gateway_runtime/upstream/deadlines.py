"""How long one request may take, decided once from its path, and what is left of it handed on.

The deadline is one budget for everything: waiting for a place, connecting, trying again, the head, and the last byte of
the body. It starts with the request's head. Which deadline counts is decided by whole path segments of the canonical
path, never by a substring and never by the query: `/generate-report` and `?x=/ai/` are ordinary requests (plan 1.5 asks
`url.includes('/ai/')`, which any caller can write into any URL).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway_runtime.settings import Settings

HEADER = b"x-deadline-ms"
"""The field that carries a budget, in whole milliseconds: read from a caller, sent to an upstream."""


class Deadline:
    """The end of one request's budget, on the clock of `time.monotonic`; `at` is inf when there is none."""

    __slots__ = ("allowed", "at", "callers")

    def __init__(self, at: float, allowed: float, *, callers: bool = False) -> None:
        self.at = at
        self.allowed = allowed
        """Seconds the route allows, whatever the caller asked for: what is slow is judged by it."""
        self.callers = callers
        """Whether the caller's own smaller budget set the end: running out of it says nothing about the upstream."""

    def left(self, now: float) -> float:
        """Seconds from now on; below 0 when it is over."""
        return self.at - now

    def field(self, now: float) -> bytes:
        """The header line that hands the rest on, at least 1 ms; nothing when there is no deadline."""
        if self.at == math.inf:
            return b""
        return b"%b: %d\r\n" % (HEADER, max(1, int((self.at - now) * 1000)))


@dataclass(frozen=True)
class Deadlines:
    """The rule: seconds for every route, and for paths that have one of `segments`. inf is none at all."""

    usual: float = 30.0
    long: float = 120.0
    segments: frozenset[str] = frozenset(("ai", "generate"))

    def allowed(self, path: str, own: float = 0.0) -> float:
        """Seconds for a canonical path; `own` is what its route was given for itself, 0 when nothing."""
        if self.usual == math.inf:
            return math.inf
        if own:
            return own
        return self.usual if self.segments.isdisjoint(path.split("/")) else max(self.long, self.usual)

    def of(self, path: str, started: float, *, asked: bytes | None = None, own: float = 0.0) -> Deadline:
        """The deadline of a request that started then; `asked` is the caller's budget, which can only shorten it.

        A budget that is no whole number of milliseconds is taken for none: the route's own deadline holds anyway.
        """
        allowed = self.allowed(path, own)
        if asked is not None and asked.isdigit() and len(asked) <= 9 and allowed < math.inf:
            seconds = int(asked) / 1000
            if seconds < allowed:
                return Deadline(started + seconds, allowed, callers=True)
        return Deadline(started + allowed, allowed)


def deadlines_of(settings: Settings) -> Deadlines:
    """The rule that these settings make."""
    segments = frozenset(settings.upstream_long_segments.split(","))
    return Deadlines(settings.upstream_timeout, settings.upstream_timeout_long, segments)
