"""Writes the parts of the documentation that are derived from the code.

    python docs/generate.py          write them
    python docs/generate.py --check  write nothing; exit 1 and name the pages that differ

docs/reference/commands.md is generated whole. In other pages a block between `<!-- generated: NAME -->` and
`<!-- end -->` is; everything around it is written by hand. tests/unit/test_docs.py holds the pages to this.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
COMMANDS_PAGE = DOCS / "reference" / "commands.md"
_BLOCK = re.compile(r"<!-- generated: (?P<name>[a-z0-9-]+) -->\n.*?<!-- end -->", re.DOTALL)


def pages() -> dict[Path, str]:
    """Every page that holds something generated, as it has to be now."""
    found = {COMMANDS_PAGE: commands()}
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        if path != COMMANDS_PAGE and _BLOCK.search(text):
            found[path] = _BLOCK.sub(_filled, text)
    return found


def _filled(match: re.Match[str]) -> str:
    name = match["name"]
    return f"<!-- generated: {name} -->\n{BLOCKS[name]()}\n<!-- end -->"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a pipe inside a cell is escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(text: str) -> str:
    """`text` as code; nothing for nothing."""
    return f"`{text}`" if text else ""


# --- the command line -------------------------------------------------------------------------------------------------


def commands() -> str:
    """docs/reference/commands.md."""
    from xgw.cli.main import COMMANDS, EXAMPLES, build_root

    root = build_root()
    parts = [
        "# Commands",
        "Generated from the command line itself by `python docs/generate.py`; a test compares. `xgw COMMAND --help` says "
        "the same on screen.",
        _examples(EXAMPLES),
        "## Options that every command has",
        _options(_leaf_of(root), common=True),
    ]
    for section, names in COMMANDS.items():
        parts.append(f"## {section}")
        for name in names:
            parts += _command(root, (name,))
    return "\n\n".join(part for part in parts if part) + "\n"


def _command(group: object, path: tuple[str, ...]) -> list[str]:
    """One command; a group is followed by its own."""
    import click

    from xgw.cli.group import LazyGroup

    assert isinstance(group, LazyGroup)
    command = group.get_command(click.Context(group), path[-1])
    assert command is not None
    arguments = [
        param.make_metavar(click.Context(command)) for param in command.params if param.param_type_name == "argument"
    ]
    parts = [f"### xgw {' '.join([*path, *arguments])}", inspect.cleandoc(command.help or "")]
    parts += [_examples(getattr(command, "examples", ())), _options(command, common=False)]
    if isinstance(command, LazyGroup):
        for name in command.list_commands(click.Context(command)):
            parts += _command(command, (*path, name))
    return parts


def _examples(examples: Sequence[tuple[str, str]]) -> str:
    width = max((len(line) for line, _ in examples), default=0)
    lines = [f"{line:<{width}}  # {text}" for line, text in examples]
    return "\n".join(["```sh", *lines, "```"]) if lines else ""


def _options(command: object, *, common: bool) -> str:
    import click

    from xgw.cli.group import CommonOption

    assert isinstance(command, click.Command)
    wanted = [p for p in command.params if isinstance(p, click.Option) and isinstance(p, CommonOption) is common]
    return "\n".join(f"- `{_spelled(option)}` {option.help or ''}{_default(option)}" for option in wanted)


def _spelled(option: object) -> str:
    import click

    assert isinstance(option, click.Option)
    names = ", ".join(option.opts)
    if option.is_flag or option.count:
        return names
    choices = "|".join(option.type.choices) if isinstance(option.type, click.Choice) else ""
    return f"{names} {option.metavar or choices or option.type.name.split()[0].upper()}"


def _default(option: object) -> str:
    import click

    assert isinstance(option, click.Option)
    return f" Default: {option.default}." if option.show_default else ""


def _leaf_of(root: object) -> object:
    import click

    from xgw.cli.group import LazyGroup

    assert isinstance(root, LazyGroup)
    return root.get_command(click.Context(root), "status")


# --- blocks -----------------------------------------------------------------------------------------------------------


def exit_codes() -> str:
    """Every exit code and what it says."""
    from xgw.cli.topics import MEANINGS

    rows = [(str(int(code_)), code_.name.lower().replace("_", "-"), text) for code_, text in MEANINGS.items()]
    return table(("code", "name", "meaning"), rows)


def faults_by_code() -> str:
    """Exit code -> the kinds of fault that end with it, from xgw/errors.py."""
    from xgw import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.XgwError)]
    rows = [(str(int(k.exit_code)), code(k.__name__), " ".join((k.__doc__ or "").split())) for k in kinds]
    return table(("code", "fault", "what it says"), sorted(rows, key=lambda row: (int(row[0]), row[1])))


def settings() -> str:
    """Every key of xgw.toml with its default, variable, flag and legal values."""
    from xgw.settings import SCALARS

    rows = [
        (
            code(name),
            code(str(scalar.default)) if scalar.default is not None else "unset",
            code(scalar.variable),
            code(scalar.flag),
            _wanted(scalar.check),
        )
        for name, scalar in SCALARS.items()
    ]
    return table(("key", "default", "variable", "flag", "wants"), rows)


def _wanted(check: Callable[[object], object]) -> str:
    """What a check asks for, in its own words."""
    try:
        check(object())
    except ValueError as wanted:
        return str(wanted)
    return ""


def override_fields() -> str:
    """What an override may set."""
    from xgw.settings import FIELDS

    rows = [(code(name), _wanted(check)) for name, check in FIELDS.items()]
    return table(("field", "wants"), [*rows, (code("env"), "a table of names and strings: variables of the container")])


def variables() -> str:
    """The variables that are no settings."""
    from xgw.cli.topics import VARIABLES

    return table(("variable", "meaning"), [(code(name), text) for name, text in VARIABLES.items()])


def moves() -> str:
    """The transition table of an attempt."""
    from xgw.ledger import MOVES, OPEN

    rows = [
        (
            code(state) if state else "(nothing yet)",
            ", ".join(code(k) for k in sorted(after)) or "nothing",
            "yes" if state in OPEN else "",
        )
        for state, after in MOVES.items()
    ]
    return table(("state", "may be followed by", "left for the next run to finish"), rows)


def notes() -> str:
    """Record kinds that move no attempt."""
    from xgw.ledger import NOTES

    return ", ".join(code(kind) for kind in sorted(NOTES))


def ledger_schema() -> str:
    """The ledger's SQL, as it is executed."""
    from xgw.ledger_file import SCHEMA

    return f"```sql\n{SCHEMA.strip()}\n```"


