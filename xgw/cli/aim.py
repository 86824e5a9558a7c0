"""The options that chose the target, on every command that is printed: what is pasted from a screen must reach the same one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xgw.report import safe

if TYPE_CHECKING:
    from xgw.planning import PhasePlan, StepPlan

_PHASE = r"phase\d (?:plan|apply|validate|status|rollback)"
_CONTACTS = r"contacts (?:imports?|undo|export|count)"
_COMMAND = re.compile(
    rf"\bxgw (?:{_PHASE}|{_CONTACTS}|plan|status|history|rollback|revisions|logs|state|unlock|doctor)\b(?! --help)"
)
"""The commands that work on a target, as our own sentences name them."""


@dataclass(frozen=True)
class Aim:
    """What was told beside the command: options, and the variable that has none, as they are typed."""

    options: tuple[tuple[str, str], ...] = ()
    before: str = ""


NOWHERE = Aim()


def aim_of(flags: Mapping[str, str | None], environ: Mapping[str, str]) -> Aim:
    """From the flags "project", "region" and "config", or their variables: those may be set for one command only."""
    told = {name: flags.get(name) or environ.get(f"XGW_{name.upper()}") for name in ("project", "region", "config")}
    options = tuple((f"--{name}", safe(shlex.quote(value))) for name, value in told.items() if value)
    endpoint = environ.get("XGW_ENDPOINT", "")
    return Aim(options, f"XGW_ENDPOINT={safe(shlex.quote(endpoint))} " if endpoint else "")


def aimed(text: str, aim: Aim) -> str:
    """The text with every command in it aimed at the same target; what a command says itself is not said twice."""

    def whole(found: re.Match[str]) -> str:
        rest = text[found.end() :].partition("xgw ")[0]
        before = "" if text[: found.start()].endswith(aim.before) else aim.before
        return before + found[0] + "".join(f" {name} {value}" for name, value in aim.options if f"{name} " not in rest)

    return _COMMAND.sub(whole, text)


def aimed_plan(planned: PhasePlan, aim: Aim) -> PhasePlan:
    """The plan with every fix in it aimed."""

    def fixed(found: StepPlan) -> StepPlan:
        return replace(found, blocked=tuple(replace(held, fix=aimed(held.fix, aim)) for held in found.blocked))

    return replace(planned, steps=tuple(fixed(found) for found in planned.steps))
