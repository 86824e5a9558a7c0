"""Running probes: where a step's services answer, and their readings as evidence. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Literal

from xgw.at_once import at_once
from xgw.errors import Conflict, XgwError
from xgw.plan.model import Delta, Evidence, Probe, Reading, Step, Subject, Verdict, now
from xgw.resources import Service
from xgw.target import Target

GRAVITY = (Verdict.PASSED, Verdict.INCONCLUSIVE, Verdict.ERRORED, Verdict.FAILED)
"""From harmless to grave: the verdict of several readings is the gravest one."""


def measure(
    target: Target, step: Step, where: Literal["candidate", "live"], fresh: Sequence[Delta] = ()
) -> Iterable[Evidence]:
    """Read every probe of `step`, all at once, in the step's order. A probe that cannot measure is errored, never passed."""
    subject = look(target, step, where, fresh)
    readings = at_once([partial(_read, probe, subject) for probe in step.probes])
    for probe, done in zip(step.probes, readings, strict=True):
        reading = done.result()
        yield Evidence(probe.name, reading.expected, reading.measured, reading.verdict, where, now(), reading.numbers)


def look(target: Target, step: Step, where: Literal["candidate", "live"], fresh: Sequence[Delta]) -> Subject:
    """Where the step's services answer, and which revision it is that answers there.

    A fresh revision without traffic answers at its tag's URL, as the platform reports it; raises Conflict when somebody took
    the tag away, because what answers elsewhere is not it. Live, the service answers with whatever gets most of its traffic:
    that need not be its latest revision."""
    made = {delta.role: delta for delta in fresh}
    urls, revisions = {}, {}
    for role in dict.fromkeys(change.role for change in step.changes):
        service = target.service(role)
        urls[role], revisions[role] = service.uri, service.main or service.latest_ready
        if delta := made.get(role):
            revisions[role] = delta.revision
            if where == "candidate":
                urls[role] = _tag_url(service, delta, step)
    return Subject(target, where, urls, revisions, {change.role: change.wanted() for change in step.changes})


def _tag_url(service: Service, delta: Delta, step: Step) -> str:
    share = service.tags.get(delta.tag)
    if share is None or share.revision != delta.revision:
        raise Conflict(
            f"step {step.id}: {delta.revision} cannot be measured without traffic",
            cause=f"its tag {delta.tag} is not on it any more: somebody changed the traffic of {service.name}",
            fix=f"put the step back, then apply again: xgw phase{step.id.partition('.')[0]} rollback --only {step.id}",
        )
    return share.uri


def _read(probe: Probe, subject: Subject) -> Reading:
    try:
        return probe.measure(subject)
    except XgwError as error:
        cause = f" ({error.cause})" if error.cause else ""
        return Reading("a measurement", f"{error.message}{cause}", Verdict.ERRORED)
