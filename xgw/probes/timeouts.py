"""SR-2: every request has a deadline that depends on its route, and a failing upstream is left alone (plan 1.5).

Waiting 30 s for a deadline would make the probe as slow as what it forbids, and on live traffic it would cost an upstream
thirty seconds of a place. So it is measured in three ways that need no waiting, and the weakest is never a pass alone:

1. *Stated*: /health/deep says the deadlines in force and each breaker's state. A statement alone can fail, never pass.
2. *Handed on*: the gateway tells an upstream what is left of the deadline. An upstream that repeats what it was told
   shows which deadline really is in force for that very request: 30 s for an ordinary path, 120 s for one with a segment
   `ai`, and 30 s again when `/ai/` stands only in the query.
3. *Enforced*: a caller may ask for less than the route allows. An upstream that takes 1.5 s, asked for with 0.3 s, must
   end in 504 after 0.3 s: the same timer that ends a request after 30 s, run through in a third of a second.

2 and 3 need an upstream that answers late and repeats: the bundled services do with DIAGNOSTICS=on, which the embedded
target sets. Where there is none, any upstream will do for 3 if it may be asked without a token, since no answer arrives
within 1 ms. Where every route wants a token, nothing was measured and the verdict is inconclusive, with that reason.

The breaker is read, not tripped: tripping it takes twenty failures, and then nobody reaches that upstream for 30 s. What
it does when tripped is shown by the gateway's own tests.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from xgw.plan.model import Probe, Reading, Subject, Verdict
from xgw.probes.http import client, stated

if TYPE_CHECKING:
    import httpx

BUDGET = "X-Deadline-Ms"
LATE = "/diagnostics/slack"
ANY_UPSTREAM = ("/api/v2/slack/channels", "/api/v2/gmail/messages", "/api/v2/crm/contacts")
SHORT_MS, LATE_MS = 300, 1500
SLACK_SECONDS = 0.9
"""By how much an enforced deadline may be late: network and scheduling, well under the time the upstream would take."""


def requests_end_in_time(role: str) -> Probe:
    """The planned deadlines are stated, handed on and enforced, and every upstream has its breaker on."""

    def measure(subject: Subject) -> Reading:
        wanted = subject.wanted[role]
        usual, long = float(wanted["env.UPSTREAM_TIMEOUT"]), float(wanted["env.UPSTREAM_TIMEOUT_LONG"])
        expected = f"504 after {usual:g} s, {long:g} s for ai and generate; breakers on"
        with client(subject.urls[role]) as http:
            stated, faults = _stated(http, usual, long)
            late = http.get(f"{LATE}/delay", params={"ms": "0"})
            if late.status_code == 200 and "deadlineMs" in late.text:
                faults += _handed_on(http, usual, long)
                took, fault = _enforced(http, f"{LATE}/delay?ms={LATE_MS}", SHORT_MS)
            else:
                took, fault = _enforced_somewhere(http)
        faults += [fault] if fault else []
        if faults:
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            return Reading(expected, faults[0] + more, Verdict.FAILED, {"faults": len(faults)})
        if took is None:
            return Reading(expected, "stated, but no route could be asked without a token", Verdict.INCONCLUSIVE)
        if not stated:
            measured = f"a shorter deadline ended a request after {took:.2f} s, but /health/deep states no deadlines"
            return Reading(expected, measured, Verdict.INCONCLUSIVE)
        measured = f"stated; a shorter deadline ended a request after {took:.2f} s; breakers on"
        return Reading(expected, measured, Verdict.PASSED, {"ended": round(took, 3), "usual": usual, "long": long})

    return Probe("deadlines and breaker", measure)


def _stated(http: httpx.Client, usual: float, long: float) -> tuple[bool, list[str]]:
    """Whether /health/deep says anything, and what of it is not as wanted."""
    said = stated(http)
    deadlines = said.get("deadlines")
    if deadlines is None:
        return False, []
    found = deadlines.get("usual"), deadlines.get("long")
    faults = [] if found == (usual, long) else [f"states deadlines of {_seconds(found[0])} and {_seconds(found[1])}"]
    off = [
        name
        for name, state in said.get("dependencies", {}).items()
        if state.get("status") != "not configured" and state.get("breaker", "off") == "off"
    ]
    return True, faults + ([f"no breaker for {', '.join(off)}"] if off else [])


def _handed_on(http: httpx.Client, usual: float, long: float) -> list[str]:
    """Which deadline the upstream was told, for three paths that must not be confused."""
    rows = (("/delay?ms=0", usual), ("/ai/delay?ms=0", long), ("/delay?ms=0&x=/ai/generate", usual))
    faults = []
    for path, seconds in rows:
        told = http.get(LATE + path).json().get("deadlineMs")
        if told is None:
            faults.append(f"{path} went on without a deadline")
        elif not (seconds - 5) * 1000 < told <= seconds * 1000:
            faults.append(f"{path} went on with {told / 1000:g} s instead of {seconds:g} s")
    return faults


def _enforced(http: httpx.Client, path: str, budget_ms: int) -> tuple[float | None, str]:
    """After how many seconds a request with this budget ended, or what was wrong."""
    began = time.monotonic()
    answer = http.get(path, headers={BUDGET: str(budget_ms)})
    took = time.monotonic() - began
    if answer.status_code == 504 and took <= budget_ms / 1000 + SLACK_SECONDS:
        return took, ""
    return None, f"asked for {budget_ms / 1000:g} s at most, got {answer.status_code} after {took:.2f} s"


def _enforced_somewhere(http: httpx.Client) -> tuple[float | None, str]:
    """The same with a budget no upstream can keep, on the first route that answers a stranger when he is patient."""
    for path in ANY_UPSTREAM:
        if http.get(path).status_code >= 400:
            continue
        began = time.monotonic()
        answer = http.get(path, headers={BUDGET: "1"})
        took = time.monotonic() - began
        if answer.status_code == 504:
            return took, ""
        if answer.status_code == 200 and took > 0.05:
            return None, f"asked for 1 ms at most, got 200 after {took:.2f} s"
    return None, ""


def _seconds(found: object) -> str:
    return "none" if found is None else f"{found} s"
