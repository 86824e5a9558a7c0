"""The ways a caller is turned away, as answers (RFC 6750 3, RFC 9110 11.6.1).

What the caller hears is one of a few sentences; `reason` says more, and goes to the log only. No token, and no part of
one, is ever in either.
"""

from __future__ import annotations

from gateway_runtime.errors import Problem

_REALM = 'Bearer realm="gateway"'


def missing(message: str = "") -> Problem:
    """401: there is no token where one belongs. Without `error`, as RFC 6750 3.1 asks."""
    return Problem("UNAUTHENTICATED", message, headers=_challenge(), reason="no token")


def invalid(reason: str) -> Problem:
    """401: the token is not one of ours, or not right."""
    return _refused("The token is not valid", reason)


def expired() -> Problem:
    """401: it was right once; the client gets a new one and comes again."""
    return _refused("The token has expired", "expired")


def ambiguous(message: str) -> Problem:
    """400: more than one token, and nobody can say which one counts."""
    return Problem("BAD_REQUEST", message, headers=_challenge("invalid_request", message), reason="ambiguous")


def forbidden(reason: str) -> Problem:
    """403: the token is right, and names nobody that this service knows."""
    message = "The token names no tenant"
    return Problem("FORBIDDEN", message, headers=_challenge("insufficient_scope", message), reason=reason)


def not_configured() -> Problem:
    """503: nobody said whose tokens to believe. Never open."""
    return Problem("AUTHENTICATION_NOT_CONFIGURED")


def unavailable(reason: str, seconds: int) -> Problem:
    """503: the token cannot be checked now."""
    return Problem("AUTHENTICATION_UNAVAILABLE", headers=((b"retry-after", b"%d" % seconds),), reason=reason)


def _refused(message: str, reason: str) -> Problem:
    return Problem("UNAUTHENTICATED", message, headers=_challenge("invalid_token", message), reason=reason)


def _challenge(error: str = "", description: str = "") -> tuple[tuple[bytes, bytes], ...]:
    more = f', error="{error}", error_description="{description}"' if error else ""
    return ((b"www-authenticate", f"{_REALM}{more}".encode("ascii")),)
