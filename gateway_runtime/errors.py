"""What can go wrong with a request, and the one shape every error answer has (plan 1.7, requirement ERR-1).

    {"error": {"code", "message", "requestId", "timestamp"}}     + "stack", "details" when ERROR_DETAIL=full

`CODES` is the whole list of codes an answer can carry; nothing else gets through, whatever an exception has in its
attributes. The message of a 4xx is our own words about what the caller sent. The message of a 5xx never says more than
its class: the cause is for the log.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

CODES: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "BAD_REQUEST": (400, "The request is malformed"),
        "UNAUTHENTICATED": (401, "Sign in to use this"),
        "FORBIDDEN": (403, "This is not allowed"),
        "NOT_FOUND": (404, "There is nothing here"),
        "METHOD_NOT_ALLOWED": (405, "This method is not allowed here"),
        "REQUEST_TIMEOUT": (408, "The request did not arrive in time"),
        "CONFLICT": (409, "This clashes with what is already there"),
        "PAYLOAD_TOO_LARGE": (413, "The body is larger than allowed"),
        "URI_TOO_LONG": (414, "The URL is longer than allowed"),
        "UNSUPPORTED_MEDIA_TYPE": (415, "The body must be application/json"),
        "EXPECTATION_FAILED": (417, "The only expectation met here is 100-continue"),
        "MISDIRECTED_REQUEST": (421, "This host is not served here"),
        "VALIDATION_FAILED": (400, "A value is not allowed"),
        "INVALID_CURSOR": (400, "This cursor belongs to another list or was changed; begin again without one"),
        "PRECONDITION_FAILED": (412, "It was changed since you read it"),
        "IDEMPOTENCY_KEY_IN_USE": (409, "A request with this Idempotency-Key is under way; try again shortly"),
        "IDEMPOTENCY_KEY_REUSED": (422, "This Idempotency-Key was used with another request"),
        "RATE_LIMITED": (429, "Too many requests"),
        "HEAD_TOO_LARGE": (431, "The head of the request is larger than allowed"),
        "INTERNAL_ERROR": (500, "An unexpected error occurred"),
        "NOT_IMPLEMENTED": (501, "This method is not supported"),
        "BAD_GATEWAY": (502, "A service behind this one gave no valid answer"),
        "SERVICE_UNAVAILABLE": (503, "A service behind this one is not available"),
        "OVERLOADED": (503, "Too many connections; try again shortly"),
        "AUTHENTICATION_NOT_CONFIGURED": (503, "Authentication is not configured"),
        "AUTHENTICATION_UNAVAILABLE": (503, "Who you are cannot be checked at the moment"),
        "GATEWAY_TIMEOUT": (504, "A service behind this one took too long"),
        "HTTP_VERSION_NOT_SUPPORTED": (505, "HTTP/1.1 is spoken here"),
    }
)
"""Code -> status and the words used when nothing more can be said."""


class Problem(Exception):
    """A request that ends in an error answer. `details` go to the log, and out only when ERROR_DETAIL=full; what stands
    `beside` the error goes out to the caller, whose own input it is about."""

    callers = False
    """Whether it came of the caller's own doing, a deadline of theirs, and is no news to others who ask the same."""

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        headers: Sequence[tuple[bytes, bytes]] = (),
        beside: Mapping[str, Any] = MappingProxyType({}),
        **details: Any,
    ) -> None:
        self.code = code
        self.status, usual = CODES[code]
        self.message = message if message and self.status < 500 else usual
        self.headers = headers
        self.beside = beside
        self.details = details
        super().__init__(message or usual)


class Shed(Problem):
    """Refused at once to protect what is behind: 503 with Retry-After. Decided, not suffered."""

    def __init__(self, reason: str, *, retry_after: int, **details: Any) -> None:
        after = ((b"retry-after", b"%d" % retry_after),)
        super().__init__("SERVICE_UNAVAILABLE", headers=after, reason=reason, **details)


def stack_of(error: BaseException) -> str:
    """The traceback of an exception with its causes, as text."""
    return "".join(traceback.format_exception(error))


def short_stack(error: BaseException, limit: int = 3000) -> str:
    """`stack_of` in about `limit` characters: its first line, by which it is known for a stack, and its end."""
    text = stack_of(error)
    if len(text) <= limit:
        return text
    first, _, rest = text.partition("\n")
    return f"{first}\n  ...\n{rest[-limit:].partition(chr(10))[2]}"


def forget(error: BaseException) -> None:
    """Takes the traceback off an exception that has been dealt with, and off those it came from.

    Its frames hold the request, and through it the exception: together they would stay until a cycle collector comes by.
    """
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        found = waiting.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            found.__traceback__ = None
            waiting += (found.__cause__, found.__context__)


class ClientGone(Exception):
    """The client closed its connection before it had its answer: nobody is left to tell."""
