"""Who a request comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """What a verified token says: never anything the client says about itself elsewhere.

    `user` is unique within `tenant` only. `expires` is the token's `exp`, in seconds since 1970; whatever outlives a
    request (a socket, a cached answer of this user) must end by then.
    """

    tenant: str
    user: str
    roles: tuple[str, ...]
    expires: float
