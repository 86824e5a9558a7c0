"""`xgw phaseN plan|apply|validate|status|rollback`: one set of verbs for every phase."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xgw.cli.aim import aimed_plan
from xgw.cli.bench import Opened, opened
from xgw.cli.group import LazyGroup, help_when_alone
from xgw.cli.options import Invocation, confirm, leaf, progress, show, talk
from xgw.cli.stopping import stoppable
from xgw.errors import ExitCode, Missed, Refused, Unproven, UsageFault, XgwError
from xgw.report import safe

if TYPE_CHECKING:
    from xgw.plan.model import Phase
    from xgw.planning import PhasePlan
    from xgw.runner import Run

Wish = tuple[str, ...]


def _steps(_: click.Context, option: click.Parameter, value: Wish) -> Wish:
    """`--only 1.1,1.6 --only 1.8` as one tuple. UsageFault when it is given and names none: that would mean every step."""
    found = tuple(part.strip() for item in value for part in item.split(",") if part.strip())
    if value and not found:
        raise UsageFault(
            f"--{option.name} names no step",
            cause="it is empty; in a script, a variable may not be set",
            fix=f"--{option.name} 1.1,1.8, or leave it away",
        )
    return found


def _scope(only: Wish = (), skip: Wish = (), force: bool = False) -> str:
    """The options that say which steps, as they are typed: advice must not reach further than what was asked for."""
    told = (("--only", ",".join(only)), ("--skip", ",".join(skip)))
    return "".join(f" {name} {steps}" for name, steps in told if steps) + (" --force" if force else "")


_only = click.option("--only", multiple=True, metavar="STEPS", callback=_steps, help="Only these steps: 1.1,1.8.")
_skip = click.option("--skip", multiple=True, metavar="STEPS", callback=_steps, help="All but these steps.")
_force = click.option("--force", is_flag=True, help="Overwrite what somebody changed since the ledger wrote it.")


class PhaseGroup(LazyGroup):
    """The commands of one phase, made for its number."""

    def __init__(self, number: int, title: str) -> None:
        name = f"phase{number}"
        helps = {verb: (f"xgw.cli.phase:{verb}", text) for verb, (_, text) in VERBS.items()}
        examples = (
            (f"xgw {name} plan", "What would change, and why. Reads only."),
            (f"xgw {name} apply", "Carry it out: each step proven before it gets traffic."),
            (f"xgw {name} rollback", "Put everything back as it was."),
        )
        text = f"Phase {number} of the plan: {title}."
        super().__init__(name, table={"Commands": helps}, examples=examples, help=text, callback=help_when_alone)
        self.number = number

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command for this phase."""
        return VERBS[cmd_name][0](self.number) if cmd_name in VERBS else None


def phase_of(opened_: Opened, number: int) -> Phase:
    """The phase, with what xgw.toml overrides."""
    from xgw.plan import phases

    return next(phase for phase in phases(opened_.target.settings) if phase.number == number)