def fault_points() -> str:
    """Where XGW_FAULT can strike, in the order of the list in the code."""
    from xgw.faults import POINTS

    return ", ".join(code(point) for point in POINTS)


def import_fault_points() -> str:
    """Those of the contacts commands."""
    from xgw.faults import IMPORT_POINTS

    return ", ".join(code(point) for point in IMPORT_POINTS)


def images() -> str:
    """The image names that the local target knows."""
    from xgw.local.faults import KINDS
    from xgw.local.images import PROGRAMS

    rows = []
    for name, program in PROGRAMS.items():
        text = (
            " ".join((KINDS[program.arguments[0]].__doc__ or "").split())
            if program.arguments
            else "The bundled runtime: gateway, CRM engine, Slack and Gmail stand-ins."
        )
        rows.append((code(name), text))
    return table(("image", "what it does"), rows)


def steps_of(number: int) -> str:
    """A phase as the code has it."""
    from xgw.plan import phases

    rows = []
    for step in phases()[number - 1].steps:
        writes = [f"{change.role}: {', '.join(_short(change.wanted()))}" for change in step.changes]
        probes = dict.fromkeys(re.sub(r" of \w+$", "", probe.name) for probe in step.probes)
        rows.append((step.id, step.title, "; ".join(writes), ", ".join(probes), ", ".join(step.requirements)))
    return table(("step", "title", "writes", "measured by", "requirement"), rows)


def _short(fields: Mapping[str, str]) -> list[str]:
    return [code(f"{name.removeprefix('env.')}={value}") for name, value in fields.items()]


