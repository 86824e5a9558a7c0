"""The states of one step, and the one function that carries it on from each. See `xgw.runner` for the whole story.

Every stage records before it acts where the ledger's MOVES ask for it, and can be repeated from its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, Protocol

from xgw import faults
from xgw.at_once import at_once
from xgw.errors import Conflict, NotReady, Refused
from xgw.ledger import Ledger
from xgw.measuring import GRAVITY, measure
from xgw.plan.model import Change, Delta, Evidence, Outcome, Step, Verdict
from xgw.target import Target

CANARY = (10, 50, 100)
"""Shares of the traffic, in percent, that a high-risk step gets one after the other."""


REFUSED = "the platform refused it"
"""How the reason of a step begins that the platform would not make: nothing was measured, so no limit was missed."""


FORCED = "forced rollback"
"""Why a step is put back over what somebody changed since."""


class View(Protocol):
    """Who watches a run. Every method returns at once."""

    def step_started(self, step: str, title: str) -> None: ...
    def step_note(self, step: str, text: str) -> None: ...
    def evidence(self, step: str, text: str, ok: bool | None) -> None: ...
    def step_finished(self, step: str, outcome: str, text: str, seconds: float) -> None: ...


@dataclass
class Job:
    """One step of one run, while it is being carried out."""

    target: Target
    ledger: Ledger
    view: View
    run: int
    step: Step
    attempt: int
    state: str
    deltas: tuple[Delta, ...]
    seen: list[Evidence] = field(default_factory=list)
    why: str = ""
    left: dict[str, str] = field(default_factory=dict)
    """By role, what putting the step back leaves to a person: traffic that had to stay by name."""

    def move(self, kind: str, **body: Any) -> None:
        """Record a move and stand in it."""
        place = {"target": self.target.id, "run": self.run, "attempt": self.attempt, "step": self.step.id}
        record = self.ledger.append(kind, body=body, **place)  # type: ignore[arg-type]
        self.attempt, self.state = record.attempt, kind

    def pairs(self) -> list[tuple[Change, Delta]]:
        """The changes that have something to write, each with its delta."""
        by_role = {delta.role: delta for delta in self.deltas}
        return [(change, by_role[change.role]) for change in self.step.changes if change.role in by_role]


def _make(job: Job) -> None:
    """intended -> applied: every change made at once, without traffic. A refusal undoes the step; so does a service that
    moved since the intent, which the next run plans again from what is there."""
    for _, delta in job.pairs():
        job.view.step_note(job.step.id, f"{delta.role}: {delta.revision} without traffic")
    try:
        _each(job.pairs(), lambda change, delta: change.apply(job.target, delta))
    except Refused as error:
        leave_unmade(job)
        _reject(job, f"{error.message if isinstance(error, NotReady) else REFUSED}: {error.cause}")
        return
    except Conflict as error:
        leave_unmade(job)
        _reject(job, error.message)
        put_back(job)
        raise
    job.move("applied")
    faults.reach("applied-recorded")


def _prove_candidate(job: Job) -> None:
    """applied -> promoting: the probes against the tag URLs. With nothing written there is no candidate to look at."""
    fresh = [delta for _, delta in job.pairs()]
    verdict = probe(job, "candidate", fresh) if fresh else Verdict.PASSED
    if verdict is Verdict.PASSED:
        job.move("promoting")
        faults.reach("promoting-recorded")
    else:
        _end_without_proof(job, verdict)


def _promote(job: Job) -> None:
    """promoting -> promoted: the traffic moves, in steps with a gate between them when the step is marked high risk.

    A gate measures the new revision by its tag, while users are on it: what answers at the service's own address is the old
    one still, most of the time."""
    fresh = [delta for _, delta in job.pairs()]
    for percent in CANARY if job.step.high_risk else (100,):
        _each(job.pairs(), lambda change, delta, share=percent: change.promote(job.target, delta, share))
        job.view.step_note(job.step.id, f"traffic {percent}%")
        if percent < 100 and (verdict := probe(job, "candidate", fresh, share=percent)) is not Verdict.PASSED:
            _reject(job, f"it did not hold at {percent}% of the traffic ({verdict})")
            return
    job.move("promoted", serving=_serving(job))
    faults.reach("promoted-recorded")


def _prove_live(job: Job) -> None:
    """promoted -> validated: the probes once more, where the users are."""
    verdict = probe(job, "live")
    if verdict is Verdict.PASSED:
        job.move("validated")
        faults.reach("outcome-recorded")
    else:
        _end_without_proof(job, verdict)


def leave_unmade(job: Job) -> None:
    """Forget what was intended and never came to be: there is nothing of it to put back, and what stands there now, traffic
    and all, is somebody else's."""
    job.deltas = tuple(delta for change, delta in job.pairs() if change.made(job.target, delta))


