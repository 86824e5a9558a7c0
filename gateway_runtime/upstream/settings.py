"""The settings of the way to the upstreams: their rows in the table, and the route table as text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway_runtime.masking import of_refused
from gateway_runtime.setting_types import Setting, number, one_of, whole

UPSTREAMS = ("crm", "slack", "gmail")
ROUTES = "crm:/api/v2/crm:/contacts,slack:/api/v2/slack,gmail:/api/v2/gmail"
OFF = math.inf
"""How a number that was switched off is kept."""

_PATH = r"(?:/[A-Za-z0-9._~-]+)+"
_ROUTE = re.compile(rf"({'|'.join(UPSTREAMS)}):({_PATH})(?::({_PATH}))?(?:@([0-9]{{1,4}}(?:\.[0-9]{{1,3}})?))?")
_TAKEN = ("/health", "/metrics", "/openapi.json", "/diagnostics")


@dataclass(frozen=True)
class RouteRow:
    """`strip` + `kept` + anything goes to the upstream as `kept` + anything; `seconds` is its own deadline, 0 for none."""

    upstream: str
    strip: str
    kept: str
    seconds: float

    @property
    def pattern(self) -> str:
        """The route's pattern."""
        return f"{self.strip}{self.kept}/*"


@dataclass(frozen=True)
class RouteTable:
    """Which paths go to which upstream."""

    text: str
    rows: tuple[RouteRow, ...]

    @classmethod
    def parse(cls, text: str) -> RouteTable:
        """From `UPSTREAM:STRIPPED[:KEPT][@SECONDS]`, comma separated."""
        rows = []
        for item in text.split(","):
            found = _ROUTE.fullmatch(item.strip())
            if found is None or {".", ".."} & set(item.replace(":", "/").split("/")):
                raise ValueError(
                    f"must be UPSTREAM:STRIPPED[:KEPT][@SECONDS], comma separated; {of_refused(item)[:40]!a} is not"
                )
            rows.append(RouteRow(found[1], found[2], found[3] or "", float(found[4] or 0)))
        patterns = [row.pattern for row in rows]
        if len(set(patterns)) != len(patterns):
            raise ValueError("must name each path once")
        if any(pattern.startswith(f"{taken}/") for pattern in patterns for taken in _TAKEN):
            raise ValueError(f"must leave {', '.join(_TAKEN)} to the gateway")
        return cls(text, tuple(rows))

    def __str__(self) -> str:
        return self.text


def seconds_or_off(low: float, high: float) -> Callable[[str], float]:
    """A number, or `off` (kept as inf)."""
    parse = number(low, high)

    def parse_or_off(text: str) -> float:
        if text == "off":
            return OFF
        try:
            return parse(text)
        except ValueError:
            raise ValueError(f"must be a number from {low:g} to {high:g}, or off") from None

    return parse_or_off


def segments(text: str) -> str:
    """Whole path segments, comma separated."""
    found = text.split(",")
    if not all(re.fullmatch(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,63}", each) for each in found):
        raise ValueError("must be path segments, comma separated, as in ai,generate")
    return text


def authorities(text: str) -> str:
    """The path of a readable PEM file with at least one certificate."""
    from gateway_runtime.upstream.pool import tls_to

    try:
        if "\0" in text or not Path(text).is_file():
            raise ValueError("must be the path of a PEM file")
        tls_to(text)
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(f"must be a PEM file with certificates: {error.strerror or error}"[:120]) from None
    return text


def secret(text: str) -> str:
    """A token that cannot be guessed and can stand in a field."""
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]{16,512}", text):
        raise ValueError("must be 16 to 512 letters, digits and ._~+/=-")
    return text


