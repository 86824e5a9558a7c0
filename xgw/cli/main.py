"""`xgw`: the root command, and the only place where an exception becomes a screen and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from xgw import __version__
from xgw.cli.group import CommonOption, LazyGroup, Table, lazy_group
from xgw.cli.screens import Early, early, misused, show_fault, unexpected
from xgw.cli.streams import tolerate_any_text, write_err, write_out
from xgw.errors import ExitCode, XgwError

COMMANDS: Table = {
    "Plan": {
        "plan": ("xgw.cli.overview:plan", "What every phase would change on the target. Reads only."),
        "phase1": ("xgw.cli.phase:phase1", "Critical fixes: plan, apply, validate, status, rollback."),
        "phase2": ("xgw.cli.phase:phase2", "Infrastructure, after phase 1: the same verbs."),
        "phase3": ("xgw.cli.phase:phase3", "Performance, after phase 2: the same verbs."),
        "status": ("xgw.cli.overview:status", "Services, traffic, pins, locks, and how far each phase has come."),
        "history": ("xgw.cli.history:history", "What was done, by whom, and on what evidence."),
    },
    "Operate": {
        "rollback": ("xgw.cli.rollback:rollback", "A service back to an earlier revision, or a run put back."),
        "revisions": ("xgw.cli.overview:revisions", "The revisions of a service, and which of them serve."),
        "logs": ("xgw.cli.logs:logs", "What a service's revisions wrote."),
        "state": ("xgw.cli.overview:state", "Everything the plan can change, without what changes by itself."),
        "unlock": ("xgw.cli.overview:unlock", "Remove the target's lock."),
    },
    "Data": {
        "contacts": ("xgw.cli.contacts:contacts", "Contacts: import a CSV file, undo an import, export, count."),
    },
    "Local": {
        "demo": ("xgw.cli.demo:demo", "Phase 1 on this machine, a bad change caught, a rollback: under two minutes."),
        "token": ("xgw.cli.token:token", "A signed token for the services of the local target."),
        "local": ("xgw.cli.local:local", "The embedded cloud on this machine: up, status, logs, down, reset."),
    },
    "Self": {
        "init": ("xgw.cli.setup:init", "Write a commented xgw.toml here."),
        "doctor": ("xgw.cli.doctor:doctor", "Check this machine and these settings; say how to mend them."),
        "config": ("xgw.cli.config:config", "Show the settings in force and where each one comes from."),
        "completion": ("xgw.cli.completion:completion", "Print the completion script for bash, zsh or fish."),
        "help": ("xgw.cli.help:help_command", "Help on a command or a topic."),
        "version": ("xgw.cli.help:version", "Print the version."),
    },
}
"""Every command there is, by section. A new command is one line here and one module."""

EXAMPLES = (
    ("xgw demo", "See it all on this machine; nothing to set up."),
    ("xgw phase1 plan", "What phase 1 would change, and why."),
    ("xgw phase1 apply", "Carry it out; each step proven before it gets traffic."),
    ("xgw rollback gateway", "Back to the revision that served before."),
)

COMPLETE_VARIABLE = "_XGW_COMPLETE"


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        write_out(f"xgw {__version__}\n")
        ctx.exit()


def build_root() -> LazyGroup:
    """The root command, with nothing below it loaded."""
    root = lazy_group(
        "xgw",
        COMMANDS,
        EXAMPLES,
        "Carry out an optimisation plan on Cloud Run: plan, apply, measure, record, put back.",
    )
    root.params.append(
        CommonOption(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            help="Print the version.",
            callback=_show_version,
        )
    )
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line; the exit code of the process (xgw.errors.ExitCode)."""
    args = list(sys.argv[1:] if argv is None else argv)
    if COMPLETE_VARIABLE in os.environ:
        from click.shell_completion import shell_complete

        return shell_complete(build_root(), {}, "xgw", COMPLETE_VARIABLE, os.environ[COMPLETE_VARIABLE])
    tolerate_any_text()
    shown = early(args, os.environ)
    try:
        return _run(args, shown)
    except XgwError as fault:
        return show_fault(fault, shown)
    except click.ClickException as error:
        return show_fault(misused(error), shown)
    except (KeyboardInterrupt, click.Abort):
        write_err("\ninterrupted\n")
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001  the one net: no traceback ever reaches a screen unasked
        return show_fault(unexpected(error, shown), shown)


def _run(args: list[str], shown: Early) -> int:
    """Not click's own main: that one quietly ends the process for any broken pipe, a server's as well as stdout's."""
    root = build_root()
    try:
        with root.make_context("xgw", args, obj=shown) as ctx:
            return int(root.invoke(ctx) or ExitCode.OK)
    except click.exceptions.Exit as ending:
        return ending.exit_code
