"""Why a socket is refused or closed, as its client hears it. Data; docs/reference/stream.md says it in words.

A refusal reaches the client before its CONNECT is answered, as Socket.IO's `connect_error` with `data: {code, message}`:
the one thing a client library hands to its user by itself. A close is told by the event `closing` with {code, message,
reconnect, retryAfterMs}. Then the transport just ends where the client is to come again (client libraries do that by
themselves after a random pause), and with Socket.IO's DISCONNECT where it is not (they leave that to their user).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

MAX_CONNECTIONS = "MAX_CONNECTIONS_EXCEEDED"
CAPACITY = "SERVICE_CAPACITY_EXCEEDED"
AWAY = "SERVICE_UNAVAILABLE"
REFUSALS: Mapping[str, str] = MappingProxyType(
    {
        MAX_CONNECTIONS: "Maximum connections per user reached",
        CAPACITY: "Service at maximum capacity",
        AWAY: "The service is restarting",
    }
)
RETRY_SECONDS = (5.0, 15.0)
"""Between these a client that found everything full is told to wait: not all come again at once."""


@dataclass(frozen=True)
class Reason:
    """One way to be closed. `code` is the WebSocket's close code (RFC 6455 7.4.1; 4000 on are ours)."""

    name: str
    message: str
    code: int
    again: bool = True
    """Whether the client is to come again by itself."""
    told: bool = True
    """Whether there is anybody to tell."""
    spread: float = 0.0
    """Over how many seconds those who are closed at once should come again."""


TOO_LATE = Reason("CONNECT_TIMEOUT", "No CONNECT was accepted in time", 4408, told=False)
REFUSED = Reason("REFUSED", "The connection was refused", 4403, told=False)
LEFT = Reason("CLIENT_LEFT", "The client left", 1000, told=False)
GONE = Reason("CLIENT_GONE", "The client is gone", 1001, told=False)
PING_TIMEOUT = Reason("PING_TIMEOUT", "No answer to a heartbeat", 4408, told=False)
SLOW = Reason("SLOW_READER", "The client does not take its messages", 4409, told=False)
BAD_MESSAGE = Reason("BAD_MESSAGE", "A message is not well formed or not allowed", 1008)
TOO_LARGE = Reason("MESSAGE_TOO_LARGE", "A message is larger than allowed", 1009)
TOO_MANY = Reason("MESSAGE_RATE_EXCEEDED", "Too many messages", 4429, again=False)
IDLE = Reason("IDLE_TIMEOUT", "Nothing was sent or received for too long", 4410, again=False)
AGE = Reason("MAX_AGE", "The socket has reached its age; connect again", 4411, spread=5.0)
EXPIRED = Reason("TOKEN_EXPIRED", "The token has expired; connect again with a new one", 4401)
RESTART = Reason("SERVICE_RESTART", "The service is restarting; connect again", 1012, spread=3.0)


def told(reason: Reason) -> dict[str, Any]:
    """The data of the event `closing`."""
    wait = random.uniform(0, reason.spread)  # noqa: S311  not all at once, nothing more
    return {
        "code": reason.name,
        "message": reason.message,
        "reconnect": reason.again,
        "retryAfterMs": round(1000 * wait),
    }


def refusal(code: str, message: str = "") -> dict[str, Any]:
    """The data of a `connect_error`."""
    data: dict[str, Any] = {"code": code, "message": message or REFUSALS[code]}
    if code in (CAPACITY, AWAY):
        data["retryAfterMs"] = round(1000 * random.uniform(*RETRY_SECONDS))  # noqa: S311
    return data
