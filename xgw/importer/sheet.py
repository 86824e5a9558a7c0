"""What a file says about itself before its first row: encoding, delimiter, quote, line ends, the header. Stated, not guessed."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway_runtime.contacts.checks import InvalidContact, custom_key
from xgw.errors import UsageFault
from xgw.importer.columns import CUSTOM, EXPORT_NAMES, EXPORTS, KNOWN, OWN, OWN_HEAD, plain_name
from xgw.importer.encodings import Encoding, marked, stated
from xgw.importer.reasons import LIMIT, shown
from xgw.importer.source import Source

DELIMITERS: Mapping[str, str] = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
NEWLINES: Mapping[str, str] = {"\r\n": "CRLF", "\n": "LF", "\r": "CR", "\r\r\n": "CR CR LF", "": "no"}
OURS = ("xgw_line", "xgw_byte", "xgw_code", "xgw_reason", "xgw_raw")
"""Columns that a rejects file adds; they are left out again when it is imported."""
SEP_LINE = "sep= line"
"""How a delimiter was found that Excel's first line names."""
_OWN_SIGNS = next(frozenset(export.signs) for export in EXPORTS if export.name == OWN)
_OUR_NAMES = frozenset(map(plain_name, OURS))


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two rows: the byte there, and how many rows and lines lie before it."""

    byte: int
    row: int
    line: int


@dataclass(frozen=True)
class Dialect:
    """How the file is written. `how` says for each of the others how it was found: "header names", "--delimiter", …"""

    encoding: Encoding
    delimiter: str
    quote: str
    newline: str
    header_line: int
    how: Mapping[str, str]

    def told(self) -> str:
        """One line for people: utf-8 with BOM, ';' delimiter, CRLF."""
        mark = " with BOM" if self.encoding.bom else ""
        sign = "tab" if self.delimiter == "\t" else f"{self.delimiter!r}"
        return f"{self.encoding.name}{mark}, {sign} delimiter, {NEWLINES[self.newline]} line ends"

    @property
    def break_(self) -> str:
        """What ends a line: LF, and CR only where the header ends with a lone one."""
        return "\r" if self.newline == "\r" else "\n"

    def reader(self, lines: Iterable[str]) -> csv._reader:  # type: ignore[name-defined]
        """csv.reader as strict as it gets: text after a closing quote and a quote without end are errors."""
        return csv.reader(lines, delimiter=self.delimiter, quotechar=self.quote, strict=True)


@dataclass(frozen=True)
class Sheet:
    """A file whose header was read. `width` counts the fields of a row, the columns of a rejects file (OURS) included."""

    dialect: Dialect
    columns: tuple[str, ...]
    width: int
    start: Position
    header: bytes
    """The header line as it stands in the file, without its line end and OURS."""

    @property
    def again(self) -> bool:
        """Whether this is a rejects file."""
        return self.width > len(self.columns)


def open_sheet(source: Source, *, encoding: str = "", delimiter: str = "", known: Iterable[str] = ()) -> Sheet:
    """Read what stands before the first row. `known` names columns somebody mapped by hand: they help to find the delimiter."""
    code = stated(encoding, source.head) if encoding else _encoding(source)
    if delimiter and (
        len(delimiter) != 1 or delimiter in "\"'_\r\n\0" or not delimiter.isascii() or delimiter.isalnum()
    ):
        cause = "it must be one sign of ASCII, and no letter, digit, quote or line end"
        raise UsageFault(
            f"--delimiter '{shown(delimiter)}' cannot separate fields", cause=cause, fix="one of , ; | or a tab"
        )
    text = code.decode(source.head[len(code.bom) :])
    at, line, told = _skipped(text)
    record, newline = _record(text, at, whole=source.size <= len(source.head))
    quote = _quote(record)
    found, how = (delimiter, "--delimiter") if delimiter else (told, SEP_LINE) if told else ("", "")
    if not found and (record + ",").startswith(OWN_HEAD + ","):
        found, how = ",", "our own header"
    if not found:
        found, how = _delimiter(record, quote, frozenset(map(plain_name, known)))
    cells = _names(_cells(record, found, quote))
    ways = {"encoding": code.how, "delimiter": how, "quote": "header", "newline": "header line"}
    dialect = Dialect(code, found, quote, newline, line, ways)
    added = len(OURS) if tuple(cells[-len(OURS) :]) == OURS else 0
    columns = tuple(cells[: len(cells) - added])
    _check(columns, found, source.name)
    end = at + len(record) + len(newline)
    start = Position(min(len(code.bom) + code.size(text[:end]), source.size), 0, line + record.count(dialect.break_))
    header = code.encode(record.removesuffix(found + ours(found, quote)))
    return Sheet(dialect, columns, len(cells), start, header)


def ours(delimiter: str, quote: str) -> str:
    """Our columns as a header line ends with them."""
    return delimiter.join(f"'{name}'" if quote == "'" else name for name in OURS)


def _encoding(source: Source) -> Encoding:
    if found := marked(source.head):
        return found
    zeros = source.head[:1000].count(0)
    if zeros:
        even = source.head[:1000:2].count(0)
        likely = "utf-16-be" if even > zeros - even else "utf-16-le"
        wide = zeros > len(source.head[:1000]) // 4
        raise UsageFault(
            f"{source.name} is not text in UTF-8",
            cause=f"it holds NUL bytes from byte {source.head.index(0)} on" + (", as UTF-16 does" if wide else ""),
            fix=f"--encoding {likely}, if it is one"
            if wide
            else "export it again as CSV; --encoding utf-8 reads it all the same",
        )
    if source.not_utf8 is None:
        return Encoding("utf-8", b"", "every byte is UTF-8")
    bad = source.pread(source.not_utf8, 1)[0]
    raise UsageFault(
        f"{source.name} is not UTF-8",
        cause=f"byte {source.not_utf8} is 0x{bad:02x}, and there is no byte order mark",
        fix="--encoding cp1252 if a Western Windows program wrote it; --encoding utf-8 rejects only the rows that are not",
    )


_SEP = re.compile(r'"?sep=([^\r\n"])"?(\r\n|\n|\r)', re.IGNORECASE)
_BLANK = re.compile(r"(?:\r\n|\n|\r)*+")


def _skipped(text: str) -> tuple[int, int, str]:
    """Where the header begins, on which line, and the delimiter that Excel's `sep=` line before it names."""
    at, line, told = 0, 1, ""
    if found := _SEP.match(text):
        at, line, told = found.end(), 2, found[1]
    blank = _BLANK.match(text, at)
    assert blank is not None
    return blank.end(), line + len(re.findall(r"\r\n|\n|\r", blank[0])), told