def put_back(job: Job) -> None:
    """reverting -> reverted: newest written first."""
    force = job.why == FORCED
    told = {change.role: change.revert(job.target, delta, force=force) for change, delta in reversed(job.pairs())}
    job.left = {role: text for role, text in told.items() if text}
    for text in job.left.values():
        job.view.step_note(job.step.id, text)
    job.move("reverted", serving=_serving(job), **({"left": job.left} if job.left else {}))
    faults.reach("reverted-recorded")


def _serving(job: Job) -> dict[str, str]:
    """Role -> the revision that answers most requests now: what a later rollback means by "served before"."""
    return {change.role: job.target.service(change.role).main for change, _ in job.pairs()}


STAGES: Mapping[str, Callable[[Job], None]] = {
    "intended": _make,
    "applied": _prove_candidate,
    "promoting": _promote,
    "promoted": _prove_live,
    "reverting": put_back,
}
"""State of an attempt -> what carries it on. A state that is not here is where a run leaves it."""

OUTCOMES = {"validated": Outcome.VALIDATED, "reverted": Outcome.REJECTED, "unproven": Outcome.UNPROVEN}


def _reject(job: Job, why: str) -> None:
    job.why = why
    job.move("reverting", why=why)
    faults.reach("reverting-recorded")


def _end_without_proof(job: Job, verdict: Verdict) -> None:
    """A missed limit undoes the step; anything else leaves it as it is, for a run that can measure."""
    bad = next((seen for seen in reversed(job.seen) if seen.verdict is verdict), None)
    why = f"{bad.probe}: {bad.measured}, expected {bad.expected}" if bad else str(verdict)
    if verdict is Verdict.FAILED:
        _reject(job, why)
        return
    job.why = why
    job.move("unproven", why=why, at=job.state)
    faults.reach("outcome-recorded")


def _each(pairs: Sequence[tuple[Change, Delta]], act: Callable[..., None]) -> None:
    """Act on all services at once; the first fault is raised when all have ended."""
    for done in list(at_once([partial(act, change, delta) for change, delta in pairs])):
        done.result()


def probe(job: Job, where: Literal["candidate", "live"], fresh: Sequence[Delta] = (), share: int = 0) -> Verdict:
    """Run the step's probes, record each reading, and return the worst verdict: failed, then errored, then inconclusive.

    `share` is the percentage of the traffic that a candidate has by now: its readings are recorded as taken "at N%"."""
    worst = Verdict.PASSED
    for evidence in measure(job.target, job.step, where, fresh):
        if share:
            evidence = replace(evidence, where=f"at {share}%")
        place = {"target": job.target.id, "run": job.run, "attempt": job.attempt, "step": job.step.id}
        job.ledger.append("evidence", body=evidence.to_json(), **place)  # type: ignore[arg-type]
        faults.reach("evidence-recorded")
        job.seen.append(evidence)
        job.view.evidence(job.step.id, _sentence(evidence), _SAID.get(evidence.verdict))
        worst = max(worst, evidence.verdict, key=GRAVITY.index)
    return worst


_SAID = {Verdict.PASSED: True, Verdict.FAILED: False}


def _sentence(evidence: Evidence) -> str:
    where = "no traffic yet" if evidence.where == "candidate" else evidence.where
    return f"{evidence.probe}, {where}: {evidence.measured}  (expected {evidence.expected})"
