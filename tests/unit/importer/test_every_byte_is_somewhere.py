"""What holds for every file: rows come back as they were written, and no byte is lost, from wherever reading starts."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xgw.importer import reading
from xgw.importer.again import escaped, original
from xgw.importer.mapping import choose
from xgw.importer.reading import Batch, batches, shard
from xgw.importer.rejects import checked, rejects_head, rejects_row
from xgw.importer.sheet import Sheet, open_sheet
from xgw.importer.source import Source, open_source
from xgw.importer.validation import Validator

CELLS = st.text(st.sampled_from("ab\",;\t|\n\r 'é€😀=\u2028x\u0a0a\u0100"), max_size=6)
"""The last two hold a line end's bytes across their border in UTF-16."""
ROWS = st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=12)
ENDS, SIGNS = st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(",;\t|")
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
SIZES, BLOCKS = st.integers(1, 5), st.sampled_from([16, 64, 1 << 18])
SOUP = st.lists(
    st.sampled_from(
        [b"a,b,c\n", b'"', b",", b"\n", b"\r", b"x", b"\0", b"\xff", b'""', b'"a\nb",c,d\r\n', b"1,2,3\n", "é".encode(),
         b"n,n@x.org,active\n", b'"N\nN",m@x.org,archived\n', b"\\", b"\\xff", b"\xc3"]
    ),
    max_size=30,
).map(b"".join)  # fmt: skip
HEADER = b"name,email,status\n"


