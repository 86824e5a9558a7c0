"""The corpus, read whole; and files that are no files, and pipes."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import pytest

from tests.unit.importer.corpus import AB, READABLE, REFUSED, A, B, H, Readable, Refused
from xgw.errors import ExitCode, UsageFault, XgwError
from xgw.importer.reading import Batch, batches
from xgw.importer.reasons import REASONS
from xgw.importer.sheet import open_sheet
from xgw.importer.source import FileChanged, open_source


@pytest.mark.parametrize("case", READABLE, ids=lambda case: case.name)
def test_an_awkward_file_is_read_exactly(case: Readable, tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv"
    path.write_bytes(case.data)
    with open_source(str(path), spool=tmp_path) as source:
        sheet = open_sheet(source, encoding=case.encoding, delimiter=case.delimiter)
        found = list(batches(source, sheet))
    refused = [(b.number(i), b.line(i), code) for b in found for i, code in sorted(b.broken.items())]
    assert [row for batch in found for row in batch.rows] == case.rows
    assert refused == list(case.refused)
    assert (sheet.dialect.told(), sheet.dialect.header_line) == (case.told, case.header_line)
    assert {code for _, _, code in refused} <= REASONS.keys()
    _covers(case.data, found, sheet.start.byte)


def _covers(data: bytes, found: list[Batch], at: int) -> None:
    """Every byte belongs to one row or to a blank line."""
    for batch in found:
        for index in range(len(batch.rows)):
            offset, length = batch.span(index)
            assert set(data[at:offset]) <= set(b"\r\n\0")
            assert data[offset : offset + length] == batch.raw(index)
            at = offset + length
    assert set(data[at:]) <= set(b"\r\n\0")


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_a_file_that_is_no_csv_is_refused_in_words(case: Refused, tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv"
    path.write_bytes(case.data)
    with pytest.raises(UsageFault) as fault, open_source(str(path), spool=tmp_path) as source:
        open_sheet(source, encoding=case.encoding, delimiter=case.delimiter)
    assert case.message in fault.value.message
    assert case.fix in fault.value.fix
    assert fault.value.cause or fault.value.fix
    assert (fault.value.message + fault.value.cause + fault.value.fix).isprintable()


def test_the_first_byte_that_is_not_utf8_is_named_wherever_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "late.csv"
    data = H + AB * 100_000 + "é".encode() + b"\xe9,x\n"
    path.write_bytes(data)
    with open_source(str(path), spool=tmp_path) as source, pytest.raises(UsageFault) as fault:
        open_sheet(source)
    assert f"byte {data.index(bytes([0xE9, 0x2C]))} is 0xe9" in fault.value.cause


@pytest.mark.parametrize("cut", [(1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_a_character_across_two_reads_is_one_character(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_bytes(H + b"x" * (cut - len(H)) + "é\n".encode())
    with open_source(str(path), spool=tmp_path) as source:
        assert source.not_utf8 is None


@pytest.mark.parametrize("at", [(1 << 20) - 2, (1 << 20) - 1, 1 << 20])
def test_half_a_character_at_the_border_of_two_reads_is_named_where_it_begins(at: int, tmp_path: Path) -> None:
    path = tmp_path / "broken.csv"
    path.write_bytes(H + b"x" * (at - len(H)) + b"\xc3x\n")
    with open_source(str(path), spool=tmp_path) as source:
        assert source.not_utf8 == at


def test_a_directory_and_a_name_that_is_not_there_are_refused(tmp_path: Path) -> None:
    for name, words in (
        (str(tmp_path), "is a directory"),
        (str(tmp_path / "no\x1b.csv"), "no\\x1b.csv cannot be read"),
    ):
        with pytest.raises(UsageFault) as fault:
            open_source(name, spool=tmp_path)
        assert words in fault.value.message
        assert fault.value.exit_code == ExitCode.USAGE


def test_standard_input_is_kept_where_nobody_else_can_read_it_and_leaves_nothing(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    with open_source("-", spool=spool, stdin=io.BytesIO(H + AB)) as source:
        assert source.spooled
        assert source.name == "standard input"
        assert os.fstat(source.descriptor).st_mode & 0o077 == 0
        assert list(spool.iterdir()) == []
        assert [b.rows for b in batches(source, open_sheet(source))] == [[A, B]]


def test_a_named_pipe_is_read_like_standard_input(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(H + AB,))
    writer.start()
    with open_source(str(pipe), spool=tmp_path / "spool") as source:
        assert (source.spooled, source.size) == (True, len(H + AB))
    writer.join()


def test_a_file_that_becomes_shorter_while_it_is_read_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "shrinking.csv"
    path.write_bytes(H + AB * 50_000)
    with open_source(str(path), spool=tmp_path) as source:
        found = batches(source, open_sheet(source))
        next(found)
        os.truncate(path, 300_000)
        with pytest.raises(FileChanged, match="became shorter"):
            list(found)


def test_a_file_that_only_grew_or_moved_is_unchanged_and_one_that_was_written_over_is_not(tmp_path: Path) -> None:
    path = tmp_path / "leads.csv"
    path.write_bytes(H + AB)
    with open_source(str(path), spool=tmp_path) as source:
        source.require_unchanged()
        with path.open("ab") as file:
            file.write(AB)
        path.rename(moved := tmp_path / "moved.csv")
        source.require_unchanged()
        with moved.open("r+b") as file:
            file.write(b"x")
        with pytest.raises(FileChanged, match="changed while it was read"):
            source.require_unchanged()


def test_a_row_without_end_stops_the_reading_and_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xgw.importer.reading.LARGEST", 1 << 20)
    path = tmp_path / "endless.csv"
    path.write_bytes(H + AB + b"x" * (3 << 20))
    with open_source(str(path), spool=tmp_path) as source, pytest.raises(XgwError, match="larger than 1 MiB") as fault:
        list(batches(source, open_sheet(source)))
    assert "after line 1" in fault.value.cause
