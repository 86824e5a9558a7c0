"""`xgw help` and `xgw version`."""

from __future__ import annotations

import click

from xgw.cli.group import LazyGroup, no_such_command, write_help
from xgw.cli.options import Invocation, leaf, require_text, show
from xgw.cli.streams import write_out
from xgw.report import Report
from xgw.words import nearest


@leaf(
    "help",
    examples=(
        ("xgw help", "The topics."),
        ("xgw help exit-codes", "One topic."),
        ("xgw help local up", "The help of a command."),
    ),
)
@click.argument("words", nargs=-1, metavar="[TOPIC | COMMAND...]")
def help_command(invocation: Invocation, words: tuple[str, ...]) -> None:
    """Help on a topic (environment, exit-codes, formats, config) or on a command."""
    from xgw.cli.topics import TOPICS

    if not words:
        rows = [(name, topic[0]) for name, topic in TOPICS.items()]
        show(invocation, Report("help-topics", ("topic", "about"), rows, foot=("", "Read one: xgw help TOPIC")))
    elif len(words) == 1 and words[0] in TOPICS:
        show(invocation, TOPICS[words[0]][1]())
    else:
        require_text(invocation, "the help of a command")
        write_help(_context_of(words))


def _context_of(words: tuple[str, ...]) -> click.Context:
    """The context `words` would run in, without parsing any option. UsageFault for a word nobody knows."""
    from xgw.cli.topics import TOPICS

    ctx = click.get_current_context().find_root()
    for position, word in enumerate(words):
        group = ctx.command
        command = group.get_command(ctx, word) if isinstance(group, LazyGroup) else None
        if command is None:
            known = group.list_commands(ctx) if isinstance(group, LazyGroup) else []
            topic = nearest(word, TOPICS) if position == 0 else ""
            deeper = group.deeper() if isinstance(group, LazyGroup) else []
            fault = no_such_command(ctx.command_path, word, known, deeper)
            fault.fix = f"did you mean: xgw help {topic}" if topic else fault.fix
            raise fault
        ctx = command.context_class(command, info_name=word, parent=ctx)
    return ctx


@leaf("version", examples=(("xgw version", "The version."), ("xgw version -o json", "And the Python it runs on.")))
def version(invocation: Invocation) -> None:
    """Print the version."""
    import platform

    from xgw import __version__

    data = {"version": __version__, "python": platform.python_version(), "platform": platform.platform()}
    rows = [(__version__, data["python"], data["platform"])]
    if invocation.output == "table":
        write_out(f"xgw {__version__}\n")
    else:
        show(invocation, Report("version", ("version", "python", "platform"), rows, data=data))