@contextmanager
def opened(data: bytes, encoding: str = "") -> Iterator[tuple[Source, Sheet]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "contacts.csv"
        path.write_bytes(data)
        with open_source(str(path), spool=Path(folder)) as source:
            yield source, open_sheet(source, encoding=encoding)


@pytest.fixture(autouse=True)
def _same_blocks_afterwards() -> Iterator[None]:
    before = reading.BLOCK
    yield
    reading.BLOCK = before


@settings(max_examples=150, deadline=None)
@given(ROWS, SIGNS, ENDS, ENCODINGS, SIZES, BLOCKS)
def test_what_csv_wrote_is_read_back_with_its_bytes(
    rows: list[list[str]], sign: str, end: str, encoding: str, size: int, block: int
) -> None:
    # csv.writer before 3.13 leaves a lone CR or LF that is no part of its line end unquoted.
    lone = any(c in cell for row in rows for cell in row for c in "\r\n")
    out = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if lone else csv.QUOTE_MINIMAL
    writer = csv.writer(out, delimiter=sign, lineterminator=end, quoting=quoting)
    writer.writerows([["name", "email", "status"], *rows])
    data = out.getvalue().encode(encoding)
    reading.BLOCK = block
    with opened(data, encoding if encoding.startswith("utf-16-") else "") as (source, sheet):
        found = list(batches(source, sheet, size=size))
        assert (sheet.dialect.delimiter, sheet.dialect.newline) == (sign, end)
        assert [row for batch in found for row in batch.rows] == rows
        assert b"".join(b.raw(i) for b in found for i in range(len(b.rows))) == data[sheet.start.byte :]
        for batch in found:
            for index in range(len(batch.rows)):
                offset, length = batch.span(index)
                assert data[offset : offset + length] == batch.raw(index)


@settings(max_examples=250, deadline=None)
@given(SOUP, SIZES, BLOCKS)
def test_whatever_the_file_holds_every_byte_is_in_one_row_or_blank(soup: bytes, size: int, block: int) -> None:
    data, reading.BLOCK = HEADER + soup, block
    with opened(data, "utf-8") as (source, sheet):
        at, number = sheet.start.byte, 0
        for batch in batches(source, sheet, size=size):
            assert 0 < len(batch.rows) <= size
            for index, row in enumerate(batch.rows):
                offset, length = batch.span(index)
                number += 1
                assert not data[at:offset].strip(b"\r\n")
                assert data[offset : offset + length] == batch.raw(index)
                assert batch.line(index) == data[:offset].count(b"\n") + 1
                assert batch.number(index) == number
                assert (row is None) == (index in batch.broken)
                assert row is None or (len(row) == 3 and batch.raw(index)[:1] not in (b"\r", b"\n"))
                at = offset + length
            assert at <= batch.end.byte
        assert not data[at:].strip(b"\r\n")


def _same(found: list[Batch]) -> list[object]:
    return [(batch.start, batch.end, batch.rows, batch.broken) for batch in found]


@settings(max_examples=100, deadline=None)
@given(SOUP, SIZES, BLOCKS, st.integers(1, 5))
def test_reading_from_any_batch_on_and_in_any_number_of_shards_finds_the_same(
    soup: bytes, size: int, block: int, count: int
) -> None:
    reading.BLOCK = 1 << 18
    with opened(HEADER + soup, "utf-8") as (source, sheet):
        whole = list(batches(source, sheet, size=size))
        reading.BLOCK = block
        parts = [batch for index in range(count) for batch in shard(source, sheet, index, count, size=size)]
        assert _same(parts) == _same(whole)
        for place, batch in enumerate(whole, 1):
            assert _same(list(batches(source, sheet, size=size, start=batch.end))) == _same(whole[place:])


def _validator(sheet: Sheet) -> Validator:
    return Validator(choose(sheet.columns), sheet.columns, tenant="t", run="r", now=0, by="me")


@settings(max_examples=150, deadline=None)
@given(SOUP)
def test_every_row_is_accepted_or_rejected_and_the_rejects_import_again_as_the_same_rejects(soup: bytes) -> None:
    with opened(HEADER + soup, "utf-8") as (source, sheet):
        parts = [(batch, *checked(batch, _validator(sheet))) for batch in batches(source, sheet)]
        for batch, contacts, rejects in parts:
            numbers = [number for number, _ in contacts] + [reject.row for reject in rejects]
            assert sorted(numbers) == list(range(batch.start.row + 1, batch.end.row + 1))
        first = [reject for _, _, rejects in parts for reject in rejects]
        file = rejects_head(sheet) + b"".join(rejects_row(sheet, reject) for reject in first)
        code = sheet.dialect.encoding
    with opened(file, "utf-8") as (source, sheet):
        assert sheet.again
        parts = [(batch, *checked(batch, _validator(sheet))) for batch in batches(source, sheet)]
        again = [reject for _, _, rejects in parts for reject in rejects]
        assert [contact for _, contacts, _ in parts for contact in contacts] == []
        assert len(again) == len(first)
        for before, after in zip(first, again, strict=True):
            assert after.code == before.code
            cells = next(sheet.dialect.reader(io.StringIO(code.decode(after.raw), newline="")))
            assert len(cells) == sheet.width
            if cells[-1]:
                assert original(cells[-1], code) == before.raw
                assert rejects_row(sheet, after).rstrip(b"\r\n") == after.raw.rstrip(b"\r\n")
            else:
                assert after.raw.startswith(before.raw.rstrip(b"\r\n"))
        third = rejects_head(sheet) + b"".join(rejects_row(sheet, reject) for reject in again)
    assert third.count(b"xgw_line") == 1
    if all(reject.raw.endswith(b"\n") for reject in first):
        assert len(third.splitlines()) == len(file.splitlines())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40), st.sampled_from(["utf-8", "utf-16-le", "utf-16-be", "cp1252"]))
def test_escaped_bytes_come_back_exactly_on_one_printable_line(raw: bytes, name: str) -> None:
    from xgw.importer.encodings import Encoding

    code = Encoding(name)
    text = escaped(raw, code)
    assert text.isprintable()
    assert original("raw:" + text, code) == raw


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_line_end_across_two_characters_of_utf16_is_none(encoding: str) -> None:
    rows = [["\u0a0a\u0100", "\u0100\u0a0a\u0100\u0a0a", str(n)] for n in range(20)]
    data = "".join(f"{','.join(row)}\n" for row in [["name", "email", "status"], *rows]).encode(encoding)
    for block in range(2, 60, 2):
        reading.BLOCK = block
        with opened(data, encoding) as (source, sheet):
            assert [row for batch in batches(source, sheet) for row in batch.rows] == rows
