"""A rejects file that is imported again: which of its rows are refused as before, and which hold cells that moved.

A row that could not be taken as it was (too few or too many fields, or no fields at all) stands there in as many fields as
the header has, and xgw_raw holds what it was. As long as the fields are those that were written there, nobody has mended
it, and it is refused again with the code it had. Whoever finds it right as it stands empties xgw_raw.

A spreadsheet that moved the xgw_ cells would make data of them, so a row in which they are not in their own columns is
refused. They may be empty: a row that somebody added has none.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from xgw.importer.encodings import Encoding
from xgw.importer.reasons import MOVED, REASONS
from xgw.importer.sheet import DELIMITERS, OURS, Sheet

MARK = "raw:"
FITTED = ("TOO_FEW_FIELDS", "TOO_MANY_FIELDS", MOVED)
"""Codes of rows whose fields are there, but not as many as columns."""


def refused_again(row: Sequence[str], sheet: Sheet) -> str:
    """The code under which a row of a rejects file is refused before its fields are looked at, or nothing."""
    return MOVED if _moved(row, sheet) else unmended(row, sheet)


def unmended(row: Sequence[str], sheet: Sheet) -> str:
    """The code of a row of a rejects file that nobody mended since it could not be taken as it was."""
    fields, (_, _, code, _, raw) = list(row[: len(sheet.columns)]), row[-len(OURS) :]
    if not (code in REASONS and raw.startswith(MARK)):
        return ""
    if code not in FITTED:
        return "" if any(fields) else code
    text = unescaped(raw)
    signs = dict.fromkeys((sheet.dialect.delimiter, *DELIMITERS))  # a spreadsheet may have chosen another
    return code if any(fitted(text, sheet, sign) == fields for sign in signs) else ""


def fitted(text: str, sheet: Sheet, delimiter: str = "") -> list[str]:
    """The fields of a row that has too few or too many, as many as there are columns; without our cells."""
    dialect, width = sheet.dialect, len(sheet.columns)
    lines = io.StringIO(text, newline="")
    try:
        cells = next(
            csv.reader(lines, delimiter=delimiter or dialect.delimiter, quotechar=dialect.quote, strict=True), []
        )
    except csv.Error:
        cells = []
    begin = _begin(cells)
    cells = cells if begin is None else cells[:begin]
    return [*cells, *[""] * (width - len(cells))][:width]


def _moved(row: Sequence[str], sheet: Sheet) -> bool:
    line, byte, code, _, raw = row[-len(OURS) :]
    begin = _begin(row)
    return not (
        (not line or line.isdigit())
        and (not byte or byte.isdigit())
        and (not code or code in REASONS)
        and (not raw or raw.startswith(MARK))
        and begin in (None, len(sheet.columns))
    )


def _begin(cells: Sequence[str]) -> int | None:
    """Where our cells begin: a line, a byte, a code."""
    for place in range(len(cells) - 3, -1, -1):
        if cells[place + 2] in REASONS and cells[place].isdigit() and cells[place + 1].isdigit():
            return place
    return None


# --- what xgw_raw holds

_SHORT = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LONG = {text: sign for sign, text in _SHORT.items()}
_ESCAPE = re.compile(r"\\(?:[\\nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|b[0-9a-f]{2})")


def escaped(raw: bytes, encoding: Encoding) -> str:
    """Bytes as one line of printable text: \\\\, \\n, \\r, \\t; \\xNN for a byte that is no text and for ASCII's control
    characters; \\uNNNN, \\UNNNNNNNN for other invisible ones; \\bNN for half a UTF-16 unit at the end."""
    tail = ""
    if encoding.width == 2 and len(raw) % 2:
        raw, tail = raw[:-1], f"\\b{raw[-1]:02x}"
    return "".join(_sign(sign, encoding) for sign in encoding.decode(raw)) + tail


def _sign(sign: str, encoding: Encoding) -> str:
    place = ord(sign)
    if sign in _SHORT:
        return _SHORT[sign]
    if sign.isprintable():
        return sign
    if place < 0x80:
        return f"\\x{place:02x}"
    if encoding.width == 1 and 0xDC80 <= place <= 0xDCFF:
        return f"\\x{place - 0xDC00:02x}"
    return f"\\u{place:04x}" if place < 0x10000 else f"\\U{place:08x}"


def original(raw: str, encoding: Encoding) -> bytes:
    """The bytes of a rejected row, from what xgw_raw holds."""
    text = raw
    tail = b""
    if re.search(r"(?<!\\)(?:\\\\)*\\b[0-9a-f]{2}\Z", text):
        text, tail = text[:-4], bytes.fromhex(text[-2:])
    return encoding.encode(unescaped(text)) + tail


def unescaped(raw: str) -> str:
    """The text of a rejected row, from what xgw_raw holds."""
    return _ESCAPE.sub(_unescaped, raw.removeprefix(MARK))


def _unescaped(match: re.Match[str]) -> str:
    found = match[0]
    if found in _LONG:
        return _LONG[found]
    place = int(found[2:], 16)
    return chr(place + 0xDC00 if found[1] == "x" and place >= 0x80 else place)
