"""What apply would do with each step of a phase, read from the target and the ledger. Nothing here writes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from xgw.errors import UsageFault
from xgw.ledger import OPEN, Attempt, Ledger
from xgw.plan.model import Blocked, Change, Delta, FieldChange, Phase, Step, Verdict
from xgw.resources import same
from xgw.target import Target
from xgw.words import nearest

StepState = Literal["change", "holds", "resume", "measure", "blocked", "pinned", "drift", "waits", "skipped"]


IDLE = ("holds", "waits", "skipped")
"""Where a step stands when apply leaves it alone and that is well."""


@dataclass(frozen=True)
class StepPlan:
    """What apply would do with one step, and why.

    `change` it would write the deltas · `measure` the values are there but nothing proves them, or the newest reading
    speaks against them · `holds` there and proven · `resume` an earlier run left it unfinished · `blocked` the platform
    would refuse · `pinned` a new revision would get no traffic or not all of it, or some of the traffic is on a revision
    without the values (`pinned` names the roles) · `drift` somebody changed what the ledger wrote · `waits` for a later step,
    without which it could not be measured · `skipped` by request.
    """

    step: Step
    state: StepState
    deltas: tuple[Delta, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    reason: str = ""
    pinned: tuple[str, ...] = ()


@dataclass(frozen=True)
class PhasePlan:
    """The plan of one phase on one target, with the etag of every service it looked at. `waits_for` are the steps of earlier
    phases that do not hold: a phase builds on those before it."""

    phase: Phase
    target: str
    steps: tuple[StepPlan, ...]
    etags: Mapping[str, str]
    waits_for: tuple[StepPlan, ...] = ()

    @property
    def changes(self) -> bool:
        """True when apply would write something."""
        return any(planned.state in ("change", "resume") for planned in self.steps)

    @property
    def done(self) -> bool:
        """True when apply would do nothing at all."""
        return all(planned.state in IDLE for planned in self.steps)

    @property
    def settled(self) -> bool:
        """True when the values that the plan wants are all there, or were skipped: nothing to write, and nothing in the way."""
        return all(planned.state in (*IDLE, "measure") for planned in self.steps)


def plan(
    target: Target,
    ledger: Ledger,
    phase: Phase,
    *,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    force: bool = False,
) -> PhasePlan:
    """What `apply` would do now. Reads only. Raises UsageFault for a step the phase does not have."""
    known_steps(phase, (*only, *skip))
    latest = ledger.latest(target.id)
    wanted = {step.id for step in phase.steps if (not only or step.id in only) and step.id not in skip}
    held = {delta.role for step in wanted if (a := latest.get(step)) and a.state in OPEN for delta in deltas_of(a)}
    steps = tuple(
        plan_step(target, ledger, step, force=force, held=held, asked=step.id in only)
        if step.id in wanted
        else StepPlan(step, "skipped", reason="not asked for")
        for step in phase.steps
    )
    etags = {role: target.service(role).etag for role in dict.fromkeys(c.role for s in phase.steps for c in s.changes)}
    return PhasePlan(phase, target.id, steps, etags)


def in_order(plans: Sequence[PhasePlan]) -> list[PhasePlan]:
    """The plans of the first phases, each with what it waits for."""
    found: list[PhasePlan] = []
    waiting: tuple[StepPlan, ...] = ()
    for planned in plans:
        found.append(replace(planned, waits_for=waiting))
        waiting += tuple(step for step in planned.steps if step.state not in ("holds", "waits"))
    return found


def known_steps(phase: Phase, wishes: Sequence[str]) -> None:
    """Raises UsageFault for a step the phase does not have."""
    known = [step.id for step in phase.steps]
    for wish in wishes:
        if wish not in known:
            near = nearest(wish, known)
            fix = f"did you mean {near}?" if near else f"xgw phase{phase.number} plan   lists them"
            raise UsageFault(
                f"phase {phase.number} has no step {wish!r}", cause=f"its steps are {', '.join(known)}", fix=fix
            )


def waits(target: Target, step: Step) -> str:
    """What the step waits for, in words; nothing when that is there."""
    need = step.after
    if need is None or need.field in target.service(need.role).fields:
        return ""
    return f"for step {need.step}: without {need.field} of {need.role} there is nothing to measure"


def plan_step(
    target: Target,
    ledger: Ledger,
    step: Step,
    *,
    force: bool = False,
    held: Collection[str] = (),
    asked: bool = False,
) -> StepPlan:
    """What apply would do with one step, from the target and the step's attempts. One that is `asked` for by its name waits for
    nothing.

    `held` are roles whose traffic an unfinished step of the same run holds by name: it will have let go when this step's
    turn comes, so that is no pin."""
    attempt, standing = ledger.latest(target.id).get(step.id), ledger.standing(target.id, step.id)
    if attempt and attempt.state in OPEN:
        return StepPlan(step, "resume", deltas_of(attempt), reason=f"run {attempt.run} left it {attempt.state}")
    if not (asked or standing) and (why := waits(target, step)):
        return StepPlan(step, "waits", reason=why)
    looked = [change.inspect(target) for change in step.changes]
    blocked = tuple(
        replace(found, fix=found.fix.replace("{step}", step.id)) for found in looked if isinstance(found, Blocked)
    )
    deltas = tuple(found for found in looked if isinstance(found, Delta) and not found.empty)
    if blocked:
        return StepPlan(step, "blocked", deltas, blocked, reason="; ".join(found.reason for found in blocked))
    if not deltas:
        found = {change.role: _away(target, change) for change in step.changes if change.role not in held}
        if away := {role: told for role, told in found.items() if told}:
            return StepPlan(step, "pinned", reason="; ".join(away.values()), pinned=tuple(away))
        if attempt is None or attempt.state != "validated":
            return StepPlan(step, "measure")
        doubt = _doubt(target, ledger, step)
        return StepPlan(step, "measure", reason=doubt) if doubt else StepPlan(step, "holds")
    if not force and (moved := _drifted(standing_deltas(standing), deltas)):
        return StepPlan(step, "drift", deltas, reason=f"changed since run {standing[-1].run}: {', '.join(moved)}")
    pinned = tuple(
        delta.role for delta in deltas if delta.role not in held and not target.service(delta.role).undivided
    )
    if pinned:
        reason = f"traffic of {', '.join(pinned)} is pinned, in whole or in part"
        return StepPlan(step, "pinned", deltas, reason=reason, pinned=pinned)
    return StepPlan(step, "change", deltas)


def _away(target: Target, change: Change) -> str:
    """Which traffic does not get the wished values although the template has them, or nothing: it is held by name on
    revisions without them."""
    service = target.service(change.role)
    if service.undivided:
        return ""
    fields = {revision.name: revision.fields for revision in target.revisions(change.role)}
    without = [
        f"{share.percent}% on {share.revision}"
        for share in service.holding
        if not all(
            same(name, fields.get(share.revision or "", {}).get(name), value) for name, value in change.wanted().items()
        )
    ]
    return (
        f"traffic of {change.role} is pinned to a revision without these values: {', '.join(without)}"
        if without
        else ""
    )


def _doubt(target: Target, ledger: Ledger, step: Step) -> str:
    """What the newest reading of a validated step says against it, or nothing: a later measurement may have failed."""
    probes = {probe.name for probe in step.probes}
    for record in ledger.readings(target.id, step.id):
        body = record.body
        if body["probe"] in probes and body["verdict"] != Verdict.PASSED:
            return (
                f"run {record.run} {body['verdict']}: {body['probe']}: {body['measured']}, expected {body['expected']}"
            )
    return ""


def _drifted(recorded: Iterable[Delta], deltas: Iterable[Delta]) -> list[str]:
    """Fields that are to be written and are not as the ledger wrote them last: somebody changed them in between. A field
    that is as written is none, whatever the plan wishes now."""
    wrote = {(delta.role, change.field): change.after for delta in recorded for change in delta.fields}
    return [
        f"{delta.role} {change.field} is {change.before!r}, was {wrote[delta.role, change.field]!r}"
        for delta in deltas
        for change in delta.fields
        if (delta.role, change.field) in wrote
        and not same(change.field, change.before, wrote[delta.role, change.field])
    ]


def standing_deltas(attempts: Sequence[Attempt]) -> tuple[Delta, ...]:
    """What all standing attempts at one step wrote together, by role: each field from before the first to after the last.
    Putting these back puts the step back, however many attempts it took."""
    merged: dict[str, Delta] = {}
    for delta in (delta for attempt in sorted(attempts, key=lambda a: a.id) for delta in deltas_of(attempt)):
        first = merged.get(delta.role)
        if first is None:
            merged[delta.role] = delta
            continue
        fields = {change.field: change for change in first.fields}
        for change in delta.fields:
            known = fields.get(change.field)
            between = (*known.also, known.after, change.before) if known else ()
            fields[change.field] = FieldChange(
                change.field, known.before if known else change.before, change.after, between
            )
        merged[delta.role] = replace(delta, fields=tuple(fields.values()), traffic=first.traffic)
    return tuple(merged.values())


def deltas_of(attempt: Attempt) -> tuple[Delta, ...]:
    """What the attempt wrote and has not put back."""
    return tuple(Delta.from_json(data) for data in attempt.deltas)
