"""`xgw phaseN plan|apply|validate|status|rollback`: one set of verbs for every phase."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from xgw.cli.bench import Opened, opened
from xgw.cli.group import LazyGroup, help_when_alone
from xgw.cli.options import Invocation, confirm, leaf, progress, show, talk
from xgw.cli.phase_apply import apply_command
from xgw.cli.phase_ended import conclude
from xgw.cli.phase_wishes import (
    FIRST_STEP,
    Asked,
    Wish,
    force_option,
    only_option,
    phase_of,
    planned_for,
    skip_option,
)
from xgw.errors import ExitCode
from xgw.report import safe


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


def _plan_command(number: int) -> click.Command:
    @leaf(
        "plan",
        examples=(
            (f"xgw phase{number} plan", "What apply would change, and why."),
            (f"xgw phase{number} plan --out p.json", "Save it; apply p.json does exactly that or refuses."),
            (f"xgw phase{number} plan --detailed-exitcode", "Exit 10 when there is something to change."),
        ),
    )
    @only_option
    @skip_option
    @force_option
    @click.option("--out", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Save the plan.")
    @click.option("--detailed-exitcode", is_flag=True, help="Exit 10 when apply has or finds something to do.")
    def plan(
        invocation: Invocation, only: Wish, skip: Wish, force: bool, out: Path | None, detailed_exitcode: bool
    ) -> int:
        """Show what apply would do with each step, from the live target. Nothing is changed: the connection refuses it."""
        from xgw.cli import phase_screens, saved_plan

        asked = Asked(number, only, skip, force)
        with opened(invocation) as bench:
            planned = planned_for(invocation, bench, asked)
            show(invocation, phase_screens.plan_report(planned, bench.target, invocation.out))
        if out:
            saved_plan.save(out, planned)
            talk(invocation, f"Saved. Next: xgw phase{number} apply {safe(shlex.quote(str(out)))}")
        else:
            talk(invocation, phase_screens.next_after_plan(planned, asked.scope))
        return ExitCode.CHANGES if detailed_exitcode and not planned.settled else ExitCode.OK

    return plan


def _validate_command(number: int) -> click.Command:
    @leaf(
        "validate",
        examples=(
            (f"xgw phase{number} validate", "Measure every requirement on the live target."),
            (f"xgw phase{number} validate -o json", "The evidence, for a machine."),
        ),
    )
    @only_option
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
        return conclude(run, number, Asked(number, only).scope, applied=False)

    return validate


def _status_command(number: int) -> click.Command:
    @leaf("status", examples=((f"xgw phase{number} status", "Where each step stands, and on what evidence."),))
    def status(invocation: Invocation) -> int:
        """Where each step of the phase stands on the target, with its newest evidence. Reads only."""
        from xgw.cli import phase_screens

        with opened(invocation) as bench:
            planned = planned_for(invocation, bench, Asked(number))
            measured = bench.ledger.measured(bench.target.id)
            show(invocation, phase_screens.status_report(planned, measured, bench.target))
        return ExitCode.OK

    return status


def _rollback_command(number: int) -> click.Command:
    @leaf(
        "rollback",
        examples=(
            (f"xgw phase{number} rollback", "Put every step of the phase back, newest first."),
            (f"xgw phase{number} rollback --only {FIRST_STEP[number]}", "One step."),
        ),
    )
    @only_option
    @force_option
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


VERBS: dict[str, tuple[Callable[[int], Any], str]] = {
    "plan": (_plan_command, "What would change, and why. Reads only."),
    "apply": (apply_command, "Carry it out, each step proven before it gets traffic."),
    "validate": (_validate_command, "Measure every requirement on the live target."),
    "status": (_status_command, "Where each step stands, and on what evidence."),
    "rollback": (_rollback_command, "Put the phase back as it was found."),
}

phase1 = PhaseGroup(1, "critical fixes")
phase2 = PhaseGroup(2, "infrastructure")
phase3 = PhaseGroup(3, "performance")
