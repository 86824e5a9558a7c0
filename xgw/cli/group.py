"""Groups that load a command only when it is the one that was asked for, and help that starts with examples."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import click
from click.shell_completion import CompletionItem

from xgw.errors import UsageFault

Table = Mapping[str, Mapping[str, tuple[str, str]]]
"""Section -> command name -> ("module:attribute", one-line help). The help is here so that listing imports nothing."""

Examples = Sequence[tuple[str, str]]
"""(command line, what it does), the most useful first."""


class Formatter(click.HelpFormatter):
    """Headings in capitals, bold where the stream has colour (the text is the same without)."""

    def write_heading(self, heading: str) -> None:
        """One heading line."""
        self.write(f"{'':>{self.current_indent}}{click.style(heading.upper(), bold=True)}\n")

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """The usage under its own heading, like the other sections."""
        self.write_paragraph()
        self.write_heading("Usage")
        self.write(f"  {prog} {args}".rstrip() + "\n")


class HelpContext(click.Context):
    """The context of every command: our formatter."""

    formatter_class = Formatter


class CommonOption(click.Option):
    """An option that every command has; help lists these last, under their own heading."""


def _show_help(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        write_help(ctx)
        ctx.exit()


def help_option() -> CommonOption:
    """-h/--help. Ours and not click's, which would end the process when the reader of the help has left."""
    return CommonOption(
        ["-h", "--help", "show_help"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        help="Show this help.",
        callback=_show_help,
    )


def write_help(ctx: click.Context) -> None:
    """The help of this context's command, to stdout, in colour where that is wanted."""
    import sys

    from xgw.cli.streams import style_of, write_out

    text = ctx.get_help().rstrip("\n") + "\n"
    choice = getattr(ctx.find_root().obj, "color", "auto")
    write_out(text if style_of(sys.stdout, choice).colour else click.unstyle(text))


class Leaf(click.Command):
    """A command that does something. Its help: EXAMPLES, usage, what it does, its options, the options all share."""

    context_class = HelpContext

    def __init__(self, name: str | None, *, examples: Examples = (), **kwargs: Any) -> None:
        super().__init__(name, **{**kwargs, "add_help_option": False})
        self.examples = tuple(examples)
        self.params.append(help_option())

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples before everything else."""
        write_examples(self.examples, formatter)
        super().format_help(ctx, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The command's own options first; those on every command in a section of their own."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": [], "Common options": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                sections["Common options" if isinstance(param, CommonOption) else "Options"].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class LazyGroup(click.Group):
    """A group whose commands stand in a static table. Asked for nothing, it shows its help and succeeds."""

    context_class = HelpContext

    def __init__(self, name: str | None, *, table: Table, examples: Examples = (), **kwargs: Any) -> None:
        super().__init__(name, **{**kwargs, "invoke_without_command": True, "add_help_option": False})
        self.table = table
        self.examples = tuple(examples)
        self.params.append(help_option())

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the table, in its order."""
        return [name for section in self.table.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the one module that holds the command; None when there is no such name."""
        for section in self.table.values():
            if cmd_name in section:
                module, _, attribute = section[cmd_name][0].partition(":")
                return cast(click.Command, getattr(importlib.import_module(module), attribute))
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; an unknown name is answered with the nearest one."""
        known = self.list_commands(ctx)
        if args[0].startswith("-") or args[0] in known:
            return super().resolve_command(ctx, args)
        raise no_such_command(ctx.command_path, args[0], known, self.deeper())

    def deeper(self) -> list[str]:
        """The commands of the groups in here, as `contacts import`. Imports them: for a name that nobody knows."""
        found = (
            (name, self.get_command(click.Context(self), name)) for name in self.list_commands(click.Context(self))
        )
        groups = [(name, group) for name, group in found if isinstance(group, LazyGroup)]
        return [f"{name} {below}" for name, group in groups for below in group.list_commands(click.Context(group))]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names and helps from the table: completing imports no command."""
        items = [
            CompletionItem(name, help=text)
            for section in self.table.values()
            for name, (_, text) in section.items()
            if name.startswith(incomplete)
        ]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples before everything else."""
        write_examples(self.examples, formatter)
        super().format_help(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One section a group of the table."""
        for title, section in self.table.items():
            with formatter.section(title):
                formatter.write_dl([(name, text) for name, (_, text) in section.items()])


@click.pass_context
def help_when_alone(ctx: click.Context) -> int:
    """The callback of every group: its help when no command was named."""
    if ctx.invoked_subcommand is None:
        write_help(ctx)
    return 0


def lazy_group(name: str, table: Table, examples: Examples, text: str) -> LazyGroup:
    """A group over a table."""
    return LazyGroup(name, table=table, examples=examples, help=text, callback=help_when_alone)


def no_such_command(path: str, name: str, known: Sequence[str], deeper: Sequence[str] = ()) -> UsageFault:
    """The fault for a name that is not a command, with the nearest that is: one of `deeper` that is called just so, then one
    of `known`, then another of `deeper`."""
    from xgw.words import nearest

    below = {words.rpartition(" ")[2]: words for words in reversed(deeper)}
    near = below.get(name) or nearest(name, known) or below.get(nearest(name, below), "")
    fix = f"did you mean: {path} {near}" if near else f"see what there is: {path} --help"
    return UsageFault(f"there is no command {path} {name}", cause=f"{path} knows {', '.join(known)}", fix=fix)


def write_examples(examples: Examples, formatter: click.HelpFormatter) -> None:
    """The EXAMPLES section."""
    if examples:
        with formatter.section("Examples"):
            formatter.write_dl(list(examples), col_max=50)
