"""Commands that end in every way a command can end, for the tests of what the shell then sees."""

from __future__ import annotations

import click

from xgw import errors
from xgw.cli.options import Invocation, confirm, leaf, show
from xgw.report import Report

KINDS: dict[str, type[errors.XgwError]] = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.XgwError)
}


@leaf("end", examples=(("xgw end fine", "All is well."),))
@click.argument("how")
@click.option("--text", default="the message")
def end(invocation: Invocation, how: str, text: str) -> int | None:
    """End as told."""
    if how in KINDS:
        raise KINDS[how](text, cause="the cause", fix="the fix")
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "broken-socket":
        raise BrokenPipeError(32, "a server closed its end")
    if how == "unforeseen":
        raise ZeroDivisionError(text)
    if how == "ask":
        confirm(invocation, "Really?")
    if how.isdigit():
        return int(how)
    show(invocation, Report("end", ("how", "text"), [(how, text)]))
    return None
