"""Rows of a sheet in batches, with the place and the bytes of every one; rows that cannot be read are told apart and kept.

The usual row is split by `csv.reader` out of large blocks; its place is worked out only for who asks. Whatever the file
holds, each of its bytes after the header belongs to one row or to a blank line, and every batch begins where the one
before it ended. So reading can start again at the end of any batch (`start`) and finds the same batches from there on.

A quote that is not closed cannot be told from a long quoted field, so it is bounded: once the field is over its limit, the
file ends, or text follows a closing quote, the row is refused (UNCLOSED_QUOTE, STRAY_QUOTE) and reading goes on at the next
line that begins a plausible row: exactly as many fields as the header, no quote out of place. The lines before it
belong to the refused row, at most about one field's limit of them. In a file of one column every line is plausible.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, chain, islice

from xgw.errors import XgwError
from xgw.importer.again import refused_again
from xgw.importer.encodings import Encoding
from xgw.importer.reasons import LIMIT
from xgw.importer.sheet import Position, Sheet
from xgw.importer.source import Source

BATCH = 500
"""Rows."""
BATCH_TEXT = 4 << 20
"""Characters after which a batch ends early."""
BLOCK = 1 << 18
LARGEST = 64 << 20
"""Bytes that are held at most; a row that needs more ends the reading."""
_PULL = 50
_WINDOW_LINES, _WINDOW_TEXT = 32, 1 << 16

Row = list[str]


@dataclass(frozen=True)
class Batch:
    """Consecutive rows. `rows[i]` is None where `broken` has a code for i; what lies between `start` and `end` is all of it."""

    start: Position
    end: Position
    rows: Sequence[Row | None]
    broken: Mapping[int, str]
    encoding: Encoding = field(repr=False)
    lines: Sequence[str] = field(repr=False)
    begins: Sequence[int] = field(repr=False)
    ends: Sequence[int] = field(repr=False)

    def number(self, index: int) -> int:
        """The row's number in the file, from 1."""
        return self.start.row + index + 1

    def line(self, index: int) -> int:
        """The line on which the row begins, from 1."""
        return self.start.line + self.begins[index] + 1

    def span(self, index: int) -> tuple[int, int]:
        """Where the row lies in the file, its line end included: offset and length in bytes."""
        first, last = self._offsets[self.begins[index]], self._offsets[self.ends[index]]
        return first, min(last, self.end.byte) - first

    def raw(self, index: int) -> bytes:
        """The row as it stands in the file."""
        _, length = self.span(index)
        return self.encoding.encode("".join(self.lines[self.begins[index] : self.ends[index]]))[:length]

    @cached_property
    def _offsets(self) -> list[int]:
        return list(accumulate(map(self.encoding.size, self.lines), initial=self.start.byte))


def batches(source: Source, sheet: Sheet, *, size: int = BATCH, start: Position | None = None) -> Iterator[Batch]:
    """All rows from `start` (the end of some batch; else the first row) on, `size` of them at a time."""
    csv.field_size_limit(LIMIT)
    reader = _Reader(source, sheet, start or sheet.start)
    while batch := reader.fill(size):
        yield batch