def _plan_command(number: int) -> click.Command:
    @leaf(
        "plan",
        examples=(
            (f"xgw phase{number} plan", "What apply would change, and why."),
            (f"xgw phase{number} plan --out p.json", "Save it; apply p.json does exactly that or refuses."),
            (f"xgw phase{number} plan --detailed-exitcode", "Exit 10 when there is something to change."),
        ),
    )
    @_only
    @_skip
    @_force
    @click.option("--out", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Save the plan.")
    @click.option("--detailed-exitcode", is_flag=True, help="Exit 10 when apply has or finds something to do.")
    def plan(
        invocation: Invocation, only: Wish, skip: Wish, force: bool, out: Path | None, detailed_exitcode: bool
    ) -> int:
        """Show what apply would do with each step, from the live target. Nothing is changed: the connection refuses it."""
        from xgw.cli import phase_screens, saved_plan
        from xgw.planning import plan as make_plan

        with opened(invocation) as bench:
            planned = make_plan(bench.target, bench.ledger, phase_of(bench, number), only=only, skip=skip, force=force)
            planned = aimed_plan(planned, invocation.aim)
            show(invocation, phase_screens.plan_report(planned, bench.target, invocation.out))
        if out:
            saved_plan.save(out, planned)
            talk(invocation, f"Saved. Next: xgw phase{number} apply {safe(shlex.quote(str(out)))}")
        else:
            talk(invocation, phase_screens.next_after_plan(planned, _scope(only, skip, force)))
        return ExitCode.CHANGES if detailed_exitcode and not planned.settled else ExitCode.OK

    return plan


def _apply_command(number: int) -> click.Command:
    @leaf(
        "apply",
        examples=(
            (f"xgw phase{number} apply", "Carry out the phase; run it again and nothing changes."),
            (f"xgw phase{number} apply --only {number}.1", "One step."),
            (f"xgw phase{number} apply p.json", "A saved plan, unless the target has moved."),
        ),
    )
    @click.argument("saved", required=False, metavar="[PLAN]", type=click.Path(dir_okay=False, path_type=Path))
    @_only
    @_skip
    @_force
    @click.option("--resume", is_flag=True, help="Only when an earlier run left something unfinished.")
    @click.option("--dry-run", is_flag=True, help="Show the plan and stop; nothing is changed.")
    def apply(
        invocation: Invocation,
        saved: Path | None,
        only: Wish,
        skip: Wish,
        force: bool,
        resume: bool,
        dry_run: bool,
    ) -> int:
        """Carry the phase out step by step: a new revision without traffic, measured; then traffic; measured again.

        What misses its limit is undone at once. What cannot be measured stops the phase and gets no traffic."""
        if saved and (only or skip):
            raise _asked_twice(number, saved, only, skip)
        return _apply(invocation, number, saved, only, skip, force=force, resume=resume, dry_run=dry_run)

    return apply


def _asked_twice(number: int, saved: Path, only: Wish, skip: Wish) -> UsageFault:
    """The fault of a saved plan beside options that say which steps."""
    return UsageFault(
        "a saved plan is applied whole, or not at all",
        cause=f"{saved} says which steps, and so does {'--only' if only else '--skip'}",
        fix=f"save a plan of those steps: xgw phase{number} plan{_scope(only, skip)} --out FILE",
    )


def _apply(
    invocation: Invocation,
    number: int,
    saved: Path | None,
    only: Wish,
    skip: Wish,
    *,
    force: bool,
    resume: bool,
    dry_run: bool,
) -> int:
    """Plan, show or ask as the options say, carry it out, and tell how it ended; a saved plan is held against what is there."""
    from xgw.cli import phase_screens, saved_plan
    from xgw.planning import plan as make_plan

    command = f"phase{number} apply"
    with opened(invocation, writing="" if dry_run else command) as bench:
        if saved:
            only = saved_plan.steps_of(saved, bench.target.id)
        scope = _scope(only, skip, force)
        planned = make_plan(bench.target, bench.ledger, phase_of(bench, number), only=only, skip=skip, force=force)
        planned = aimed_plan(planned, invocation.aim)
        if saved:
            saved_plan.require_same(saved, planned)
        if resume and not any(found.state == "resume" for found in planned.steps):
            return _nothing_to_resume(invocation, bench, planned, scope)
        if dry_run:
            show(invocation, phase_screens.plan_report(planned, bench.target, invocation.out))
            return ExitCode.OK
        if bench.careful and not saved and planned.changes:
            talk(invocation, phase_screens.plan_text(planned, bench.target, invocation.err))
            confirm(invocation, f"{bench.careful} Apply?")
        run = _run_apply(invocation, bench, planned, command, scope, force)
    return _conclude(run, number, scope)


def _nothing_to_resume(invocation: Invocation, bench: Opened, planned: PhasePlan, scope: str) -> int:
    """What was begun is finished: that is well. UsageFault when nothing was ever begun."""
    from xgw import runner
    from xgw.cli import phase_screens

    verb = f"phase{planned.phase.number} apply"
    if not bench.ledger.latest(bench.target.id).keys() & {found.step.id for found in planned.steps}:
        raise UsageFault(
            "there is nothing to resume", cause=f"no xgw {verb} was begun here", fix=f"begin it: xgw {verb}{scope}"
        )
    run = runner.Run(0, verb, (), ExitCode.OK, 0.0)
    talk(invocation, "Nothing was left unfinished: nothing to resume.")
    show(invocation, phase_screens.run_report(run, bench.target, invocation.out))
    return ExitCode.OK


def _run_apply(invocation: Invocation, bench: Opened, planned: PhasePlan, command: str, scope: str, force: bool) -> Run:
    """The run, carried out and shown."""
    from xgw import runner
    from xgw.cli import phase_screens

    again = f"xgw {command}{scope}"
    with stoppable(invocation, "finishing this step", again, signals=(signal.SIGINT,)) as stop:
        broken: XgwError | None = None
        with progress(invocation) as view:
            work = runner.Bench(bench.target, bench.ledger, view)
            try:
                run = runner.apply(work, planned, command=command, force=force, stop=stop)
            except XgwError as fault:
                if not isinstance(fault.so_far, runner.Run):
                    raise
                run, broken = fault.so_far, fault
        stop.over("the run has ended; its result follows")
        show(invocation, phase_screens.run_report(run, bench.target, invocation.out))
    if broken:
        raise broken
    return run


def _validate_command(number: int) -> click.Command:
    @leaf(
        "validate",
        examples=(
            (f"xgw phase{number} validate", "Measure every requirement on the live target."),
            (f"xgw phase{number} validate -o json", "The evidence, for a machine."),
        ),
    )
    @_only
    def validate(invocation: Invocation, only: Wish) -> int:
        """Measure the live target against every step's requirement and record the evidence. Changes nothing there."""
        from xgw import runner
        from xgw.cli import phase_screens
        from xgw.planning import known_steps

        command = f"phase{number} validate"
        with opened(invocation, writing=command) as bench:
            phase = phase_of(bench, number)
            known_steps(phase, only)
            with progress(invocation) as view:
                work = runner.Bench(bench.target, bench.ledger, view)
                run = runner.validate(work, phase, command=command, only=only)
            show(invocation, phase_screens.run_report(run, bench.target, invocation.out))
        return _conclude(run, number, _scope(only), applied=False)

    return validate


def _status_command(number: int) -> click.Command:
    @leaf("status", examples=((f"xgw phase{number} status", "Where each step stands, and on what evidence."),))
    def status(invocation: Invocation) -> int:
        """Where each step of the phase stands on the target, with its newest evidence. Reads only."""
        from xgw.cli import phase_screens
        from xgw.planning import plan as make_plan

        with opened(invocation) as bench:
            planned = make_plan(bench.target, bench.ledger, phase_of(bench, number))
            measured = bench.ledger.measured(bench.target.id)
            show(invocation, phase_screens.status_report(planned, measured, bench.target))
        return ExitCode.OK

    return status


def _rollback_command(number: int) -> click.Command:
    @leaf(
        "rollback",
        examples=(
            (f"xgw phase{number} rollback", "Put every step of the phase back, newest first."),
            (f"xgw phase{number} rollback --only {number}.1", "One step."),
        ),
    )
    @_only
    @_force
    def rollback(invocation: Invocation, only: Wish, force: bool) -> int:
        """Write back, from the ledger alone, what each step found: values first seen, traffic form and all.

        A field that somebody changed since is drift: it is refused and named, unless --force."""
        from xgw.planning import known_steps

        command = f"phase{number} rollback"
        with opened(invocation, writing=command) as bench:
            phase = phase_of(bench, number)
            known_steps(phase, only)
            wanted = {step.id for step in phase.steps if not only or step.id in only}
            return put_back(invocation, bench, wanted, command, force)

    return rollback


def put_back(invocation: Invocation, bench: Opened, wanted: set[str], command: str, force: bool) -> int:
    """Put the wanted steps back and show how it went."""
    from xgw import runner
    from xgw.cli import phase_screens
    from xgw.plan import steps

    known = steps(bench.target.settings)
    standing = [step for name, step in known.items() if name in wanted and bench.ledger.standing(bench.target.id, name)]
    if bench.careful and standing:
        confirm(invocation, f"{bench.careful} Put back {', '.join(step.id for step in standing)}?")
    with progress(invocation) as view:
        work = runner.Bench(bench.target, bench.ledger, view)
        result = runner.revert(work, standing, command=command, force=force)
    show(invocation, phase_screens.run_report(result, bench.target, invocation.out))
    if not result.steps:
        talk(invocation, "Nothing to put back.")
    return result.exit_code


def _conclude(run: Run, number: int, scope: str, *, applied: bool = True) -> int:
    """The exit code; a run that did not end well says so as a fault: error, cause, fix."""
    bad = next(
        (r for r in run.steps if r.outcome.value in ("rejected", "unproven") or r.reason.startswith("blocked")), None
    )
    evidence = next((e for e in bad.evidence if e.verdict.value != "passed"), None) if bad else None
    cause = (
        f"{evidence.probe}: {evidence.measured}; expected {evidence.expected}"
        if evidence
        else bad.reason
        if bad
        else ""
    )
    if bad and run.exit_code is ExitCode.MISSED:
        undone = "its change is undone" if bad.changed else "its values were there before, and stay"
        message = f"its check failed; {undone}" if applied else "the requirement does not hold"
        fix = f"evidence: xgw history show {run.id}" if applied else f"xgw phase{number} apply{scope}"
        raise Missed(f"step {bad.step.id}: {message}", cause=cause, fix=fix)
    if bad and run.exit_code is ExitCode.FAILED:
        fix = f"give it another value in xgw.toml, or: xgw phase{number} apply --skip {bad.step.id}"
        raise Refused(
            f"step {bad.step.id}: the platform refused its change; nothing of it is left", cause=cause, fix=fix
        )
    if bad and run.exit_code is ExitCode.UNPROVEN:
        fix = f"xgw phase{number} apply{scope} goes on from here; evidence: xgw history show {run.id}"
        fix = bad.fix or fix
        message = "blocked" if bad.reason.startswith("blocked") else "not proven, so nothing more was promoted"
        raise Unproven(f"step {bad.step.id}: {message}", cause=cause, fix=fix)
    return run.exit_code


VERBS: dict[str, tuple[Callable[[int], Any], str]] = {
    "plan": (_plan_command, "What would change, and why. Reads only."),
    "apply": (_apply_command, "Carry it out, each step proven before it gets traffic."),
    "validate": (_validate_command, "Measure every requirement on the live target."),
    "status": (_status_command, "Where each step stands, and on what evidence."),
    "rollback": (_rollback_command, "Put the phase back as it was found."),
}

phase1 = PhaseGroup(1, "critical fixes")
