"""The only formatter: one report in, the text of one output format out. Nothing here writes anywhere.

stdout is data. JSON is versioned ({"schema": "xgw.<noun>/v1", ...}) and only grows within a version; the table for
people may change at any time. Text that came from a target or a file is shown with its control and direction
characters escaped, so that no log line can repaint a terminal or reorder a screen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from xgw import __version__
from xgw.widths import Kind, cut, flow, room_in, shares, span, wrap
from xgw.words import relative

Output = Literal["table", "json", "jsonl", "csv", "tsv", "md"]
OUTPUTS: tuple[Output, ...] = ("table", "json", "jsonl", "csv", "tsv", "md")

Sign = Literal["", "ok", "fail", "warn", "skip", "change", "add", "remove"]


@dataclass(frozen=True)
class Style:
    """What one stream can carry: colours, signs beyond ASCII, and how many columns; None where no terminal reads it."""

    colour: bool = False
    ascii: bool = True
    width: int | None = None


PLAIN = Style()

SYMBOLS: Mapping[str, tuple[str, str]] = {
    "ok": ("✓", "ok"),
    "fail": ("✗", "FAIL"),
    "warn": ("!", "!"),
    "skip": ("-", "-"),
    "change": ("~", "~"),
    "add": ("+", "+"),
    "remove": ("-", "-"),
    "to": ("→", "->"),
    "back": ("↺", "<-"),
    "bar": ("█", "#"),
    "more": ("…", "..."),
}
"""Name -> the sign, and what stands for it in ASCII."""

COLOURS: Mapping[str, str] = {
    "ok": "32",
    "fail": "31;1",
    "warn": "33",
    "change": "33",
    "add": "32",
    "remove": "31",
    "skip": "2",
    "dim": "2",
    "bold": "1",
}


@dataclass(frozen=True)
class Cell:
    """A cell whose text has a sign, in that sign's colour where the stream carries it. Data formats keep the text."""

    text: str
    sign: Sign = ""


@dataclass(frozen=True)
class When:
    """A moment. People read how long ago it was, or with `clock` the time of the day; data formats have ISO 8601 in UTC."""

    at: datetime
    clock: bool = False

    def told(self) -> str:
        """As people read it."""
        if self.clock:
            return self.at.astimezone(UTC).strftime("%H:%M:%S.%f")[:-3]
        return relative(self.at, datetime.now(UTC))


Value = str | int | float | bool | None | Cell | When


@dataclass(frozen=True)
class Report:
    """What a command has to say: `data` for machines; columns and rows, between head and foot lines, for people.

    Without `data` the rows are the data, one object per row under the column names. `dense`: in the table for
    people whole numbers stand as 1,234, and columns are no wider than they need. `brief` names the columns that only
    describe: where the terminal is too narrow they are cut, while all others wrap and stay whole. `flat` is what csv and
    tsv are made of where the table is made for eyes; a report that is no table has its data there, one row an item.
    """

    noun: str
    columns: tuple[str, ...] = ()
    rows: Sequence[Sequence[Value]] = ()
    head: Sequence[str] = ()
    foot: Sequence[str] = ()
    data: object = None
    dense: bool = False
    brief: tuple[str, ...] = ()
    flat: Report | None = None


def symbol(name: str, style: Style = PLAIN) -> str:
    """The sign of that name as this stream can carry it."""
    return SYMBOLS[name][style.ascii]


def paint(text: str, tone: str, style: Style) -> str:
    """`text` in the colour of `tone` (a key of COLOURS), or as it is where the stream has no colour."""
    return f"\x1b[{COLOURS[tone]}m{text}\x1b[0m" if style.colour and tone in COLOURS else text


def signed(text: str, sign: str, style: Style) -> str:
    """The sign and the text, coloured alike: "✓ memory under load". `text` must be safe already."""
    return paint(f"{symbol(sign, style)} {text}", sign, style)


_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def _escaped(match: re.Match[str]) -> str:
    sign = match[0]
    return _SHORT.get(sign) or (f"\\x{ord(sign):02x}" if ord(sign) < 0x100 else f"\\u{ord(sign):04x}")


