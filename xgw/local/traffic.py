"""Traffic: what may be wished, what it comes to, and how what is in force is told.

Percents are whole and sum to 100; a tag may sit on a target of 0 %; LATEST means the latest *ready* revision; no
targets at all mean 100 % LATEST (google.cloud.run.v2 traffic_target.proto).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from xgw.local.conditions import Readiness
from xgw.local.instances import Route
from xgw.local.messages import Message, TrafficTarget, TrafficTargetStatus
from xgw.local.naming import check_tag
from xgw.local.refusal import Refusal, invalid

LATEST, REVISION = 1, 2  # google.cloud.run.v2.TrafficTargetAllocationType

Look = Callable[[str], Readiness | None]
"""Short revision name -> where it stands, or None when this service has no such revision."""


def populate(service: Message) -> None:
    """No targets mean all traffic to the latest ready revision."""
    if not service.traffic:
        service.traffic.append(TrafficTarget(type_=LATEST, percent=100))


def check(targets: Sequence[Message], look: Look, upcoming: str) -> None:
    """Refuse illegal targets. `upcoming` is the revision this update makes: it may be named."""
    tags: set[str] = set()
    for target in targets:
        if not 0 <= target.percent <= 100:
            invalid(f"traffic.percent: {target.percent} is not between 0 and 100.")
        if target.tag:
            check_tag(target.tag)
            if target.tag in tags:
                invalid(f"traffic.tag: {target.tag!r} is given twice.")
            tags.add(target.tag)
        _check_target(target, look, upcoming)
    total = sum(target.percent for target in targets)
    if total != 100:
        invalid(f"traffic: percents must sum to 100, got {total}.")


def _check_target(target: Message, look: Look, upcoming: str) -> None:
    if target.type_ == LATEST:
        if target.revision:
            invalid(f"traffic.revision: must be empty for a target of type LATEST, got {target.revision!r}.")
        return
    if target.type_ != REVISION:
        invalid(
            "traffic.type: must be TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST or TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION."
        )
    if not target.revision:
        invalid("traffic.revision: required for a target of type REVISION.")
    if "/" in target.revision:
        invalid(f"traffic.revision: {target.revision!r} must be the short name of a revision.")
    if target.revision == upcoming:
        return
    state = look(target.revision)
    if state is None:
        raise Refusal(  # seen in public reports
            "FAILED_PRECONDITION",
            f"Revision '{target.revision}' does not exist or is deleted. Update all traffic to route to currently "
            "available revisions.",
        )
    if state == "failed" and target.percent:
        raise Refusal(
            "FAILED_PRECONDITION",
            f"Revision '{target.revision}' is not ready and cannot serve traffic.",
        )


def resolve(targets: Iterable[Message], latest_ready: str) -> list[Route]:
    """The targets with LATEST replaced by the latest ready revision; those of LATEST are dropped when there is none."""
    routes = [
        Route(latest_ready if target.type_ == LATEST else target.revision, target.percent, target.tag)
        for target in targets
    ]
    return [route for route in routes if route.revision]


def statuses(targets: Iterable[Message], url: Callable[[str], str]) -> list[Message]:
    """What is in force, as Cloud Run tells it: the wished targets (LATEST stays LATEST: latest_ready_revision says
    which one it is) and the URL where each tag answers; `url` gives it by tag."""
    return [
        TrafficTargetStatus(
            type_=target.type_,
            revision=target.revision,
            percent=target.percent,
            tag=target.tag,
            uri=url(target.tag) if target.tag else "",
        )
        for target in targets
    ]
