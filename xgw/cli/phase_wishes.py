"""What a phase command was asked for: which steps, and how; and the plan that this makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from xgw.cli.aim import aimed_plan
from xgw.cli.bench import Opened
from xgw.cli.options import Invocation
from xgw.errors import Unproven, UsageFault

if TYPE_CHECKING:
    from xgw.plan.model import Phase
    from xgw.planning import PhasePlan

Wish = tuple[str, ...]
FIRST_STEP = {1: "1.1", 2: "2.1", 3: "3.2"}
"""For examples in help texts, which are shown without loading the plan."""


@dataclass(frozen=True)
class Asked:
    """The steps that are meant, and how they may be treated."""

    number: int
    """Of the phase."""
    only: Wish = ()
    skip: Wish = ()
    force: bool = False
    out_of_order: bool = False

    @property
    def scope(self) -> str:
        """The same as it is typed: advice must not reach further than what was asked for."""
        told = (("--only", ",".join(self.only)), ("--skip", ",".join(self.skip)))
        flags = (("--force", self.force), ("--out-of-order", self.out_of_order))
        typed = [f" {name} {steps}" for name, steps in told if steps] + [f" {name}" for name, given in flags if given]
        return "".join(typed)


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


only_option = click.option("--only", multiple=True, metavar="STEPS", callback=_steps, help="Only these steps: 1.1,1.8.")
skip_option = click.option("--skip", multiple=True, metavar="STEPS", callback=_steps, help="All but these steps.")
force_option = click.option("--force", is_flag=True, help="Overwrite what somebody changed since the ledger wrote it.")


def phase_of(bench: Opened, number: int) -> Phase:
    """The phase, with what xgw.toml overrides."""
    from xgw.plan import phases

    return next(phase for phase in phases(bench.target.settings) if phase.number == number)


def planned_for(invocation: Invocation, bench: Opened, asked: Asked) -> PhasePlan:
    """What apply would do now, and which steps of earlier phases it waits for."""
    from xgw.plan import phases
    from xgw.planning import in_order, plan

    before = [phase for phase in phases(bench.target.settings) if phase.number < asked.number]
    plans = [plan(bench.target, bench.ledger, phase) for phase in before]
    wishes = {"only": asked.only, "skip": asked.skip}
    plans.append(plan(bench.target, bench.ledger, phase_of(bench, asked.number), force=asked.force, **wishes))
    return aimed_plan(in_order(plans)[-1], invocation.aim)


def require_order(planned: PhasePlan, asked: Asked) -> None:
    """Raises Unproven when the phase has something to do and an earlier one is not through."""
    if planned.waits_for and not (planned.done or asked.out_of_order):
        from xgw.cli.phase_screens import waiting

        first = planned.waits_for[0].step.id.partition(".")[0]
        raise Unproven(
            f"phase {asked.number} waits for {waiting(planned)}",
            cause="it would be measured on top of what is not proven; nothing was changed",
            fix=f"xgw phase{first} apply; or go on without: xgw phase{asked.number} apply{asked.scope} --out-of-order",
        )
