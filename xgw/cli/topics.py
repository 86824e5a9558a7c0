"""The topics of `xgw help`. What can be derived from the code is derived, so that it cannot drift."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from xgw.errors import ExitCode
from xgw.report import Report
from xgw.widths import Whole

MEANINGS: Mapping[ExitCode, str] = MappingProxyType(
    {
        ExitCode.OK: "done; for an apply: every step holds, or waits for a later one",
        ExitCode.FAILED: "it did not work; the message says why",
        ExitCode.USAGE: "the command line or xgw.toml cannot be carried out; nothing was done",
        ExitCode.MISSED: "a measured value missed its limit",
        ExitCode.NOT_SIGNED_IN: "Google Cloud has no credentials to use, or refused them",
        ExitCode.CONFLICT: "stale plan, drift, pinned traffic, or a lock is held; nothing was changed",
        ExitCode.UNREACHABLE: "the target did not answer",
        ExitCode.REJECTS: "the import finished; some rows were rejected",
        ExitCode.UNPROVEN: "finished, but some requirement could not be measured: no data is not a pass",
        ExitCode.CHANGES: "plan --detailed-exitcode: apply has, or finds, something to do",
        ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
    }
)

VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        "XGW_TENANT": "tenant of the contacts commands (--tenant wins); there is no default",
        "XGW_TOKEN": "token that probes show to the services; without it the local target's own issuer signs one",
        "XGW_HOME": "directory of all state: ledger, local target, last-error.log",
        "XGW_CONFIG": "configuration file, instead of ./xgw.toml (--config wins)",
        "XGW_DEBUG": "set: show the traceback of an unexpected fault, as --debug does",
        "XGW_ASCII": "set: no signs beyond ASCII",
        "NO_COLOR": "set: no colour (--color wins)",
        "CLICOLOR_FORCE": "set and not 0: colour even into a pipe; FORCE_COLOR likewise",
        "CLICOLOR": "0: no colour",
        "TERM": "dumb: no colour, no redrawing",
        "COLUMNS": "how wide a terminal is to be taken for, instead of its own word; without a terminal nothing is fitted",
        "CI": "set: progress as lines, never redrawn",
    }
)


def _environment() -> Report:
    from xgw.settings import SCALARS

    rows = [(variable, text) for variable, text in VARIABLES.items()]
    rows += [
        (scalar.variable, f"{name}{f' ({scalar.flag} wins)' if scalar.flag else ''}")
        for name, scalar in SCALARS.items()
        if scalar.variable
    ]
    return Report("help", ("variable", "meaning"), rows)


def _exit_codes() -> Report:
    rows = [(int(code), code.name.lower().replace("_", "-"), text) for code, text in MEANINGS.items()]
    return Report("help", ("code", "name", "meaning"), rows)


FORMATS = """\
stdout is data, stderr is talk: `xgw ... -o json | jq` is always clean.

  table   for people; may change at any time. On a terminal as wide as that (20 to 200 columns): long cells
          go on below, or the rows stand one below the other. Into a pipe or file: one whole line a row
  json    {"schema": "xgw.<noun>/v1", "xgw": "<version>", "data": ...}; only grows within v1
  jsonl   one object a line: the items of `data`, or `data` itself
  csv     a header and one record a row, whole; cells a spreadsheet would take for a formula get a leading '
  tsv     the same, tab-separated, one line a row
  md      a Markdown table, for a pull request or a step summary

With json or jsonl a fault is one line on stderr:
  {"schema": "xgw.error/v1", "xgw": ..., "error": {"message", "cause", "fix", "exit_code"}}
In all of them but the table a time is ISO 8601 in UTC, never "2m ago".
What is text and no report (demo, completion, the help of a command, local logs) refuses -o.
Control and direction characters in data are always shown as escapes.
"""


def _formats() -> Report:
    return _text("formats", FORMATS)


def _text(topic: str, text: str) -> Report:
    return Report("help", head=[Whole(line) for line in text.splitlines()], data={"topic": topic, "text": text})


def _config() -> Report:
    from xgw.cli.setup import TEMPLATE

    told = TEMPLATE.format(project='# project = "my-project"', region="us-central1")
    return _text(
        "config",
        "Flags win over XGW_* variables, those over xgw.toml (--config, XGW_CONFIG, or ./xgw.toml), that over defaults.\n"
        "A key that is not known is refused. Write this file: xgw init. What is in force: xgw config show --origin\n\n"
        + told,
    )


TOPICS: Mapping[str, tuple[str, Callable[[], Report]]] = MappingProxyType(
    {
        "environment": ("The variables xgw reads.", _environment),
        "exit-codes": ("What the exit code says.", _exit_codes),
        "formats": ("What -o does, and what a script can rely on.", _formats),
        "config": ("xgw.toml, and what wins over it.", _config),
    }
)
