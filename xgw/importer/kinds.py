"""Files that are no CSV, told by how they begin."""

from __future__ import annotations

from collections.abc import Sequence

MAGIC: Sequence[tuple[bytes, str, str]] = (
    # begins with                         is                             what to do
    (b"\x1f\x8b", "gzip", "gunzip it first: gunzip -c FILE | xgw contacts import -"),
    (b"BZh", "bzip2", "unpack it first: bunzip2 -c FILE | xgw contacts import -"),
    (b"\xfd7zXZ\x00", "xz", "unpack it first: xz -dc FILE | xgw contacts import -"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unpack it first: zstd -dc FILE | xgw contacts import -"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it first"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it first"),
    (b"PK\x05\x06", "an empty zip archive", "unpack it first"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls)", "save it as CSV UTF-8 in the spreadsheet"),
    (b"%PDF-", "a PDF", "export the list as CSV instead"),
    (b"SQLite format 3\x00", "an SQLite database", "export the table: sqlite3 -header -csv FILE 'select * from TABLE'"),
    (b"PAR1", "a Parquet file", "export it as CSV"),
    (b"\x7fELF", "a program", "name the CSV file"),
    (b"\x89PNG", "a picture", "name the CSV file"),
    (b"\xff\xd8\xff", "a picture", "name the CSV file"),
    (b"{\\rtf", "a Rich Text document", "export the list as CSV instead"),
)
_MARKUP = (b"<!doctype", b"<html", b"<?xml", b"<table", b"<meta")
_SHEETS = (b"xl/", b"[Content_Types].xml", b"opendocument.spreadsheet")


def foreign(head: bytes) -> tuple[str, str] | None:
    """What this is, and what to do, when it begins like something that is no CSV."""
    for magic, kind, fix in MAGIC:
        if head.startswith(magic):
            return kind, fix
    if head.startswith(b"PK\x03\x04"):
        if any(part in head[:4096] for part in _SHEETS):
            return "a spreadsheet (.xlsx or .ods)", "save it as CSV UTF-8 in the spreadsheet"
        return "a zip archive", "unpack it first"
    text = head[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(_MARKUP):
        return "HTML or XML", "open it in a spreadsheet and save it as CSV UTF-8"
    if text[:1] in (b"{", b"[") and text[1:].lstrip()[:1] in (b'"', b"{", b"[", b"}", b"]"):
        return "JSON", "export the list as CSV"
    return None
