"""How a phase is carried out. This file is the main path; everything it calls is below it.

    plan      look at the target: what each step would change, or why it would not
    apply     for each step:  intend -> make (no traffic) -> prove -> promote -> prove live -> validated
    validate  measure the live target again, and add the evidence
    revert    put steps back, newest first, from the ledger alone

A step moves through the states of `xgw.ledger.MOVES`. STAGES names, for each state, the one function that carries it on;
every one of them can be repeated, so a run that was killed anywhere is finished by running the same command again.
What fails its limit is undone at once. What cannot be measured stops the phase and is neither promoted nor undone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from xgw import faults
from xgw.errors import Conflict, ExitCode, LedgerFault, XgwError
from xgw.ledger import Ledger, who
from xgw.plan.model import Evidence, Outcome, Phase, Step, Verdict
from xgw.planning import IDLE, PhasePlan, StepPlan, deltas_of, plan_step, standing_deltas, waits
from xgw.putting_back import ASKED, ROLLBACK, left_by_name, put_step_back, undo_earlier
from xgw.stages import FORCED, OUTCOMES, REFUSED, STAGES, Job, View, probe
from xgw.target import Target


@dataclass(frozen=True)
class StepResult:
    """How one step ended in a run. `changed` says that its values were written, not found there; `left` is what it leaves to
    a person."""

    step: Step
    outcome: Outcome
    reason: str = ""
    evidence: tuple[Evidence, ...] = ()
    seconds: float = 0.0
    fix: str = ""
    changed: bool = False
    left: str = ""

    @property
    def refused(self) -> bool:
        """True when the platform would not make it: nothing was measured."""
        return self.outcome is Outcome.REJECTED and self.reason.startswith(REFUSED)


@dataclass(frozen=True)
class Run:
    """One invocation: its number in the ledger (0 when there was nothing to record) and how its steps ended."""

    id: int
    command: str
    steps: tuple[StepResult, ...]
    exit_code: ExitCode
    seconds: float


@dataclass(frozen=True)
class Bench:
    """What every verb works with: the target, the ledger, and who watches."""

    target: Target
    ledger: Ledger
    view: View


def apply(
    bench: Bench,
    planned: PhasePlan,
    *,
    command: str,
    force: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Run:
    """Carry the plan out step by step; stop at the first step that does not end validated, or between two steps when
    `stop` says so. Raises Conflict, before any change, when a step is pinned or has drifted."""
    for found in planned.steps:
        _refuse_pinned_or_drifted(found)
    if planned.done:
        results = tuple(_unchanged(found) for found in planned.steps)
        return Run(0, command, results, _exit_code(results), 0.0)
    with _recorded(bench, command) as run:
        for found in planned.steps:
            if found.state not in IDLE and (run.halted or stop()):
                run.interrupted |= not run.halted
                run.end(StepResult(found.step, Outcome.SKIPPED, run.halted or "interrupted"))
            else:
                run.end(_end_of(bench, run, found, force=force))
    return run.result()


def _end_of(bench: Bench, run: _Open, found: StepPlan, *, force: bool) -> StepResult:
    """How one step ended. A conflict is the end of its run only while nothing was changed by it: exit code 5 says so. After
    that it leaves this step unproven. Any other fault ends the run, and carries what was done so far."""
    try:
        return _carry_out(bench, run.id, found, force=force)
    except XgwError as fault:
        if not any(result.changed for result in run.ended):
            raise
        why = f"{fault.message}: {fault.cause}" if fault.cause else fault.message
        result = StepResult(found.step, Outcome.UNPROVEN, why, fix=fault.fix)
        bench.view.step_finished(found.step.id, result.outcome.value, f"{found.step.title}: {why}", 0)
        if isinstance(fault, Conflict):
            return result
        run.end(result)
        fault.so_far = replace(run.result(), exit_code=fault.exit_code)
        raise


def _carry_out(bench: Bench, run: int, found: StepPlan, *, force: bool) -> StepResult:
    """One step from where it stands to its outcome."""
    step, began = found.step, time.monotonic()
    if found.state in (*IDLE, "blocked"):
        return _leave(bench, run, found)
    bench.view.step_started(step.id, step.title)
    job = (
        _pick_up(bench, run, found, force=force) if found.state == "resume" else _intend(bench, run, found, force=force)
    )
    if job.state == "reverted" and job.why in ASKED:
        again = plan_step(bench.target, bench.ledger, step, force=force)
        _refuse_pinned_or_drifted(again)
        return _carry_out(bench, run, again, force=force)
    while job.state in STAGES:
        STAGES[job.state](job)
    undone = undo_earlier(job)
    outcome, seconds = OUTCOMES[job.state], time.monotonic() - began
    bench.view.step_finished(step.id, outcome.value, f"{step.title}: {job.why}" if job.why else step.title, seconds)
    return StepResult(
        step, outcome, job.why, tuple(job.seen), seconds, changed=undone or bool(job.pairs()), left=_text(job.left)
    )


def _intend(bench: Bench, run: int, found: StepPlan, *, force: bool) -> Job:
    """A new attempt, its intent recorded. What was shown is what is done: a step that would now write something else is
    refused with Conflict."""
    step = found.step
    for change in step.changes:  # what is still starting can neither be built on nor be told from what does not start
        bench.target.settled(change.role)
    fresh = plan_step(bench.target, bench.ledger, step, force=force, asked=True)
    shown = [(delta.role, delta.fields) for delta in found.deltas]
    if [(delta.role, delta.fields) for delta in fresh.deltas] != shown or fresh.state != found.state:
        raise Conflict(
            f"step {step.id}: the target moved while this run was under way",
            cause=f"planned {found.state}, now {fresh.state} {fresh.reason}".strip(),
            fix="run the same command again to plan from what is there",
        )
    job = Job(bench.target, bench.ledger, bench.view, run, step, 0, "", fresh.deltas)
    job.move("intended", deltas=[delta.to_json() for delta in fresh.deltas])
    faults.reach("intent-recorded")
    return job


def _pick_up(bench: Bench, run: int, found: StepPlan, *, force: bool) -> Job:
    """The unfinished attempt of an earlier run, standing where that run left it; one that was being put back is put back
    to its end, together with the others of its step that were. What it is put back for was seen then."""
    attempt = bench.ledger.latest(bench.target.id)[found.step.id]
    job = Job(bench.target, bench.ledger, bench.view, run, found.step, attempt.id, attempt.state, deltas_of(attempt))
    bench.view.step_note(found.step.id, found.reason)
    if job.state == "unproven":
        job.move(attempt.paused_at)
    elif job.state == "reverting":
        begun = [a for a in bench.ledger.standing(bench.target.id, found.step.id) if a.state == "reverting"]
        job.seen = [Evidence(**{**seen, "verdict": Verdict(seen["verdict"])}) for seen in attempt.evidence]
        job.why = attempt.why
        job.left = put_step_back(job, begun, why=FORCED if force else attempt.why)
        job.state = "reverted"
    return job


def _leave(bench: Bench, run: int, found: StepPlan) -> StepResult:
    """A step that this run does not touch; a blocked one is recorded with its reason."""
    if found.state == "blocked":
        place = {"run": run, "step": found.step.id, "body": {"reason": found.reason}}
        bench.ledger.append("skipped", target=bench.target.id, **place)  # type: ignore[arg-type]
        bench.view.step_finished(found.step.id, "blocked", f"{found.step.title}: {found.reason}", 0)
    return _unchanged(found)


def validate(bench: Bench, phase: Phase, *, command: str, only: Sequence[str] = ()) -> Run:
    """Measure the live target for each step and add the evidence. Nothing is changed on the target; an unproven step that
    is live and now passes becomes validated. A step that waits for a later one is passed over, unless it is asked for."""
    with _recorded(bench, command) as run:
        for step in (step for step in phase.steps if not only or step.id in only):
            began = time.monotonic()
            if step.id not in only and (why := waits(bench.target, step)):
                run.end(StepResult(step, Outcome.SKIPPED, f"waits: {why}"))
                continue
            bench.view.step_started(step.id, step.title)
            attempt = bench.ledger.latest(bench.target.id).get(step.id)
            number = attempt.id if attempt else 0
            job = Job(bench.target, bench.ledger, bench.view, run.id, step, number, "", ())
            verdict = probe(job, "live")
            if (
                attempt
                and attempt.state == "unproven"
                and attempt.paused_at == "promoted"
                and verdict is Verdict.PASSED
            ):
                job.move("promoted")
                job.move("validated")
            outcome, seconds = _MEASURED.get(verdict, Outcome.UNPROVEN), time.monotonic() - began
            bench.view.step_finished(step.id, outcome.value, step.title, seconds)
            run.end(StepResult(step, outcome, "", tuple(job.seen), seconds))
    return run.result()


_MEASURED = {Verdict.PASSED: Outcome.VALIDATED, Verdict.FAILED: Outcome.REJECTED}


def revert(bench: Bench, steps: Sequence[Step], *, command: str, force: bool = False) -> Run:
    """Put the steps back as they were before the first standing attempt at them, the newest step first, from what the
    ledger recorded. Raises Conflict at drift, before that step."""
    standing = {step.id: bench.ledger.standing(bench.target.id, step.id) for step in steps}
    wanted = sorted((step for step in steps if standing[step.id]), key=lambda step: -standing[step.id][-1].id)
    if not wanted:
        return Run(0, command, (), ExitCode.OK, 0.0)
    held = left_by_name(bench.target, bench.ledger)
    with _recorded(bench, command) as run:
        for step in wanted:
            began, wrote = time.monotonic(), bool(standing_deltas(standing[step.id]))
            bench.view.step_started(step.id, step.title)
            why = FORCED if force else ROLLBACK
            job = Job(bench.target, bench.ledger, bench.view, run.id, step, 0, "", ())
            left = put_step_back(job, standing[step.id], why=why, held=held)
            held |= left.keys()
            seconds = time.monotonic() - began
            bench.view.step_finished(step.id, "reverted", step.title, seconds)
            run.end(StepResult(step, Outcome.SKIPPED, "put back", (), seconds, changed=wrote, left=_text(left)))
    return run.result()


def _refuse_pinned_or_drifted(found: StepPlan) -> None:
    if found.state == "pinned":
        raise Conflict(
            f"step {found.step.id}: {found.reason}",
            cause="a new revision would get no traffic",
            fix=f"xgw rollback --release {found.pinned[0]}",
        )
    if found.state == "drift":
        raise Conflict(
            f"step {found.step.id}: {found.reason}",
            cause="somebody changed what the ledger had written",
            fix="put it back by hand, or write the plan's value again: --force",
        )


@dataclass
class _Open:
    """A run that is under way."""

    id: int
    command: str
    began: float = field(default_factory=time.monotonic)
    ended: list[StepResult] = field(default_factory=list)
    interrupted: bool = False

    @property
    def halted(self) -> str:
        """Why no further step may start, or nothing."""
        bad = next((r for r in self.ended if r.outcome in (Outcome.REJECTED, Outcome.UNPROVEN)), None)
        return f"not started: {bad.step.id} was {bad.outcome}" if bad else ""

    def end(self, result: StepResult) -> None:
        """One more step has ended."""
        self.ended.append(result)

    def result(self) -> Run:
        """The run as its caller gets it."""
        code = _exit_code(self.ended)
        if self.interrupted and code not in (ExitCode.MISSED, ExitCode.FAILED):
            code = ExitCode.INTERRUPTED
        return Run(self.id, self.command, tuple(self.ended), code, round(time.monotonic() - self.began, 3))


@contextmanager
def _recorded(bench: Bench, command: str) -> Iterator[_Open]:
    """A run in the ledger: its beginning before anything else, and how it ended, also when it ended by a fault."""
    record = bench.ledger.append("run", target=bench.target.id, body={"command": command, "who": who()})
    run, error, code = _Open(record.run, command), "", ExitCode.FAILED
    faults.reach("run-recorded")
    try:
        yield run
        code = run.result().exit_code
    except XgwError as fault:
        error, code = fault.message, fault.exit_code
        raise
    except KeyboardInterrupt:
        error, code = "interrupted", ExitCode.INTERRUPTED
        raise
    except BaseException as fault:
        error = repr(fault)
        raise
    finally:
        steps = [
            {"step": r.step.id, "outcome": r.outcome.value, "reason": r.reason, "changed": r.changed} for r in run.ended
        ]
        body = {"steps": steps, "seconds": run.result().seconds, "error": error, "exit": int(code)}
        try:
            bench.ledger.append("run-end", target=bench.target.id, run=run.id, body=body)
        except LedgerFault as fault:
            if not error:  # else the fault that ended the run says more
                fault.so_far = replace(run.result(), exit_code=fault.exit_code)
                raise


def _text(left: Mapping[str, str]) -> str:
    return "; ".join(left.values())


def _unchanged(found: StepPlan) -> StepResult:
    if found.state == "holds":
        return StepResult(found.step, Outcome.VALIDATED, "holds already")
    reason = f"{found.state}: {found.reason}" if found.reason else found.state
    return StepResult(found.step, Outcome.SKIPPED, reason, fix="; ".join(held.fix for held in found.blocked))


def _exit_code(results: Sequence[StepResult]) -> ExitCode:
    """3 when a limit was missed, 1 when the platform refused a step, 8 when something could not be proven or is blocked,
    else 0."""
    if any(result.outcome is Outcome.REJECTED and not result.refused for result in results):
        return ExitCode.MISSED
    if any(result.refused for result in results):
        return ExitCode.FAILED
    if any(result.outcome is Outcome.UNPROVEN or result.reason.startswith("blocked") for result in results):
        return ExitCode.UNPROVEN
    return ExitCode.OK
