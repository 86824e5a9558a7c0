"""Every command of `xgw`, found by walking its tables."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click

from xgw.cli.group import LazyGroup
from xgw.cli.main import build_root

SHELL_ENDS = {"|", ">", ">>", "&&", "||"}


def walk(group: LazyGroup | None = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """(words after `xgw`, command), the root first."""
    group = group or build_root()
    yield path, group
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None, (path, name)
        if isinstance(command, LazyGroup):
            yield from walk(command, (*path, name))
        else:
            yield (*path, name), command


EVERY = dict(walk())
PATHS = [" ".join(path) for path in EVERY]
EXAMPLES = [line for command in EVERY.values() for line, _ in getattr(command, "examples", ())]


def parse(line: str) -> click.Context:
    """The context of the command an example names, its arguments parsed and nothing run."""
    words = shlex.split(line)
    words = words[: next((at for at, word in enumerate(words) if word in SHELL_ENDS), len(words))]
    assert words[0] == "xgw", line
    command: click.Command = build_root()
    parent, rest, name = None, words[1:], "xgw"
    while isinstance(command, LazyGroup):
        ctx = command.make_context(name, rest, parent=parent, resilient_parsing=False)
        rest = [*ctx._protected_args, *ctx.args]
        if not rest:
            return ctx
        found, following, rest = command.resolve_command(ctx, rest)
        assert found is not None
        assert following is not None
        parent, command, name = ctx, following, found
    return command.make_context(name, rest, parent=parent)