def imports() -> str:
    """Who may import whom, from the table that the test holds."""
    from tests.unit.test_imports import CLI, MAY_IMPORT

    def told(names: Sequence[str]) -> str:
        shared = set(CLI) <= set(names)
        listed = [code(name) for name in names if not (shared and name in CLI)]
        return ", ".join([*(["what `xgw.cli` may"] if shared else []), *listed]) or "nothing here"

    rows = [
        (code(row), told(names) if row != "xgw.cli" else ", ".join(map(code, names)))
        for row, names in MAY_IMPORT.items()
    ]
    return table(("module or package", "may import"), rows)


def doors() -> str:
    """Foreign libraries and the only places that import them."""
    from tests.unit.test_imports import DOORS

    return table(("library", "imported only by"), [(code(k), ", ".join(map(code, v))) for k, v in DOORS.items()])


def reject_codes() -> str:
    """Why a row is rejected."""
    from xgw.importer.again import FITTED, MOVED
    from xgw.importer.reasons import REASONS

    kept = {name for name, reason in REASONS.items() if reason.broken} | {*FITTED} - {MOVED}
    rows = [(code(name), reason.text, reason.fix, "yes" if name in kept else "") for name, reason in REASONS.items()]
    return table(("code", "what is wrong", "what to do", "`xgw_raw`"), rows)


def column_names() -> str:
    """The names by which a column is known."""
    from xgw.importer.columns import NAMES

    return table(("holds", "names"), [(name, names.replace("|", ", ")) for name, names in NAMES.items()])


def recognised_exports() -> str:
    """The exports that are known by their columns."""
    from xgw.importer.columns import EXPORTS

    rows = [
        (
            export.name,
            _either(", ".join(export.signs)) + ("; also all in capitals" if export.capitals else ""),
            ", ".join(map(code, export.date_formats)),
        )
        for export in EXPORTS
    ]
    return table(("export", "has the columns", "dates, besides RFC 3339"), rows)


def _either(columns: str) -> str:
    """Names of columns as people read them."""
    return columns.replace("|", " or ")


def export_fields() -> str:
    """What becomes of the columns of a recognised export."""
    from xgw.importer.columns import EXPORTS

    def told(fields: Mapping[str, Sequence[str]]) -> str:
        if all(columns == (name,) for name, columns in fields.items()):
            return f"every field from the column of its name: {', '.join(code(name) for name in fields)}"
        return "; ".join(f"{code(name)} = {_either(' + '.join(columns))}" for name, columns in fields.items())

    rows = [(export.name, told(export.fields)) for export in EXPORTS]
    return table(("export", "field = columns"), rows)


def export_values() -> str:
    """Words of recognised exports that are translated."""
    from xgw.importer.columns import EXPORTS

    words = [
        (export.name, code(field), code(spelling), code(word))
        for export in EXPORTS
        for field, spellings in export.values.items()
        for spelling, word in spellings.items()
    ]
    return table(("export", "field", "spelling, in any case", "becomes"), words)


def mapping_file() -> str:
    """The keys of a mapping file."""
    from xgw.importer.mapping_file import KEYS

    return table(("key", "meaning"), [(code(key), text) for key, text in KEYS.items()])


BLOCKS: Mapping[str, Callable[[], str]] = {
    "reject-codes": reject_codes,
    "column-names": column_names,
    "recognised-exports": recognised_exports,
    "export-fields": export_fields,
    "export-values": export_values,
    "mapping-file": mapping_file,
    "exit-codes": exit_codes,
    "faults-by-code": faults_by_code,
    "settings": settings,
    "override-fields": override_fields,
    "variables": variables,
    "moves": moves,
    "notes": notes,
    "ledger-schema": ledger_schema,
    "fault-points": fault_points,
    "import-fault-points": import_fault_points,
    "images": images,
    "phase1-steps": partial(steps_of, 1),
    "phase2-steps": partial(steps_of, 2),
    "phase3-steps": partial(steps_of, 3),
    "imports": imports,
    "doors": doors,
}


def main(arguments: Sequence[str]) -> int:
    """Write, or with --check compare; the exit code."""
    stale = [path for path, text in pages().items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
        if "--check" not in arguments:
            path.write_text(pages()[path], encoding="utf-8")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main(sys.argv[1:]))