_SHARE = number(0.01, 1)
ROWS: tuple[Setting, ...] = (
    Setting(
        "ROUTES",
        RouteTable.parse,
        "a comma list",
        "Which paths go where: `UPSTREAM:STRIPPED[:KEPT][@SECONDS]`. A path that begins with STRIPPED and KEPT goes to the "
        "upstream without STRIPPED; SECONDS is its own deadline.",
    ),
    Setting(
        "UPSTREAM_TIMEOUT",
        seconds_or_off(0.05, 3600),
        "0.05..3600 s, off",
        "A request's deadline, from its head to the last byte of its answer. `off` is the plan's current state: no deadline "
        "for any route, none observed and none passed on.",
    ),
    Setting(
        "UPSTREAM_TIMEOUT_LONG",
        number(0.05, 3600),
        "0.05..3600 s",
        "The deadline of a path that has one of UPSTREAM_LONG_SEGMENTS. Never less than UPSTREAM_TIMEOUT.",
    ),
    Setting(
        "UPSTREAM_LONG_SEGMENTS",
        segments,
        "a comma list",
        "Whole path segments that make a request a long one. A part of a segment or of the query never does.",
    ),
    Setting(
        "UPSTREAM_STREAM_IDLE",
        number(0.05, 3600),
        "0.05..3600 s",
        "For answers without an end (text/event-stream, application/x-ndjson and its like): once the head is there, the longest "
        "silence, in place of the deadline.",
    ),
    Setting(
        "UPSTREAM_CONNECT_TIMEOUT",
        number(0.05, 60),
        "0.05..60 s",
        "The longest wait for a connection, name look-up and TLS included.",
    ),
    Setting(
        "UPSTREAM_CA_FILE",
        authorities,
        "a path",
        "A PEM file with the only authorities trusted for https upstreams. Unset: the system's.",
    ),
    Setting(
        "UPSTREAM_MAX_IN_FLIGHT", whole(1, 10000), "1..10000", "Requests one upstream may have at once (its bulkhead)."
    ),
    Setting(
        "UPSTREAM_QUEUE",
        whole(0, 10000),
        "0..10000",
        "Requests that may wait for a place at one upstream; more are shed with 503 and Retry-After.",
    ),
    Setting("UPSTREAM_QUEUE_TIMEOUT", number(0.01, 60), "0.01..60 s", "The longest wait for such a place."),
    Setting(
        "UPSTREAM_RETRIES",
        whole(0, 3),
        "0..3",
        "How often one GET, HEAD, OPTIONS, PUT or DELETE is sent again when not a byte of an answer came.",
    ),
    Setting("UPSTREAM_RETRY_BUDGET", number(0, 1), "0..1", "Share of an upstream's requests that may be such retries."),
    Setting(
        "UPSTREAM_RETRY_PAUSE",
        number(0, 10),
        "0..10 s",
        "The longest pause before the first retry; each is drawn evenly from 0, and doubles.",
    ),
    Setting(
        "BREAKER", one_of("on", "off"), "on off", "`off` is the plan's current state: a failing upstream is asked on."
    ),
    Setting(
        "BREAKER_FAILURE_SHARE",
        _SHARE,
        "0.01..1",
        "Share of failed calls (timeouts, 5xx, faults) that opens the breaker.",
    ),
    Setting("BREAKER_SLOW_SHARE", _SHARE, "0.01..1", "Share of slow calls that opens it."),
    Setting(
        "BREAKER_SLOW_AFTER",
        _SHARE,
        "0.01..1",
        "A call is slow from this share of its route's deadline on: 15 s of 30 s.",
    ),
    Setting("BREAKER_WINDOW", whole(1, 10000), "1..10000", "Calls the shares are taken of: the last ones."),
    Setting(
        "BREAKER_MIN_CALLS",
        whole(1, 10000),
        "1..10000",
        "Calls before it can open. More than BREAKER_WINDOW counts as BREAKER_WINDOW.",
    ),
    Setting("BREAKER_HALF_OPEN_CALLS", whole(1, 1000), "1..1000", "Calls that are let through to decide."),
    Setting("BREAKER_OPEN_SECONDS", number(0.05, 3600), "0.05..3600 s", "How long it stays open."),
    Setting(
        "BREAKER_HALF_OPEN_SECONDS",
        number(0.05, 3600),
        "0.05..3600 s",
        "How long half open waits for its calls before it is open again. At least the longest deadline counts.",
    ),
    Setting(
        "OPERATOR_TOKEN",
        secret,
        "16..512 characters",
        "Whoever sends it as a Bearer token sees /metrics, and details in /health/deep. Unset: nobody does.",
        secret=True,
    ),
    Setting(
        "DIAGNOSTICS",
        one_of("on", "off"),
        "on off",
        "`on` opens paths that answer late on purpose, without a token: `/delay` of slack and gmail, `/diagnostics/slack/` of "
        "the gateway. For measuring deadlines, not for production.",
    ),
)
