"""What one request looks for in the cache, what comes of a fetch, and what the settings say of both."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway_runtime.asgi import Response
from gateway_runtime.cache.directives import Directives
from gateway_runtime.cache.entry import Entry
from gateway_runtime.cache.flight import PASS_SECONDS
from gateway_runtime.cache.policy import Policies, Policy, Way
from gateway_runtime.cache.store import Collection
from gateway_runtime.upstream.deadlines import Deadlines


@dataclass(slots=True)
class Search:
    """What one request is looking for, and what has been found so far."""

    primary: bytes
    collection: Collection
    policy: Policy | None
    way: Way
    asked: Directives
    key: bytes = b""
    names: tuple[bytes, ...] = ()
    entry: Entry | None = None
    generations: bytes = b""


@dataclass(slots=True)
class Fetched:
    """What came of a fetch. `response` is None when somebody else's is in store by now."""

    response: Response | None
    outcome: object = None
    settled: bool = False
    passing: float = PASS_SECONDS


@dataclass(slots=True)
class Limits:
    """What the settings say."""

    space: bytes
    longest: float
    ways: tuple[Way, ...]
    policies: Policies = field(default_factory=Policies)
    deadlines: Deadlines = field(default_factory=Deadlines)
