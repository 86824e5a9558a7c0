"""Putting a step back, however many attempts it took, and finishing that when an earlier run died of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from xgw import faults
from xgw.errors import Conflict
from xgw.ledger import Attempt, Ledger
from xgw.plan.model import Verdict
from xgw.planning import deltas_of, standing_deltas
from xgw.stages import FORCED, Job, leave_unmade, put_back
from xgw.target import Target

ROLLBACK = "rollback"
ASKED = (ROLLBACK, FORCED, "service rolled back")
"""Why a step is put back that missed nothing: somebody wanted it so. Whoever applies it later wants it again."""


def put_step_back(job: Job, attempts: Sequence[Attempt], *, why: str, held: Collection[str] = ()) -> dict[str, str]:
    """Write back what all these attempts at the job's step wrote together; returns what that leaves to a person, by role.

    They are marked newest first, so that what is left after a crash in between still is a chain from the beginning. `held`
    are roles whose traffic a put-back itself had to leave by name: that is no pin. Raises Conflict at a pin or a drift."""
    deltas = standing_deltas([*attempts[:-1], _made(job, attempts[-1])])
    jobs = [
        replace(job, attempt=attempt.id, state=attempt.state, deltas=deltas, why=why) for attempt in reversed(attempts)
    ]
    _refuse_moved(jobs[0], held)
    for one in jobs:
        if one.state != "reverting":
            one.move("reverting", why=why)
            faults.reach("reverting-recorded")
    put_back(jobs[0])
    for one in jobs[1:]:
        one.move("reverted")
    return jobs[0].left


def undo_earlier(job: Job) -> bool:
    """A live step that was measured again and missed its limit has nothing of this run to undo: what earlier runs wrote for
    it is put back. True when there was something."""
    missed = job.state == "reverted" and any(seen.verdict is Verdict.FAILED for seen in job.seen)
    earlier = job.ledger.standing(job.target.id, job.step.id) if missed and not job.deltas else []
    if earlier:
        job.left = put_step_back(job, earlier, why=job.why)
    return bool(earlier)


def left_by_name(target: Target, ledger: Ledger) -> set[str]:
    """Roles whose traffic a put-back had to leave by name, also one of a run that died since, and that nobody moved."""
    left: dict[str, str] = {}
    for record in ledger.records(target=target.id):
        left |= {role: record.body["serving"][role] for role in record.body.get("left", ())}
        if record.kind == "pin":
            left.pop(record.body["role"], None)
    return {role for role, serving in left.items() if target.service(role).main == serving}


def _made(job: Job, newest: Attempt) -> Attempt:
    """The attempt without what it never got to make."""
    if newest.state not in ("intended", "reverting"):
        return newest
    one = replace(job, attempt=newest.id, state=newest.state, deltas=deltas_of(newest))
    leave_unmade(one)
    return replace(newest, deltas=tuple(delta.to_json() for delta in one.deltas))


def _refuse_moved(job: Job, held: Collection[str]) -> None:
    """Raises Conflict at a pin or a drift. A step that is being put back already looks at its fields as it goes."""
    if job.why == FORCED or job.state == "reverting":
        return
    pinned = [
        delta.role for _, delta in job.pairs() if delta.role not in held and job.target.service(delta.role).pinned
    ]
    if pinned and job.state == "validated":  # an unfinished step holds its traffic by name itself
        raise Conflict(
            f"step {job.step.id}: the traffic of {', '.join(pinned)} is pinned to a revision",
            cause="putting the step back would move the traffic to the latest revision again",
            fix=f"xgw rollback --release {pinned[0]}, then the same command; or --force",
        )
    moved = [text for change, delta in job.pairs() for text in change.drifted(job.target, delta)]
    if moved:
        raise Conflict(
            f"step {job.step.id} drifted", cause="; ".join(moved), fix="put it back by hand, or overwrite it: --force"
        )
