"""What is cached for how long, route by route: data, read from one setting.

    CACHE_ROUTES=/api/v2/crm/contacts ttl=30 scope=tenant stale=30 error=300, /api/v2/slack ttl=5

Without a row for its path an answer is stored only when the upstream's own Cache-Control allows a shared cache to do so,
and serves its own user alone. A row says how long an answer lives that says nothing about itself; what an answer does
say always wins, and `no-store`, `private` or `Vary: *` are never overruled.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Scope = Literal["user", "tenant"]

_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+:@-]+)+")
_SECONDS = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class Policy:
    """One row. It holds for its path and everything below, by whole segments; the longest path wins.

    `stale`: seconds past its time in which an answer is still given out while a new one is fetched; `error`: in which it
    is given out because the upstream failed.
    """

    path: str
    ttl: float
    scope: Scope = "user"
    stale: float = 0.0
    error: float = 0.0

    def __str__(self) -> str:
        more = f" stale={self.stale:g}" if self.stale else ""
        more += f" error={self.error:g}" if self.error else ""
        return f"{self.path} ttl={self.ttl:g} scope={self.scope}{more}"


class Policies(tuple[Policy, ...]):
    """All rows, the longest path first."""

    __slots__ = ()

    def __str__(self) -> str:
        return ", ".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> Policies:
        """The rows in a text; ValueError says what would do."""
        rows = [_row(part.split()) for part in text.split(",")]
        if len({row.path for row in rows}) != len(rows):
            raise ValueError("names a path twice")
        return cls(sorted(rows, key=lambda row: row.path.count("/"), reverse=True))


def _row(words: Sequence[str]) -> Policy:
    wanted = "must be rows like /api/v2/crm/contacts ttl=30 scope=user stale=30 error=300, with commas between"
    if not words or not _PATH.fullmatch(words[0]) or set(words[0].split("/")) & {".", ".."}:
        raise ValueError(wanted)
    values = dict(word.split("=", 1) for word in words[1:] if "=" in word)
    if len(values) != len(words) - 1 or "ttl" not in values or values.keys() - {"ttl", "scope", "stale", "error"}:
        raise ValueError(wanted)
    scope = values.pop("scope", "user")
    if scope not in ("user", "tenant") or not all(_SECONDS.fullmatch(value) for value in values.values()):
        raise ValueError(wanted)
    numbers = {name: float(value) for name, value in values.items()}
    return Policy(words[0], scope="tenant" if scope == "tenant" else "user", **numbers)


def policy_for(policies: Policies, path: str) -> Policy | None:
    """The row of a path."""
    for policy in policies:
        if path.startswith(policy.path) and path[len(policy.path) : len(policy.path) + 1] in ("", "/"):
            return policy
    return None


@dataclass(frozen=True, slots=True)
class Way:
    """A route to an upstream: what lies below `prefix` goes there without `base`. `seconds`: its own deadline, if any."""

    prefix: str
    base: str
    upstream: str
    seconds: float = 0.0


def way_of(ways: Sequence[Way], path: str) -> Way | None:
    """The route of a path; None when it does not leave the gateway."""
    for way in ways:
        if path.startswith(way.prefix) and path[len(way.prefix) : len(way.prefix) + 1] in ("", "/"):
            return way
    return None


def collection_of(path: str, base: str) -> str:
    """The collection a write to a path makes out of date: the route's base and one segment, /api/v2/crm/contacts. "" when
    the path stands above collections: all of them."""
    segment = path[len(base) :].split("/", 2)[1:2]
    return f"{base}/{segment[0]}" if segment and segment[0] else ""


def collection_for(policy: Policy | None, path: str, base: str) -> str:
    """The collection an answer belongs to: its path's, or the wider one that the row of its path names."""
    own = collection_of(path, base) or base
    return policy.path if policy is not None and len(policy.path) < len(own) else own