def shard(source: Source, sheet: Sheet, index: int, count: int, *, size: int = BATCH) -> Iterator[Batch]:
    """The batches that begin in the index-th of `count` equal ranges of bytes: all shards together are all batches, each once.

    Every shard reads from the first row on, for nothing less tells a row from a line inside quotes. So rows, lines and
    batches carry the same numbers as in a reading of the whole, and there is nothing to add up afterwards.
    """
    if not 0 <= index < count:
        raise ValueError(f"there is no shard {index} of {count}")
    body = source.size - sheet.start.byte
    first, last = (sheet.start.byte + body * part // count for part in (index, index + 1))
    for batch in batches(source, sheet, size=size):
        if batch.start.byte >= last:
            return
        if batch.start.byte >= first:
            yield batch


class _Reader:
    """csv.reader over blocks of whole lines. `held` are the lines from the last batch's end to the end of the newest block."""

    def __init__(self, source: Source, sheet: Sheet, start: Position) -> None:
        self.source, self.sheet, self.at = source, sheet, start
        self.held: list[str] = []
        self.recent = 0
        self.blocks = self._blocks()
        self.plausible = _row_pattern(sheet)
        self._restart(0)

    def _restart(self, line: int) -> None:
        self.csv = self.sheet.dialect.reader(chain(self.held[line:], chain.from_iterable(self.blocks)))
        self.base = line

    def _blocks(self) -> Iterator[list[str]]:
        code, split = self.sheet.dialect.encoding, self.sheet.dialect.break_
        mark, at, carried = code.encode(split), self.at.byte, b""
        while at < self.source.size:
            data = self.source.pread(at, BLOCK)
            at += len(data)
            self.recent += len(data)
            if self.recent > LARGEST:
                raise XgwError(
                    f"a row is larger than {LARGEST >> 20} MiB",
                    cause=f"it begins after line {self.at.line} and byte {self.at.byte}",
                    fix="mend the file there, or cut it in two before that line",
                )
            data = carried + data
            cut = len(data) if at >= self.source.size else _after_last(data, mark)
            carried = data[cut:]
            if cut:
                lines = _lines(code.decode(data[:cut]), split)
                self.held += lines
                yield lines

    def fill(self, size: int) -> Batch | None:
        """The next batch, or None at the end."""
        rows: list[Row | None] = []
        ends: list[int] = []
        broken: dict[int, str] = {}
        blanks: list[int] = []
        begin = text = 0
        while len(rows) < size and text < BATCH_TEXT:
            self.recent = 0
            before, wanted = len(rows), min(_PULL, size - len(rows))
            fault = self._pull(rows, ends, wanted)
            done = fault is None and len(rows) - before < wanted
            if [] in rows[before:]:
                _drop_blanks(rows, ends, blanks, before)
            if fault is not None:
                first = max(ends[-1] if ends else 0, blanks[-1] if blanks else 0)
                code, last = self._broken(str(fault), first)
                broken[len(rows)] = code
                rows.append(None)
                ends.append(last)
                self._restart(last)
            if done:
                break
            end = self.base + self.csv.line_num
            text += sum(map(len, self.held[begin:end]))
            begin = end
        return self._batch(rows, ends, blanks, broken) if rows else None

    def _pull(self, rows: list[Row | None], ends: list[int], wanted: int) -> csv.Error | None:
        reader, base = self.csv, self.base
        try:
            for row in islice(reader, wanted):
                rows.append(row)
                ends.append(base + reader.line_num)
        except csv.Error as error:
            return error
        return None

    def _batch(self, rows: list[Row | None], ends: list[int], blanks: list[int], broken: dict[int, str]) -> Batch:
        used = self.base + self.csv.line_num
        lines = self.held[:used]
        del self.held[:used]
        self.base -= used
        begins = _begins(ends, blanks)
        _mark(rows, begins, ends, lines, broken, self.sheet)
        code = self.sheet.dialect.encoding
        end = Position(
            min(self.at.byte + code.size("".join(lines)), self.source.size),
            self.at.row + len(rows),
            self.at.line + used,
        )
        made = Batch(self.at, end, rows, broken, code, lines, begins, ends)
        self.at = end
        return made

    def _broken(self, message: str, first: int) -> tuple[str, int]:
        """The code for the row that begins at that held line, and the line at which reading goes on."""
        after = self.base + self.csv.line_num
        quote = self.sheet.dialect.quote
        many = after - first > 1
        code = next((code for words, one, code in _FAULTS if words in message and (many or one)), "STRAY_QUOTE")
        if not any(quote in line for line in self.held[first:after]):
            return code, after
        line = after if code == "STRAY_NEWLINE" else first + 1
        passed = sum(map(len, self.held[first:line]))
        while self._holds(line) and passed < LIMIT and not self._plausible(line):
            passed += len(self.held[line])
            line += 1
        return code, line

    def _holds(self, line: int) -> bool:
        while len(self.held) <= line:
            if next(self.blocks, None) is None:
                return False
        return True

    def _plausible(self, line: int) -> bool:
        """Whether a whole row begins there; it may go on for some lines if its first one leaves a quote open."""
        first = self.held[line]
        if first.count(self.sheet.dialect.quote) % 2 == 0:
            return self.plausible.match(first) is not None
        self._holds(line + _WINDOW_LINES)
        sizes = accumulate(map(len, self.held[line : line + _WINDOW_LINES]))
        fitting = sum(1 for size in sizes if size <= _WINDOW_TEXT)
        return self.plausible.match("".join(self.held[line : line + max(1, fitting)])) is not None


_FAULTS = (
    # what csv.reader says  in one line  the code
    ("new-line character", True, "STRAY_NEWLINE"),
    ("field larger", False, "UNCLOSED_QUOTE"),
    ("field larger", True, "FIELD_TOO_LARGE"),
    ("unexpected end", True, "UNCLOSED_QUOTE"),
    ("expected after", False, "UNCLOSED_QUOTE"),
    ("expected after", True, "STRAY_QUOTE"),
)


def _after_last(data: bytes, mark: bytes) -> int:
    """Where the last whole line ends; 0 when there is none."""
    found = data.rfind(mark)
    while found >= 0 and found % len(mark):
        found = data.rfind(mark, 0, found + len(mark) - 1)
    return found + len(mark) if found >= 0 else 0


def _lines(text: str, split: str) -> list[str]:
    if split == "\n":
        return io.StringIO(text, newline="\n").readlines()
    parts = text.split(split)
    return [part + split for part in parts[:-1]] + parts[-1:] if parts[-1] else [part + split for part in parts[:-1]]


def _row_pattern(sheet: Sheet) -> re.Pattern[str]:
    """One whole row, well formed, with as many fields as the header; nothing in it can be read in two ways."""
    quote, delimiter = re.escape(sheet.dialect.quote), re.escape(sheet.dialect.delimiter)
    one = rf"(?:{quote}(?:[^{quote}]++|{quote}{quote})*+{quote}|[^{quote}{delimiter}\r\n]*+)"
    return re.compile(rf"(?![\r\n]|\Z)(?:{one}{delimiter}){{{sheet.width - 1}}}{one}(?:\r*\n|\r|\Z)")


def _drop_blanks(rows: list[Row | None], ends: list[int], blanks: list[int], since: int) -> None:
    """Blank lines out of what was pulled last; where each of them ended is kept."""
    pulled = list(zip(rows[since:], ends[since:], strict=True))
    blanks += [end for row, end in pulled if row == []]
    rows[since:] = [row for row, _ in pulled if row != []]
    ends[since:] = [end for row, end in pulled if row != []]


def _begins(ends: list[int], blanks: list[int]) -> list[int]:
    """A row begins where the one before it ended, or the last blank line between them."""
    if not blanks:
        return [0, *ends[:-1]]
    blank = set(blanks)
    begins, at = [], 0
    for end in ends:
        while at + 1 in blank and at + 1 < end:
            at += 1
        begins.append(at)
        at = end
    return begins


def _mark(
    rows: list[Row | None], begins: list[int], ends: list[int], lines: list[str], broken: dict[int, str], sheet: Sheet
) -> None:
    """Rows that were split and still cannot be taken: the wrong number of fields, NUL, bytes that are no text; in
    a rejects file what nobody mended, and what moved."""
    text = "".join(lines)
    suspects: tuple[tuple[str, re.Pattern[str]], ...] = ()
    if "\0" in text:
        suspects += (("NUL_BYTE", _NUL),)
    if not text.isascii() and _LONE.search(text):
        suspects += (("BAD_ENCODING", _LONE),)
    for code, pattern in suspects:
        for index, row in enumerate(rows):
            if row is not None and any(pattern.search(line) for line in lines[begins[index] : ends[index]]):
                broken[index], rows[index] = code, None
    width = sheet.width
    if {len(row) for row in rows if row is not None} - {width}:
        for index, row in enumerate(rows):
            if row is not None and len(row) != width:
                broken[index] = "TOO_FEW_FIELDS" if len(row) < width else "TOO_MANY_FIELDS"
                rows[index] = None
    if sheet.again:
        for index, row in enumerate(rows):
            if row is not None and (code := refused_again(row, sheet)):
                broken[index], rows[index] = code, None


_NUL = re.compile("\0")
_LONE = re.compile("[\ud800-\udfff]")
