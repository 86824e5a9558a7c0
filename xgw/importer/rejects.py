"""Rejected rows, and the file that they go to: a CSV like the one they came from, which imports again when it is mended.

It has the same encoding, delimiter and line ends, the same header, and five columns at the end that are left out on
import: xgw_line, xgw_byte, xgw_code, xgw_reason, xgw_raw. A row that could be split into fields stands there with its
original bytes. One that could not (REASONS: broken) would spoil the file; its fields are left empty, and xgw_raw holds
"raw:" and the row's text with backslash escapes, from which `original` gives back every byte. Mend it by filling in
the fields. Left as it is, it is refused again (EMPTY_ROW), and goes into the next rejects file unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from gateway_runtime.contacts.model import Contact
from xgw.importer.encodings import Encoding
from xgw.importer.reading import Batch
from xgw.importer.reasons import REASONS
from xgw.importer.sheet import OURS, Sheet
from xgw.importer.validation import Refusal

_MARK = "raw:"


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was not taken. `line` and `byte` are where it begins; `raw` are its bytes, line end included."""

    row: int
    line: int
    byte: int
    code: str
    column: str
    reason: str
    example: str
    raw: bytes


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
    return Reject(
        batch.number(index), batch.line(index), byte, why.code, why.column, why.reason, why.example, batch.raw(index)
    )


def rejects_head(sheet: Sheet) -> bytes:
    """What a rejects file begins with: the byte order mark where there was one, and the header with our columns."""
    dialect = sheet.dialect
    added = "".join(dialect.delimiter + name for name in OURS) + (dialect.newline or "\n")
    return dialect.encoding.bom + sheet.header + dialect.encoding.encode(added)


def rejects_row(sheet: Sheet, reject: Reject) -> bytes:
    """The line (or lines) of a rejects file for that row."""
    dialect, code = sheet.dialect, sheet.dialect.encoding
    end = dialect.newline or "\n"
    row = code.decode(reject.raw)
    text, kept, broken = row.rstrip("\r\n"), "", REASONS[reject.code].broken
    if sheet.again and not broken:
        cut = _cut(text, sheet)
        if cut is None:
            broken = True
        elif reject.code == "EMPTY_ROW" and cut[1]:
            return code.encode(text + end)
        else:
            text, kept = cut
    if broken:
        text, kept = dialect.delimiter * (len(sheet.columns) - 1), _MARK + escaped(reject.raw, code)
    cells = (str(reject.line), str(reject.byte), reject.code, _plain(reject), kept)
    quote = dialect.quote
    added = "".join(f"{dialect.delimiter}{quote}{cell.replace(quote, quote * 2)}{quote}" for cell in cells)
    return code.encode(text + added + end)


def _plain(reject: Reject) -> str:
    """The reason in ASCII: every encoding has it."""
    reason = f"{reject.column}: {reject.reason}" if reject.column else reject.reason
    return reason.encode("ascii", "backslashreplace").decode()


def _cut(text: str, sheet: Sheet) -> tuple[str, str] | None:
    """The row of a rejects file without our columns, and what its xgw_raw holds; None when they are not there."""
    quote, delimiter = re.escape(sheet.dialect.quote), re.escape(sheet.dialect.delimiter)
    cell = rf"(?:{quote}((?:[^{quote}]++|{quote}{quote})*+){quote}|(?!{quote})([^{delimiter}\r\n]*+))"
    places = list(re.finditer(rf"(?:^|{delimiter}){cell}", text))
    if len(places) <= len(OURS) or places[-1].end() != len(text):
        return None
    line, byte, code, _, raw = ((found[1] or found[2] or "") for found in places[-len(OURS) :])
    if not (line.isdigit() and byte.isdigit() and code in REASONS):
        return None
    return text[: places[-len(OURS)].start()], raw.replace(sheet.dialect.quote * 2, sheet.dialect.quote)


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
    text = raw.removeprefix(_MARK)
    tail = b""
    if re.search(r"(?<!\\)(?:\\\\)*\\b[0-9a-f]{2}\Z", text):
        text, tail = text[:-4], bytes.fromhex(text[-2:])
    return encoding.encode(_ESCAPE.sub(_unescaped, text)) + tail


def _unescaped(match: re.Match[str]) -> str:
    found = match[0]
    if found in _LONG:
        return _LONG[found]
    place = int(found[2:], 16)
    return chr(place + 0xDC00 if found[1] == "x" and place >= 0x80 else place)
