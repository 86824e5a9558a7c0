"""Running probes: where a step's services answer, and their readings as evidence. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from xgw.errors import XgwError
from xgw.plan.model import Delta, Evidence, Probe, Reading, Step, Subject, Verdict, now
from xgw.target import Target

GRAVITY = (Verdict.PASSED, Verdict.INCONCLUSIVE, Verdict.ERRORED, Verdict.FAILED)
"""From harmless to grave: the verdict of several readings is the gravest one."""


def measure(
    target: Target, step: Step, where: Literal["candidate", "live"], fresh: Sequence[Delta] = ()
) -> Iterable[Evidence]:
    """Read every probe of `step`, all at once, in the step's order. A probe that cannot measure is errored, never passed."""
    subject = look(target, step, where, fresh)
    with ThreadPoolExecutor(max_workers=max(len(step.probes), 1)) as pool:
        readings = pool.map(lambda probe: _read(probe, subject), step.probes)
        for probe, reading in zip(step.probes, readings, strict=True):
            yield Evidence(
                probe.name, reading.expected, reading.measured, reading.verdict, where, now(), reading.numbers
            )


def look(target: Target, step: Step, where: Literal["candidate", "live"], fresh: Sequence[Delta]) -> Subject:
    """Where the step's services answer: the tag URL of a fresh revision (as the platform reports it), else the service's own."""
    tags = {delta.role: delta for delta in fresh}
    urls, revisions = {}, {}
    for role in dict.fromkeys(change.role for change in step.changes):
        service = target.service(role)
        urls[role], revisions[role] = service.uri, service.latest_ready
        if where == "candidate" and role in tags and (share := service.tags.get(tags[role].tag)):
            urls[role], revisions[role] = share.uri, tags[role].revision
    return Subject(target, where, urls, revisions, {change.role: change.wanted() for change in step.changes})


def _read(probe: Probe, subject: Subject) -> Reading:
    try:
        return probe.measure(subject)
    except XgwError as error:
        cause = f" ({error.cause})" if error.cause else ""
        return Reading("a measurement", f"{error.message}{cause}", Verdict.ERRORED)
