"""`xgw phaseN apply`: plan, show or ask as the options say, carry out, tell how it ended."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xgw.cli.bench import Opened, opened
from xgw.cli.options import Invocation, confirm, leaf, progress, show, talk
from xgw.cli.phase_ended import conclude
from xgw.cli.phase_wishes import (
    FIRST_STEP,
    Asked,
    Wish,
    force_option,
    only_option,
    planned_for,
    require_order,
    skip_option,
)
from xgw.cli.stopping import stoppable
from xgw.errors import ExitCode, UsageFault, XgwError

if TYPE_CHECKING:
    from xgw.planning import PhasePlan
    from xgw.runner import Run


def apply_command(number: int) -> click.Command:
    """The command for phase `number`."""

    @leaf(
        "apply",
        examples=(
            (f"xgw phase{number} apply", "Carry out the phase; run it again and nothing changes."),
            (f"xgw phase{number} apply --only {FIRST_STEP[number]}", "One step."),
            (f"xgw phase{number} apply p.json", "A saved plan, unless the target has moved."),
        ),
    )
    @click.argument("saved", required=False, metavar="[PLAN]", type=click.Path(dir_okay=False, path_type=Path))
    @only_option
    @skip_option
    @force_option
    @click.option("--out-of-order", is_flag=True, help="Although steps of an earlier phase are not validated.")
    @click.option("--resume", is_flag=True, help="Only when an earlier run left something unfinished.")
    @click.option("--dry-run", is_flag=True, help="Show the plan and stop; nothing is changed.")
    def apply(
        invocation: Invocation,
        saved: Path | None,
        only: Wish,
        skip: Wish,
        force: bool,
        out_of_order: bool,
        resume: bool,
        dry_run: bool,
    ) -> int:
        """Carry the phase out step by step: a new revision without traffic, measured; then traffic; measured again.

        What misses its limit is undone at once. What cannot be measured stops the phase and gets no traffic."""
        asked = Asked(number, only, skip, force, out_of_order)
        return _apply(invocation, asked, saved, resume=resume, dry_run=dry_run)

    return apply


def _apply(invocation: Invocation, asked: Asked, saved: Path | None, *, resume: bool, dry_run: bool) -> int:
    from xgw.cli import phase_screens, saved_plan

    if saved and (asked.only or asked.skip):
        raise UsageFault(
            "a saved plan is applied whole, or not at all",
            cause=f"{saved} says which steps, and so does {'--only' if asked.only else '--skip'}",
            fix=f"save a plan of those steps: xgw phase{asked.number} plan{asked.scope} --out FILE",
        )
    with opened(invocation, writing="" if dry_run else f"phase{asked.number} apply") as bench:
        if saved:
            asked = replace(asked, only=saved_plan.steps_of(saved, bench.target.id))
        planned = planned_for(invocation, bench, asked)
        if saved:
            saved_plan.require_same(saved, planned)
        if resume and not any(found.state == "resume" for found in planned.steps):
            return _nothing_to_resume(invocation, bench, planned, asked)
        if dry_run:
            show(invocation, phase_screens.plan_report(planned, bench.target, invocation.out))
            return ExitCode.OK
        require_order(planned, asked)
        if bench.careful and not saved and planned.changes:
            talk(invocation, phase_screens.plan_text(planned, bench.target, invocation.err))
            confirm(invocation, f"{bench.careful} Apply?")
        run = _run_apply(invocation, bench, planned, asked)
    return conclude(run, asked.number, asked.scope)


def _nothing_to_resume(invocation: Invocation, bench: Opened, planned: PhasePlan, asked: Asked) -> int:
    """What was begun is finished: that is well. UsageFault when nothing was ever begun."""
    from xgw import runner
    from xgw.cli import phase_screens

    verb = f"phase{planned.phase.number} apply"
    if not bench.ledger.latest(bench.target.id).keys() & {found.step.id for found in planned.steps}:
        raise UsageFault(
            "there is nothing to resume",
            cause=f"no xgw {verb} was begun here",
            fix=f"begin it: xgw {verb}{asked.scope}",
        )
    run = runner.Run(0, verb, (), ExitCode.OK, 0.0)
    talk(invocation, "Nothing was left unfinished: nothing to resume.")
    show(invocation, phase_screens.run_report(run, bench.target, invocation.out))
    return ExitCode.OK


def _run_apply(invocation: Invocation, bench: Opened, planned: PhasePlan, asked: Asked) -> Run:
    """The run, carried out and shown."""
    from xgw import runner
    from xgw.cli import phase_screens

    command = f"phase{asked.number} apply"
    again = f"xgw {command}{asked.scope}"
    if asked.out_of_order and planned.waits_for:
        command += f" --out-of-order, before {', '.join(found.step.id for found in planned.waits_for)}"
    with stoppable(invocation, "finishing this step", again, signals=(signal.SIGINT,)) as stop:
        broken: XgwError | None = None
        with progress(invocation) as view:
            work = runner.Bench(bench.target, bench.ledger, view)
            try:
                run = runner.apply(work, planned, command=command, force=asked.force, stop=stop)
            except XgwError as fault:
                if not isinstance(fault.so_far, runner.Run):
                    raise
                run, broken = fault.so_far, fault
        stop.over("the run has ended; its result follows")
        show(invocation, phase_screens.run_report(run, bench.target, invocation.out))
    if broken:
        raise broken
    return run