def safe(text: str) -> str:
    """`text` on one line with control, direction and invisible characters and lone surrogates written as escapes."""
    return _UNSAFE.sub(_escaped, text)


def iso(at: datetime) -> str:
    """A moment for machines, as the ledger writes it: ISO 8601, UTC, milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


def dumps(value: object, *, indent: int | None = None) -> str:
    """JSON as every part writes it: keys in order of meaning, no NaN, unsafe characters as \\uXXXX."""
    import json

    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, default=_plain_value)
    return _UNSAFE.sub(lambda m: m[0] if m[0] == "\n" else f"\\u{ord(m[0]):04x}", text)


def _plain_value(value: object) -> object:
    from dataclasses import asdict, is_dataclass

    if isinstance(value, Cell):
        return value.text
    if isinstance(value, When):
        return iso(value.at)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)


def render(report: Report, output: str = "table", style: Style = PLAIN) -> str:
    """The text of the report in that format, ending in a newline, or empty when there is nothing to say."""
    if output == "json":
        data = _data(report)
        return dumps({"schema": f"xgw.{report.noun}/v1", "xgw": __version__, "data": data}, indent=2) + "\n"
    if output == "jsonl":
        data = _data(report)
        items = data if isinstance(data, (list, tuple)) else [data]
        return "".join(f"{dumps(item)}\n" for item in items)
    if output == "csv":
        return _csv(report)
    if output == "tsv":
        columns, rows = _records(report)
        lines = [columns, *([_text(cell) for cell in row] for row in rows)] if columns else []
        return "".join("\t".join(safe(cell) for cell in line) + "\n" for line in lines)
    if output == "md":
        return _markdown(report)
    return _table(report, style)


def _data(report: Report) -> object:
    if report.data is not None:
        return report.data
    names = [column.lower().replace(" ", "_") for column in report.columns]
    return [dict(zip(names, (c.text if isinstance(c, Cell) else c for c in row), strict=True)) for row in report.rows]


def _records(report: Report) -> tuple[Sequence[str], Sequence[Sequence[Value]]]:
    """Columns and rows for csv and tsv; what is no single value is JSON in its cell."""
    made = report.flat or report
    if made.columns:
        return made.columns, made.rows
    data = made.data if isinstance(made.data, (list, tuple)) else [made.data]
    items = [item for item in data if isinstance(item, Mapping)]
    names = list(dict.fromkeys(name for item in items for name in item))
    return names, [[_single(item.get(name)) for name in names] for item in items]


def _single(value: object) -> Value:
    if value is None or isinstance(value, (str, int, float, Cell, When)):
        return value
    return When(value) if isinstance(value, datetime) else dumps(value)


def _text(cell: Value) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, When):
        return iso(cell.at)
    return cell.text if isinstance(cell, Cell) else str(cell)


def _table(report: Report, style: Style) -> str:
    lines = [part for line in report.head for part in flow(line, style.width)]
    if report.rows:
        lines.extend(_tabulated(report, style))
    lines.extend(part for line in report.foot for part in flow(line, style.width))
    return "".join(f"{line}\n" for line in lines)


def _tabulated(report: Report, style: Style) -> Sequence[str]:
    columns = list(zip(*report.rows, strict=True))
    aligns = ["right" if all(_is_number(cell) for cell in column) else "left" for column in columns]
    rows = [[_in_groups(cell) if report.dense else cell for cell in row] for row in report.rows]
    heads = [paint(name.upper(), "bold", style) for name in report.columns]
    lines = _aligned(heads, [[_shown(cell, style) for cell in row] for row in rows], aligns, report.dense)
    if style.width is None or all(span(line) <= style.width for line in lines):
        return lines
    names = [name.upper() for name in report.columns]
    texts = [["\u00a0".join(_parts(cell, style)) for cell in row] for row in rows]
    cells = list(zip(names, *texts, strict=True))
    kinds: list[Kind] = [
        "stiff" if align == "right" else "brief" if name in report.brief else "text"
        for align, name in zip(aligns, report.columns, strict=True)
    ]
    widths = shares(cells, kinds, style.width)
    if widths is None:
        return _listed(report, rows, style)
    room = [room_in(column, width) for column, width in zip(cells, widths, strict=True)]
    fitted = [[_block(*each, style) for each in zip(row, room, kinds, strict=True)] for row in rows]
    return _aligned(heads, fitted, aligns, dense=True)


def _aligned(heads: Sequence[str], rows: Sequence[Sequence[str]], aligns: Sequence[str], dense: bool) -> list[str]:
    from tabulate import tabulate

    if dense:  # a header of tabulate's own takes two columns more than it has signs
        text = tabulate([heads, *rows], tablefmt="plain", disable_numparse=True, colalign=aligns)
    else:
        text = tabulate(rows, headers=heads, tablefmt="plain", disable_numparse=True, colalign=aligns)
    return [line.rstrip() for line in text.split("\n")]


def _listed(report: Report, rows: Sequence[Sequence[Value]], style: Style) -> list[str]:
    """The rows one below the other, for a terminal that is too narrow for the table."""
    wide = max(map(len, report.columns)) + 2
    lines: list[str] = []
    for row in rows:
        if lines and _shown(row[0], style).strip():  # a row that goes on with the one above it stands with it
            lines.append("")
        for name, cell in zip(report.columns, row, strict=True):
            block = _block(cell, (style.width or 0) - wide, "brief" if name in report.brief else "text", style)
            if block.strip():
                head = paint(name.upper(), "bold", style) + " " * (wide - len(name))
                lines.append(head + block.replace("\n", "\n" + " " * wide))
    return lines


def _block(cell: Value, width: int, kind: Kind, style: Style) -> str:
    """A cell in lines of that width; what follows a sign stays clear of it."""
    *lead, text = _parts(cell, style)
    indent = sum(len(sign) + 1 for sign in lead)
    room = max(width - indent, 2)
    lines = [cut(text, room, symbol("more", style))] if kind == "brief" else wrap(text, room)
    shown = [" ".join([*lead, lines[0]]), *(" " * indent + line for line in lines[1:])]
    return "\n".join(paint(line, cell.sign, style) if isinstance(cell, Cell) else line for line in shown)


def _parts(cell: Value, style: Style) -> Sequence[str]:
    """The text of a cell; before it its sign, if it has one."""
    if isinstance(cell, Cell) and cell.sign:
        return symbol(cell.sign, style), safe(cell.text)
    if isinstance(cell, When):
        return (cell.told(),)
    return (safe(_text(cell)) or "-",)


def _is_number(cell: Value) -> bool:
    return cell is None or (isinstance(cell, (int, float)) and not isinstance(cell, bool))


def _in_groups(cell: Value) -> Value:
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else cell


def _shown(cell: Value, style: Style) -> str:
    text = " ".join(_parts(cell, style))
    return paint(text, cell.sign, style) if isinstance(cell, Cell) else text


def _csv(report: Report) -> str:
    import csv
    import io

    out = io.StringIO()
    columns, rows = _records(report)
    if columns:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_neutral(cell) for cell in row] for row in rows)
    return out.getvalue()


def _neutral(cell: Value) -> str:
    """A CSV cell that no spreadsheet takes for a formula; numbers stay numbers."""
    text = _UNSAFE.sub(lambda m: m[0] if m[0] in "\n\t" else _escaped(m), _text(cell))
    risky = isinstance(cell, (str, Cell)) and text[:1] in ("=", "+", "-", "@", "\t", "\n")
    return f"'{text}" if risky else text


def _markdown(report: Report) -> str:
    lines = [*(_md(line) for line in report.head), *([""] if report.head and report.rows else [])]
    if report.rows:
        lines.append("| " + " | ".join(_md(name) for name in report.columns) + " |")
        lines.append("|" + " --- |" * len(report.columns))
        lines.extend("| " + " | ".join(_md(_text(cell)) for cell in row) + " |" for row in report.rows)
    lines.extend([*([""] if report.foot and lines else []), *(_md(line) for line in report.foot)])
    return "".join(f"{line}\n" for line in lines)


_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~#])")


def _md(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", safe(text))