def _record(text: str, at: int, *, whole: bool) -> tuple[str, str]:
    """The header as text, and the line end after it; quotes are minded where they open a field."""
    inside, before = False, ""
    for place in range(at, len(text)):
        sign = text[place]
        if sign == '"' and (inside or not before.isalnum()):
            inside = not inside
        elif sign in "\r\n" and not inside:
            return text[at:place], next(e for e in ("\r\r\n", "\r\n", sign) if text.startswith(e, place))
        before = sign
    if not whole:
        raise UsageFault(
            "the first line has no end",
            cause=f"none in {len(text)} characters",
            fix="is this a CSV file with a header?",
        )
    if inside:
        raise UsageFault("a quote in the header is not closed", cause="the file ends inside it", fix="close the quote")
    return text[at:], ""


def _quote(record: str) -> str:
    """The double quote; the single one where it stands around the first and last cell and there is no double one."""
    single = len(record) > 2 and record[0] == record[-1] == "'" and '"' not in record
    return "'" if single else '"'


def _cells(record: str, delimiter: str, quote: str) -> list[str]:
    csv.field_size_limit(LIMIT)
    lines = record.splitlines(keepends=True)
    try:
        rows = list(csv.reader(lines, delimiter=delimiter, quotechar=quote, strict=True))
    except csv.Error as error:
        raise UsageFault("the header line cannot be read", cause=str(error), fix="correct its quotes") from error
    return [cell for row in rows for cell in row]


def _names(cells: Sequence[str]) -> list[str]:
    """What the columns are called: blanks in a name are not meant, but for the keys in an export of ours."""
    squeezed = [" ".join(cell.split()) for cell in cells]
    if not _OWN_SIGNS.issubset(squeezed):
        return squeezed
    return [cell if cell.startswith(CUSTOM) else name for cell, name in zip(cells, squeezed, strict=True)]


def _delimiter(record: str, quote: str, known: frozenset[str]) -> tuple[str, str]:
    """The one delimiter under which the header has most known names."""
    scores: dict[str, tuple[int, int]] = {}
    for sign in DELIMITERS:
        try:
            cells = _cells(record, sign, quote)
        except UsageFault:
            continue
        names = [plain_name(cell) for cell in cells]
        scores[sign] = (
            sum(n in KNOWN or n in EXPORT_NAMES or n in _OUR_NAMES or n in known for n in names),
            len(cells),
        )
    if not scores:
        raise UsageFault("the header line cannot be read", cause="its quotes are broken", fix="correct them")
    best = max(scores.values())
    first = [sign for sign, score in scores.items() if score == best]
    if best[0] and (len(first) == 1 or best[1] == 1):
        return first[0], "header names" if best[1] > 1 else "one column"
    raise UsageFault(
        "the delimiter cannot be told from the header",
        cause=f"none of its names is known: {shown(record, 60)}" if not best[0] else "two would do",
        fix="give --delimiter ';' (or , or | or a tab), or name a column with --map email=COLUMN",
    )


_DATA = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+|[-+]?\d+([.,]\d+)?|\d{4}-\d\d-\d\d.*")


def _is_key(cell: str) -> bool:
    """Whether this names a custom field that a contact may have; an export of ours holds them as they are."""
    try:
        return cell.startswith(CUSTOM) and bool(custom_key(cell.removeprefix(CUSTOM)))
    except InvalidContact:
        return False


def _check(columns: Sequence[str], delimiter: str, name: str) -> None:
    """A header is there, and every column has a name of its own."""
    data = [cell for cell in columns if _DATA.fullmatch(cell) and not cell.startswith(CUSTOM)]
    if data:
        raise UsageFault(
            f"{name} has no header line",
            cause=f"its first line holds data: {shown(data[0])}",
            fix="add a line of column names",
        )
    odd = [cell for cell in columns if not cell.isprintable() and not _is_key(cell)]
    if odd:
        raise UsageFault(
            f"a column name cannot be read: {shown(odd[0])}",
            cause="it holds control characters or is not in the file's encoding",
            fix="rename the column, or give another --encoding",
        )
    empty = [str(place) for place, cell in enumerate(columns, 1) if not cell]
    if empty:
        raise UsageFault(
            f"the header has no name for column {', '.join(empty[:5])}{' …' if len(empty) > 5 else ''}",
            cause=f"{len(columns)} columns, delimiter {delimiter!r}",
            fix="name it, or delete the column",
        )
    seen: set[str] = set()
    for place, cell in enumerate(columns, 1):
        if cell in seen:
            raise UsageFault(
                f"the header has two columns named '{shown(cell)}'",
                cause=f"columns {columns.index(cell) + 1} and {place}",
                fix="rename one of them",
            )
        seen.add(cell)
