"""FR-5, DEP-2: the gateway reaches Redis (plan 2.1), and every instance of it has one client for everything (plan 1.3), as
Redis itself counts them.

Each client names its connections REVISION/PURPOSE/INSTANCE (CLIENT SETNAME). Two purposes of one instance are two clients:
two pools, two reconnects, two views of whether Redis is there.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from xgw.errors import Unreachable
from xgw.plan.model import Probe, Reading, Subject, Verdict
from xgw.probes.http import client, stated

if TYPE_CHECKING:
    import httpx

    from xgw.cloud.redis import RedisClient

WAIT_S = 5.0
"""How long an instance may take to connect after it has started to answer."""
SETTLE_S = 0.5
"""A second client may connect a moment after the first."""
REACH_S = 10.0
"""How long a network of its own may take to be there for a new instance, once it answers."""
LIMITED = "/openapi.json"
"""A public answer that is counted against a limit."""


def redis_is_reached(role: str) -> Probe:
    """The gateway limits by the count that all its instances share, and says that its Redis answers."""

    def measure(subject: Subject) -> Reading:
        expected = "Redis answers the gateway; limits are shared"
        with client(subject.urls[role]) as http:
            end = time.monotonic() + REACH_S
            while (status := _status(http)) == "degraded" and time.monotonic() < end:
                time.sleep(0.2)
            answer = http.get(LIMITED)
        mode = answer.headers.get("x-ratelimit-mode", "shared" if "ratelimit" in answer.headers else "off")
        measured = f"Redis {status}, limits {mode}"
        if "degraded" in (status, mode):
            return Reading(expected, measured, Verdict.FAILED, {"reached": 0})
        if (status, mode) != ("ok", "shared"):
            return Reading(expected, measured, Verdict.INCONCLUSIVE)
        return Reading(expected, measured, Verdict.PASSED, {"reached": 1})

    return Probe("Redis", measure)


def _status(http: httpx.Client) -> str:
    """What the gateway says of its Redis: ok, degraded, not configured; or that it says nothing."""
    return str(stated(http).get("redis", {}).get("status", "is not told of"))


def one_redis_client(role: str) -> Probe:
    """Every instance of the revision that is connected to Redis is connected as one client."""

    def measure(subject: Subject) -> Reading:
        expected = "1 client an instance"
        revision = subject.revisions[role]
        try:
            with client(subject.urls[role]) as http:
                http.get("/health")  # so that there is an instance
            instances = _connected(subject, revision)
        except Unreachable as error:
            return Reading(
                expected, f"{error.message} ({error.cause})" if error.cause else error.message, Verdict.INCONCLUSIVE
            )
        if not instances:
            return Reading(expected, f"no instance of {revision} is connected to Redis", Verdict.INCONCLUSIVE)
        most = max(len(purposes) for purposes in instances.values())
        connections = sum(sum(purposes.values()) for purposes in instances.values())
        named = ", ".join(sorted({purpose for purposes in instances.values() for purpose in purposes}))
        measured = f"{most} ({named}) on {len(instances)} instance{'s' if len(instances) > 1 else ''}"
        numbers = {"clients": most, "instances": len(instances), "connections": connections}
        return Reading(expected, measured, Verdict.PASSED if most == 1 else Verdict.FAILED, numbers)

    return Probe("one Redis client", measure)


def _connected(subject: Subject, revision: str) -> dict[str, Counter[str]]:
    """Instance -> purposes of its connections, once somebody is connected and had time to connect again."""
    end = time.monotonic() + WAIT_S
    while not (found := by_instance(subject.target.redis.clients(), revision)) and time.monotonic() < end:
        time.sleep(0.1)
    if found:
        time.sleep(SETTLE_S)
        found = by_instance(subject.target.redis.clients(), revision)
    return found


def by_instance(clients: Iterable[RedisClient], revision: str) -> dict[str, Counter[str]]:
    """Instance -> purpose -> connections, of the clients that say they belong to the revision."""
    found: dict[str, Counter[str]] = {}
    for each in clients:
        owner, _, rest = each.name.partition("/")
        purpose, _, instance = rest.partition("/")
        if owner == revision and purpose and instance:
            found.setdefault(instance, Counter())[purpose] += 1
    return found
