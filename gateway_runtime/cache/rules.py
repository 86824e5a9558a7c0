"""What a shared cache may store, and when it may give it out (RFC 9111 3, 4; RFC 5861)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gateway_runtime.asgi import Headers
from gateway_runtime.cache.directives import FOREVER, Directives, date, directives, vary
from gateway_runtime.cache.policy import Policy
from gateway_runtime.media import is_stream

STORABLE = frozenset((200, 301, 308))
"""Statuses that are stored. 404 and 410 would be allowed; but here a contact that is not there yet is about to be made,
and the answer about its absence serves nobody. Errors and parts never."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How long an answer may be given out, in seconds from when it was made. `strict`: never once it is stale."""

    lifetime: float
    stale: float = 0.0
    error: float = 0.0
    strict: bool = False


class Use(Enum):
    """What may be done with a stored answer for one request."""

    FRESH = "give it out"
    STALE = "give it out as stale"
    REFRESH = "give it out as stale, and fetch a new one meanwhile"
    ASK = "ask the upstream first"


def terms_of(
    status: int, headers: Headers, *, authorised: bool, policy: Policy | None, longest: float, now: float
) -> Terms | None:
    """The terms on which the answer to a GET may be stored; None when it may not. `now` is when it arrived (Unix time).

    `authorised`: its request carried credentials. RFC 9111 3.5 lets a shared cache keep such an answer only if it says
    public, s-maxage or must-revalidate; a row of our own policy counts too, because its key confines the answer to the
    tenant or the user the row says.
    """
    said = directives(headers)
    if status not in STORABLE or said.has("no-store") or said.has("private") or said.has("no-cache") or said.broken:
        return None
    if any(name == b"set-cookie" or (name == b"content-type" and is_stream(value)) for name, value in headers):
        return None
    names = vary(headers)
    if names is None or len(names) > 16:
        return None
    shared = said.has("public") or said.has("s-maxage") or said.has("must-revalidate")
    if authorised and policy is None and not shared:
        return None
    lifetime = _lifetime(headers, said, now)
    if lifetime is None:
        lifetime = policy.ttl if policy else 0.0
    if lifetime <= 0:
        return None
    strict = said.has("must-revalidate") or said.has("proxy-revalidate") or said.has("s-maxage")
    stale, error = said.number("stale-while-revalidate"), said.number("stale-if-error")
    return Terms(
        lifetime=min(lifetime, longest),
        stale=0.0 if strict else min(_either(stale, policy.stale if policy else 0.0), longest),
        error=0.0 if strict else min(_either(error, policy.error if policy else 0.0), longest),
        strict=strict,
    )


def _either(said: int | None, ours: float) -> float:
    return ours if said is None else float(said)


def _lifetime(headers: Headers, said: Directives, now: float) -> float | None:
    """RFC 9111 4.2.1: s-maxage, max-age, Expires less Date. None when the answer does not say; what cannot be read is 0."""
    for name in ("s-maxage", "max-age"):
        seconds = said.number(name)
        if seconds is not None:
            return float(seconds)
    expires = [value for name, value in headers if name == b"expires"]
    if not expires:
        return None
    ends = date(expires[0]) if len(expires) == 1 else None
    if ends is None:
        return 0.0
    sent = date(next((value for name, value in headers if name == b"date"), None))
    return max(0.0, ends - (now if sent is None else sent))


def initial_age(headers: Headers, *, waited: float, now: float) -> float:
    """How old an answer was when it arrived (RFC 9111 4.2.3). `waited`: seconds between asking and its head."""
    ages = [value.strip() for name, value in headers if name == b"age"]
    age = min(int(ages[0][:12]), FOREVER) if ages and ages[0].isdigit() else 0
    sent = date(next((value for name, value in headers if name == b"date"), None))
    apparent = max(0.0, now - sent) if sent is not None else 0.0
    # A Date is in whole seconds: what is younger than one and a bit is not old.
    return max(apparent if apparent >= 2 else 0.0, age + waited if age else 0.0)


def use_of(terms: Terms, age: float, asked: Directives) -> Use:
    """What may be done with an answer of this age for a request with these directives (RFC 9111 4, 5.2.1)."""
    if asked.has("no-cache"):
        return Use.ASK
    oldest, fresh_for, over = asked.number("max-age"), asked.number("min-fresh"), asked.number("max-stale")
    if oldest is not None and age > oldest:
        return Use.ASK
    left = terms.lifetime - age
    if left > 0 and left >= (fresh_for or 0):
        return Use.FRESH
    if terms.strict or left > 0:
        return Use.ASK
    if over is not None and -left <= over:
        return Use.STALE
    return Use.REFRESH if -left < terms.stale and oldest is None and fresh_for is None else Use.ASK


def serves_errors(terms: Terms, age: float) -> bool:
    """Whether an answer of this age may stand in for an upstream that failed."""
    return not terms.strict and age < terms.lifetime + terms.error
