"""How a fault looks: error, cause, fix on stderr, or one line of JSON there; and where a traceback is kept."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click

from xgw import __version__
from xgw.cli.aim import NOWHERE, Aim, aim_of, aimed
from xgw.cli.streams import COLOUR_CHOICES, style_of, write_err
from xgw.errors import UsageFault, XgwError
from xgw.report import dumps, paint, safe
from xgw.words import nearest

LAST_ERROR = "last-error.log"


@dataclass(frozen=True)
class Early:
    """What the arguments say about screens, read before they are parsed: a fault in parsing needs a screen too."""

    color: str = "auto"
    output: str = "table"
    debug: bool = False
    aim: Aim = NOWHERE


def early(args: Sequence[str], environ: Mapping[str, str]) -> Early:
    """Looks for --color, -o/--output, --debug and what names the target, up to a lone "--". Odd values are left for the parser
    to refuse."""
    told = args[: args.index("--")] if "--" in args else args
    color = _value(told, ("--color",))
    debug = "--debug" in told or environ.get("XGW_DEBUG", "0") not in ("", "0")
    return Early(
        color if color in COLOUR_CHOICES else "auto",
        _value(told, ("-o", "--output")) or "table",
        debug,
        aim_of({name: _value(told, (f"--{name}",)) for name in ("project", "region", "config")}, environ),
    )


def _value(args: Sequence[str], names: tuple[str, ...]) -> str:
    found = ""
    for position, arg in enumerate(args):
        for name in names:
            if arg == name and position + 1 < len(args):
                found = args[position + 1]
            elif arg.startswith(f"{name}="):
                found = arg.removeprefix(f"{name}=")
            elif not name.startswith("--") and arg.startswith(name) and len(arg) > len(name):
                found = arg.removeprefix(name)
    return found


def show_fault(fault: XgwError, shown: Early) -> int:
    """Writes the fault to stderr, its fix aimed at the same target; the exit code it stands for."""
    fix = aimed(fault.fix, shown.aim)
    if shown.output in ("json", "jsonl"):
        error = {"message": fault.message, "cause": fault.cause, "fix": fix, "exit_code": int(fault.exit_code)}
        write_err(dumps({"schema": "xgw.error/v1", "xgw": __version__, "error": error}) + "\n")
        return fault.exit_code
    style = style_of(sys.stderr, shown.color)
    lines = [f"{paint('error:', 'fail', style)} {_block(fault.message, 7)}"]
    for name, text in (("cause", fault.cause), ("fix", fix)):
        if text:
            lines.append(f"  {paint(f'{name}:', 'bold', style)}{'':>{6 - len(name)}}{_block(text, 9)}")
    write_err("\n".join(lines) + "\n")
    return fault.exit_code


def _block(text: str, indent: int) -> str:
    """Safe text; its own line breaks kept, aligned under the first line."""
    return f"\n{'':>{indent}}".join(safe(line) for line in text.splitlines()) if text else ""


def misused(error: click.ClickException) -> XgwError:
    """click's finding, in our three parts."""
    ctx = getattr(error, "ctx", None)
    path = ctx.command_path if ctx is not None else "xgw"
    usage = f"{path} {' '.join(ctx.command.collect_usage_pieces(ctx))}" if ctx is not None else ""
    message = error.message if isinstance(error, click.NoSuchOption) else error.format_message()
    near = getattr(error, "possibilities", None) or ()
    if isinstance(error, click.NoSuchOption):
        near = [nearest(error.option_name, near)] if nearest(error.option_name, near) else near
    fix = f"did you mean {' or '.join(near)}?" if near else f"{path} --help"
    message = " ".join(f"{message[:1].lower()}{message[1:]}".split()).rstrip(".")
    return UsageFault(message, cause=f"usage: {usage}" if usage else "", fix=fix)


def unexpected(error: BaseException, shown: Early) -> XgwError:
    """A fault nobody foresaw: one line for the person, the traceback in a file (or on stderr with --debug)."""
    import traceback

    text = "".join(traceback.format_exception(error))
    if shown.debug:
        write_err("\n".join(safe(line) for line in text.splitlines()) + "\n")
    path = _keep(text)
    line = str(error).strip().splitlines()
    return XgwError(
        f"xgw failed in a way it should not: {type(error).__name__}{f': {line[0]}' if line else ''}",
        cause=f"a fault in xgw; the traceback is in {path}" if path else "a fault in xgw; its traceback was not kept",
        fix="run it again with --debug, and report it with that file" if path else "run it again with --debug",
    )


def _keep(text: str) -> Path | None:
    """Where the traceback was written: the state directory, or none when it cannot be written. For its owner only."""
    from xgw.settings import state_home

    with suppress(OSError):
        home = state_home()
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = home / LAST_ERROR
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(f"xgw {__version__}, Python {sys.version.split()[0]}\n{text}")
        return path
    return None
