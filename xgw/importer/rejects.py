"""Rejected rows, and the file that they go to: a CSV like the one they came from, which imports again when it is mended.

It has the same encoding, delimiter and line ends, the same header, and five columns at the end that are left out on
import: xgw_line, xgw_byte, xgw_code, xgw_reason, xgw_raw. A row that could be split into fields stands there with its
original bytes. One that could not (REASONS: broken) would spoil the file; its fields are left empty, and xgw_raw holds
"raw:" and the row's text with backslash escapes, from which `original` gives back every byte. Mend it by filling in
the fields. One with too few or too many fields stands there in as many as there are columns, and xgw_raw holds the whole.
Left as they are, both are refused again with the same code, and go into the next rejects file unchanged (xgw.importer.again).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from gateway_runtime.contacts.model import Contact
from xgw.importer.again import FITTED, MARK, escaped, fitted, unmended
from xgw.importer.reading import Batch
from xgw.importer.reasons import REASONS
from xgw.importer.sheet import OURS, SEP_LINE, Sheet, ours
from xgw.importer.validation import Refusal


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was not taken. `line` and `byte` are where it begins; `raw` are its bytes, line end included. `also` holds
    code, column, reason and example of whatever else is wrong with it."""

    row: int
    line: int
    byte: int
    code: str
    column: str
    reason: str
    example: str
    raw: bytes
    also: Sequence[Mapping[str, str]] = ()


def checked(
    batch: Batch, check: Callable[[list[str], int], Contact | Refusal]
) -> tuple[list[tuple[int, Contact]], list[Reject]]:
    """Every row of the batch, once: as a contact with its row number, or as a reject."""
    contacts: list[tuple[int, Contact]] = []
    rejects: list[Reject] = []
    number = batch.start.row
    for index, row in enumerate(batch.rows):
        number += 1
        if row is None:
            code = batch.broken[index]
            rejects.append(_reject(batch, index, Refusal(code, "", REASONS[code].text, "")))
            continue
        found = check(row, number)
        if isinstance(found, Contact):
            contacts.append((number, found))
        else:
            rejects.append(_reject(batch, index, found))
    return contacts, rejects


def _reject(batch: Batch, index: int, why: Refusal) -> Reject:
    byte, _ = batch.span(index)
    also = [{name: text for name, text in asdict(one).items() if name != "also"} for one in why.also]
    place = batch.number(index), batch.line(index), byte
    return Reject(*place, why.code, why.column, why.reason, why.example, batch.raw(index), also)


def rejects_head(sheet: Sheet) -> bytes:
    """What a rejects file begins with: the byte order mark where there was one, the `sep=` line that named the delimiter, and
    the header with our columns, in single quotes where these are how the file quotes: the header says so by them alone."""
    dialect = sheet.dialect
    end = dialect.newline or "\n"
    told = f"sep={dialect.delimiter}{end}" if dialect.how["delimiter"] == SEP_LINE else ""
    added = dialect.delimiter + ours(dialect.delimiter, dialect.quote) + end
    return dialect.encoding.bom + dialect.encoding.encode(told) + sheet.header + dialect.encoding.encode(added)


def rejects_row(sheet: Sheet, reject: Reject) -> bytes:
    """The line (or lines) of a rejects file for that row: as many fields as columns, then our cells, each in its own."""
    dialect, code = sheet.dialect, sheet.dialect.encoding
    end = dialect.newline or "\n"
    text, kept = code.decode(reject.raw).rstrip("\r\n"), ""
    if REASONS[reject.code].broken or reject.code in FITTED:
        if sheet.again and _as_it_was(text, reject.code, sheet):
            return code.encode(text + end)
        fields = fitted(text, sheet) if reject.code in FITTED else [""] * len(sheet.columns)
        text, kept = _joined(fields, sheet), MARK + escaped(reject.raw, code)
    elif sheet.again:
        text, kept = _cut(text, sheet)
    cells = (str(reject.line), str(reject.byte), reject.code, _plain(reject), kept)
    quote = dialect.quote
    added = "".join(f"{dialect.delimiter}{quote}{cell.replace(quote, quote * 2)}{quote}" for cell in cells)
    return code.encode(text + added + end)


def _as_it_was(text: str, code: str, sheet: Sheet) -> bool:
    """Whether this is a row of a rejects file that nobody mended."""
    cells = _split(text, sheet)
    return len(cells) == sheet.width and unmended(cells, sheet) == code


def _split(text: str, sheet: Sheet) -> list[str]:
    try:
        return next(sheet.dialect.reader(io.StringIO(text, newline="")), [])
    except csv.Error:
        return []


def _joined(fields: Sequence[str], sheet: Sheet) -> str:
    """Fields as a line, in quotes where that is needed."""
    out = io.StringIO()
    csv.writer(out, delimiter=sheet.dialect.delimiter, quotechar=sheet.dialect.quote, lineterminator="\r\n").writerow(
        fields
    )
    return out.getvalue().removesuffix("\r\n")


def _plain(reject: Reject) -> str:
    """The reason in ASCII: every encoding has it."""
    each = [(reject.column, reject.reason), *((one["column"], one["reason"]) for one in reject.also)]
    reason = "; ".join(f"{column}: {why.partition(': ')[2] or why}" if column else why for column, why in each)
    return reason.encode("ascii", "backslashreplace").decode()


def _cut(text: str, sheet: Sheet) -> tuple[str, str]:
    """The row of a rejects file without our columns, and what its xgw_raw holds."""
    quote, delimiter = re.escape(sheet.dialect.quote), re.escape(sheet.dialect.delimiter)
    cell = rf"(?:{quote}(?:[^{quote}]++|{quote}{quote})*+{quote}|(?!{quote})[^{delimiter}\r\n]*+)"
    places = list(re.finditer(rf"(?:^|{delimiter}){cell}", text))
    cells = _split(text, sheet)
    if len(places) == len(cells) == sheet.width and places[-1].end() == len(text):
        return text[: places[-len(OURS)].start()], cells[-1]
    return _joined(cells[: len(sheet.columns)], sheet), cells[-1] if cells else ""
