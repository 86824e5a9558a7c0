"""FR-7: equal requests are answered from the cache, different ones never from each other's answer (plan 3.3).

The pairs are those that the plan document's own key cannot tell apart: it is made of service, method, endpoint, sorted
query, body and Content-Type. The second request of such a pair must not be a hit.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xgw.plan.model import Probe, Reading, Subject, Verdict
from xgw.probes.http import client

if TYPE_CHECKING:
    import httpx

TENANTS = ("xgw-probe-a", "xgw-probe-b")


@dataclass(frozen=True)
class Asked:
    """One request of a pair, as it differs from the first."""

    what: str
    query: str = "limit=50&status=active"
    language: str = "fr"
    accept: str = "application/json"
    tenant: int = 0


FIRST = Asked("the first")
REPEATS = 3
"""Equal requests of which one must be a hit."""
MIXED_UP = (
    Asked("another tenant", tenant=1),
    Asked("another language", language="de"),
    Asked("another form", accept="text/csv, application/json"),
    Asked("another order of the query", query="status=active&limit=50"),
)


def equal_requests_hit_and_others_do_not(role: str) -> Probe:
    """Each request of every pair gets its own answer; the first, asked again, is a hit."""

    def measure(subject: Subject) -> Reading:
        expected = f"equal requests hit; {len(MIXED_UP)} pairs that the document's key mixes up stay apart"
        shown = [subject.target.token(tenant=tenant, user="xgw-probe-cache") for tenant in TENANTS]
        if not all(shown):
            return Reading(expected, "nobody can make tokens of two tenants for this target", Verdict.INCONCLUSIVE)
        path = subject.wanted[role]["env.CACHE_ROUTES"].split()[0]
        run = secrets.token_hex(4)  # a language of its own for each run, so that what an earlier one left plays no part
        with client(subject.urls[role]) as http:

            def ask(asked: Asked) -> httpx.Response:
                fields: Mapping[str, str] = {
                    "Authorization": f"Bearer {shown[asked.tenant]}",
                    "Accept": asked.accept,
                    "Accept-Language": f"{asked.language}-x-{run}",
                }
                return http.get(f"{path}?{asked.query}", headers=fields)

            return _judge(expected, ask)

    return Probe("cache keys", measure)


def _judge(expected: str, ask: Callable[[Asked], httpx.Response]) -> Reading:
    first = ask(FIRST)
    if first.status_code != 200:
        return Reading(expected, f"the route answers {first.status_code}", Verdict.INCONCLUSIVE)
    for _ in range(REPEATS):  # an instance that has just found its Redis asks once more
        again = ask(FIRST)
        if _state(again) == "hit":
            break
    mixed_up = []
    for other in MIXED_UP:
        answer = ask(other)
        if answer.status_code == 200 and _state(answer) in ("hit", "stale"):
            mixed_up.append(other.what)
    if mixed_up:
        measured = f"got the first one's answer: {', '.join(mixed_up)}"
        return Reading(expected, measured, Verdict.FAILED, {"mixed_up": len(mixed_up)})
    if _state(again) != "hit" or again.content != first.content:
        measured = f"an equal request is not a hit: X-Cache {_state(again) or 'is not there'}"
        return Reading(expected, measured, Verdict.FAILED, {"hits": 0})
    told = again.headers.get("cache-control", "")
    if not ("private" in told or "no-store" in told):
        return Reading(expected, f"the answer may be kept by others: Cache-Control {told!r}", Verdict.FAILED)
    measured = f"equal requests hit; {len(MIXED_UP)} of {len(MIXED_UP)} pairs stay apart"
    return Reading(expected, measured, Verdict.PASSED, {"hits": 1, "pairs": len(MIXED_UP)})


def _state(answer: httpx.Response) -> str:
    return str(answer.headers.get("x-cache", ""))
