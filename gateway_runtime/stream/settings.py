"""The settings of the real-time stream: their rows in the table."""

from __future__ import annotations

from collections.abc import Callable

from gateway_runtime.setting_types import Setting, number, one_of, whole
from gateway_runtime.upstream.settings import OFF, seconds_or_off


def most_or_off(high: int) -> Callable[[str], float]:
    """A whole number from 1, or `off` (kept as inf: nothing is ever more)."""
    whole_number = whole(1, high)

    def parse(text: str) -> float:
        if text == "off":
            return OFF
        try:
            return float(whole_number(text))
        except ValueError:
            raise ValueError(f"must be a whole number from 1 to {high}, or off") from None

    return parse


ROWS: tuple[Setting, ...] = (
    Setting(
        "WS", one_of("on", "off"), "on off", "Whether the gateway has the real-time stream. `off`: 404 at its path."
    ),
    Setting(
        "WS_MAX_PER_USER",
        most_or_off(1000),
        "1..1000 or off",
        "Open sockets of one verified user, over all instances. One more is refused: MAX_CONNECTIONS_EXCEEDED.",
    ),
    Setting(
        "WS_MAX_TOTAL",
        most_or_off(1_000_000),
        "1..1000000 or off",
        "Open sockets of all users, over all instances. One more is refused: SERVICE_CAPACITY_EXCEEDED.",
    ),
    Setting(
        "WS_LEASE",
        number(1, 600),
        "1..600 s",
        "How long an instance that says nothing more keeps the places of its sockets. It says something three times as often.",
    ),
    Setting(
        "WS_CONNECT_TIMEOUT",
        number(0.1, 60),
        "0.1..60 s",
        "How long a client may take from the handshake to an accepted CONNECT; it holds no place until then.",
    ),
    Setting(
        "WS_IDLE_TIMEOUT",
        seconds_or_off(0.5, 86400),
        "0.5..86400 s or off",
        "How long a socket stays on which no event goes either way. Heartbeats are no events.",
    ),
    Setting(
        "WS_MAX_AGE",
        seconds_or_off(1, 86400),
        "1..86400 s or off",
        "The longest a socket lives; up to a twentieth less, so that not all end at once. Keep it under the request timeout of "
        "Cloud Run.",
    ),
    Setting("WS_PING_INTERVAL", number(0.2, 300), "0.2..300 s", "From a heartbeat's answer to the next heartbeat."),
    Setting("WS_PING_TIMEOUT", number(0.2, 300), "0.2..300 s", "How long the answer to a heartbeat may take."),
    Setting(
        "WS_POLL_GAP",
        number(0.2, 300),
        "0.2..300 s",
        "How long a polling client may stay away between two requests until it counts as gone.",
    ),
    Setting(
        "WS_MESSAGE_BYTES", whole(1024, 10_000_000), "1024..10000000 B", "The longest message; one more byte ends it."
    ),
    Setting(
        "WS_MESSAGE_RATE",
        whole(1, 100_000),
        "1..100000 /s",
        "Messages a client may send on average, four seconds' worth of them at once; more ends its socket.",
    ),
    Setting(
        "WS_BACKLOG_BYTES",
        whole(16_384, 67_108_864),
        "16384..67108864 B",
        "What may wait for a client that does not read; more ends its socket.",
    ),
)
