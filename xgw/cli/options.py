"""The options every command has, and the one noun a command gets from them: its `Invocation`.

They stand on the commands, not on the root, so that they work where people type them: at the end of the line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any

import click

from xgw.cli.aim import Aim, aim_of, aimed
from xgw.cli.group import CommonOption, Examples, Leaf
from xgw.cli.streams import (
    COLOUR_CHOICES,
    is_redrawable,
    is_terminal,
    style_of,
    write_err,
    write_err_at_once,
    write_out,
)
from xgw.errors import UsageFault
from xgw.report import OUTPUTS, Report, Style, render, safe

if TYPE_CHECKING:
    from xgw.live import Counter, Progress
    from xgw.settings import Settings


@dataclass(frozen=True)
class Invocation:
    """One call of one command: what was asked for, and what its streams can carry.

    `interactive` says that a question can be asked and answered. `settings` is read from xgw.toml on first use.
    """

    flags: Mapping[str, str | None]
    output: str
    quiet: bool
    yes: bool
    interactive: bool
    out: Style
    err: Style

    @cached_property
    def settings(self) -> Settings:
        """The settings in force. UsageFault when a flag, a variable or xgw.toml cannot be used."""
        from xgw.settings import load

        settings = load(self.flags)
        if settings.overrides:  # only then: the plan is not needed for reading settings
            from xgw.plan import steps
            from xgw.plan.overrides import check

            check(settings, steps())
        return settings

    @cached_property
    def aim(self) -> Aim:
        """What a command that is printed has to say to reach the same target."""
        return aim_of(self.flags, os.environ)


def common_options() -> list[click.Parameter]:
    """Fresh option objects, for one command."""
    return [
        CommonOption(["--project"], metavar="ID", help="Google Cloud project; without it: the local target."),
        CommonOption(["--region"], metavar="REGION", help="Cloud Run region (us-central1)."),
        CommonOption(["--config"], metavar="FILE", help="Read this instead of ./xgw.toml."),
        CommonOption(
            ["-o", "--output"],
            type=click.Choice(OUTPUTS),
            default="table",
            metavar="FORMAT",
            help=f"{', '.join(OUTPUTS)}.",
        ),
        CommonOption(["-q", "--quiet"], is_flag=True, help="No progress, no hints."),
        CommonOption(["--color"], type=click.Choice(COLOUR_CHOICES), default="auto", help="Colour."),
        CommonOption(["-y", "--yes"], is_flag=True, help="Answer yes to every question."),
        CommonOption(["--no-input"], is_flag=True, help="Never ask; fail instead."),
        CommonOption(["--debug"], is_flag=True, help="Show the traceback of an unexpected fault."),
    ]


COMMON_NAMES = ("project", "region", "config", "output", "quiet", "color", "yes", "no_input", "debug")


def invocation_of(values: Mapping[str, Any]) -> Invocation:
    """The invocation for the parsed values of the common options."""
    out = style_of(sys.stdout, values["color"])
    return Invocation(
        flags={name: values[name] for name in ("project", "region", "config")},
        output=values["output"],
        quiet=values["quiet"],
        yes=values["yes"],
        interactive=not values["no_input"] and is_terminal(sys.stdin) and is_terminal(sys.stderr),
        out=out if values["output"] == "table" else replace(out, colour=False),
        err=style_of(sys.stderr, values["color"]),
    )


def leaf(name: str, *, examples: Examples) -> Callable[[Callable[..., Any]], Leaf]:
    """Makes a function a command: it gets an `Invocation` first, then its own options and arguments by name.

    What it returns is the exit code (None: 0).
    """

    def decorate(function: Callable[..., Any]) -> Leaf:
        @wraps(function)
        def call(**values: Any) -> Any:
            common = {key: values.pop(key) for key in COMMON_NAMES}
            return function(invocation_of(common), **values)

        command: Leaf = click.command(name, cls=Leaf, examples=examples)(call)
        command.params.extend(common_options())
        return command

    return decorate


def show(invocation: Invocation, report: Report) -> None:
    """The report, to stdout, in the format asked for."""
    write_out(render(report, invocation.output, invocation.out))


def require_text(invocation: Invocation, what: str, fix: str = "leave -o out") -> None:
    """UsageFault when another form was asked for of something that is text and no report."""
    if invocation.output != "table":
        raise UsageFault(f"{what} is no report: -o {invocation.output}", cause="it is text, in one form", fix=fix)


def talk(invocation: Invocation, text: str) -> None:
    """A line for the person, to stderr, its commands aimed at the same target; nothing with -q."""
    if not invocation.quiet:
        write_err(f"{aimed(text, invocation.aim)}\n")


def talk_at_once(invocation: Invocation, text: str) -> None:
    """The same from a signal handler, which may have interrupted any other talk."""
    if not invocation.quiet:
        write_err_at_once(f"{aimed(text, invocation.aim)}\n")


def progress(invocation: Invocation) -> Progress:
    """The live view, lines, or silence: what stderr and -q allow."""
    from xgw.live import open_progress

    return open_progress(
        sys.stderr,
        invocation.err,
        quiet=invocation.quiet,
        terminal=is_redrawable(sys.stderr) and not os.environ.get("CI"),
    )


def rows_counter(invocation: Invocation, doing: str) -> Counter:
    """A bar for rows of a file, a line every ten seconds, or silence: what stderr and -q allow."""
    from xgw.live import open_counter

    terminal = is_redrawable(sys.stderr) and not os.environ.get("CI")
    return open_counter(sys.stderr, invocation.err, doing, quiet=invocation.quiet, terminal=terminal)


def confirm(invocation: Invocation, question: str) -> None:
    """Returns when the answer is yes: by --yes, or typed in full. Otherwise a UsageFault; nothing was done.

    Never waits where nobody can answer.
    """
    if invocation.yes:
        return
    if not invocation.interactive:
        raise UsageFault(
            "this needs a yes, and nobody is there to give it",
            cause=f"{safe(question)} (stdin or stderr is not a terminal, or --no-input was given)",
            fix="add --yes when you are sure",
        )
    if ask(f"{question} Type yes: ") != "yes":
        raise UsageFault("not confirmed; nothing was done", cause="only yes, in full, is a yes")


def ask(prompt: str) -> str:
    """One line from the person, asked on stderr; empty at the end of input."""
    write_err(safe(prompt))
    return sys.stdin.readline().strip()
