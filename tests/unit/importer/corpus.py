"""Awkward files, and exactly what has to be read from them. Generated here: half of them would not survive an editor."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

Place = tuple[int, int, str]
"""A refused row: its number, its line, its code."""


@dataclass(frozen=True)
class Readable:
    """`rows` are all rows, the refused ones (`refused`) as None. `told` is what the dialect says."""

    name: str
    data: bytes
    rows: list[list[str] | None]
    refused: tuple[Place, ...] = ()
    told: str = "utf-8, ',' delimiter, LF line ends"
    header_line: int = 1
    encoding: str = ""
    delimiter: str = ""


@dataclass(frozen=True)
class Refused:
    """A file that is not read at all; `message` and `fix` stand in what is said."""

    name: str
    data: bytes
    message: str
    fix: str = ""
    encoding: str = ""
    delimiter: str = ""


H = b"name,email\n"
A, B = ["Ann", "a@x.org"], ["Bob", "b@x.org"]
AB = b"Ann,a@x.org\nBob,b@x.org\n"
CRLF, CR = "utf-8, ',' delimiter, CRLF line ends", "utf-8, ',' delimiter, CR line ends"
BIG = b"x" * 1_048_577
WIDE = "name,email\nÅsa,å@x.org\n"
ASA = [["Åsa", "å@x.org"]]


def _wide(text: str, encoding: str, bom: bytes = b"") -> bytes:
    return bom + text.encode(encoding)


READABLE = [
    Readable("plain", H + AB, [A, B]),
    Readable("no-last-line-end", H + AB[:-1], [A, B]),
    Readable("crlf", (H + AB).replace(b"\n", b"\r\n"), [A, B], told=CRLF),
    Readable("classic-mac", (H + AB).replace(b"\n", b"\r"), [A, B], told=CR),
    Readable("cr-cr-lf", (H + AB).replace(b"\n", b"\r\r\n"), [A, B], told="utf-8, ',' delimiter, CR CR LF line ends"),
    Readable("header-crlf-rows-lf", b"name,email\r\n" + AB, [A, B], told=CRLF),
    Readable("header-lf-rows-crlf", H + AB.replace(b"\n", b"\r\n"), [A, B]),
    Readable("line-ends-mixed", H + b"Ann,a@x.org\r\nBob,b@x.org\nAnn,a@x.org\r\n", [A, B, A]),
    Readable("last-line-ends-in-cr", H + b"Ann,a@x.org\nBob,b@x.org\r", [A, B]),
    Readable("header-only", H, []),
    Readable("header-only-no-end", b"name,email", [], told="utf-8, ',' delimiter, no line ends"),
    Readable("blank-lines-at-the-end", H + AB + b"\n\r\n\n", [A, B]),
    Readable("blank-lines-between", H + b"\nAnn,a@x.org\n\n\nBob,b@x.org\n", [A, B]),
    Readable("blank-lines-before-a-broken-row", H + b"Bob,b@x.org\n\n\r\nAnn\n", [B, None], ((2, 5, "TOO_FEW_FIELDS"),)),
    Readable("blank-lines-before-the-header", b"\n\r\n" + H + AB, [A, B], header_line=3),
    Readable("only-blank-lines-after-the-header", H + b"\n\n\n", []),
    Readable("line-of-blanks", H + b"   \nBob,b@x.org\n", [None, B], ((1, 2, "TOO_FEW_FIELDS"),)),
    Readable("line-of-delimiters", H + b",\nBob,b@x.org\n", [["", ""], B]),
    Readable("bom", codecs.BOM_UTF8 + H + AB, [A, B], told="utf-8 with BOM, ',' delimiter, LF line ends"),
    Readable(
        "bom-and-quoted-header", codecs.BOM_UTF8 + b'"name","email"\n' + AB, [A, B],
        told="utf-8 with BOM, ',' delimiter, LF line ends",
    ),
    Readable("utf-16-le", _wide(WIDE, "utf-16-le", codecs.BOM_UTF16_LE), ASA,
             told="utf-16-le with BOM, ',' delimiter, LF line ends"),
    Readable("utf-16-be", _wide(WIDE, "utf-16-be", codecs.BOM_UTF16_BE), ASA,
             told="utf-16-be with BOM, ',' delimiter, LF line ends"),
    Readable("utf-16-tab", _wide("name\temail\r\nÅsa\tå@x.org\r\n", "utf-16-le", codecs.BOM_UTF16_LE), ASA,
             told="utf-16-le with BOM, tab delimiter, CRLF line ends"),
    Readable("utf-16-without-bom-stated", _wide(WIDE, "utf-16-le"), ASA, encoding="utf-16-le",
             told="utf-16-le, ',' delimiter, LF line ends"),
    Readable("utf-16-odd-alignment", _wide("name,email\n\u0a0a\u0a00,x\n\u000a", "utf-16-le", codecs.BOM_UTF16_LE),
             [["\u0a0a\u0a00", "x"]], told="utf-16-le with BOM, ',' delimiter, LF line ends"),
    Readable("utf-16-half-a-unit-at-the-end", _wide(WIDE + "Bob,b", "utf-16-le", codecs.BOM_UTF16_LE) + b"x",
             [*ASA, None], ((2, 3, "BAD_ENCODING"),), told="utf-16-le with BOM, ',' delimiter, LF line ends"),
    Readable("utf-16-half-a-pair", _wide(WIDE, "utf-16-le", codecs.BOM_UTF16_LE) + b"\x3d\xd8,\0x\0\n\0", [*ASA, None],
             ((2, 3, "BAD_ENCODING"),), told="utf-16-le with BOM, ',' delimiter, LF line ends"),
    Readable("cp1252-stated", WIDE.encode("cp1252"), ASA, encoding="cp1252",
             told="cp1252, ',' delimiter, LF line ends"),
    Readable("latin-1-stated", WIDE.encode("latin-1"), ASA, encoding="latin-1",
             told="iso8859-1, ',' delimiter, LF line ends"),
    Readable("cp1252-with-a-hole", H + b"\x81nn,a@x.org\nBob,b@x.org\n", [None, B], ((1, 2, "BAD_ENCODING"),),
             encoding="cp1252", told="cp1252, ',' delimiter, LF line ends"),
    Readable("utf-8-stated-one-bad-row", H + b"\xc5sa,a@x.org\nBob,b@x.org\n", [None, B], ((1, 2, "BAD_ENCODING"),),
             encoding="utf-8"),
    Readable("bom-and-one-bad-row", codecs.BOM_UTF8 + H + b"\xc5sa,a@x.org\nBob,b@x.org\n", [None, B],
             ((1, 2, "BAD_ENCODING"),), told="utf-8 with BOM, ',' delimiter, LF line ends"),
    Readable("surrogate-as-utf-8", H + b"\xed\xa0\x80,a@x.org\nBob,b@x.org\n", [None, B], ((1, 2, "BAD_ENCODING"),),
             encoding="utf-8"),
    Readable("cut-inside-a-character", H + AB + b"Zo\xc3", [A, B, None], ((3, 4, "BAD_ENCODING"),), encoding="utf-8"),
    Readable("line-separators-of-unicode", H + "A\u2028n\x85\x0b\x0c,a@x.org\n".encode(), [["A\u2028n\x85\x0b\x0c", "a@x.org"]]),
    Readable("semicolon", b"name;email\nAnn;a@x.org\n", [A], told="utf-8, ';' delimiter, LF line ends"),
    Readable("semicolon-with-commas-in-it", b"Full Name;E-mail\nLee, Ann;a@x.org\n", [["Lee, Ann", "a@x.org"]],
             told="utf-8, ';' delimiter, LF line ends"),
    Readable("tab", b"name\temail\nAnn\ta@x.org\n", [A], told="utf-8, tab delimiter, LF line ends"),
    Readable("pipe", b"name|email\nAnn|a@x.org\n", [A], told="utf-8, '|' delimiter, LF line ends"),
    Readable("sep-line", b"sep=;\r\nname;email\r\nAnn;a@x.org\r\n", [A], header_line=2,
             told="utf-8, ';' delimiter, CRLF line ends"),
    Readable("sep-line-quoted-odd-sign", b'"sep=^"\nname^email\nAnn^a@x.org\n', [A], header_line=2,
             told="utf-8, '^' delimiter, LF line ends"),
    Readable("delimiter-stated", b"nom usuel:adresse\nAnn:a@x.org\n", [A], delimiter=":",
             told="utf-8, ':' delimiter, LF line ends"),
    Readable("one-column", b"email\na@x.org\n", [["a@x.org"]]),
    Readable("one-column-empty-value", b'email\n""\na@x.org\n', [[""], ["a@x.org"]]),
    Readable("everything-quoted", b'"name","email"\n"Ann","a@x.org"\n', [A]),
    Readable("single-quotes", b"'name','email'\n'Lee, Ann','a@x.org'\n", [["Lee, Ann", "a@x.org"]]),
    Readable("quoted-delimiter", H + b'"Lee, Ann",a@x.org\n', [["Lee, Ann", "a@x.org"]]),
    Readable("doubled-quotes", H + b'"Ann ""A"" Lee",a@x.org\n', [['Ann "A" Lee', "a@x.org"]]),
    Readable("quoted-line-ends", H + b'"A\nn\r\nn",a@x.org\nBob,\n', [["A\nn\r\nn", "a@x.org"], ["Bob", ""]]),
    Readable("quoted-blank-lines", H + b'"A\n\n\nn",a@x.org\n,b\n', [["A\n\n\nn", "a@x.org"], ["", "b"]]),
    Readable("quoted-lone-cr", H + b'"A\rn",a@x.org\n', [["A\rn", "a@x.org"]]),
    Readable("header-over-two-lines", b'name,"email\naddress"\nAnn,a@x.org\nBob,b@x.org\n', [A, B]),
    Readable("quote-inside-a-field", H + b'5" Ann,a@x.org\n', [['5" Ann', "a@x.org"]]),
    Readable("blank-before-a-quote", H + b' "Lee, Ann",a@x.org\nBob,b@x.org\n', [None, B], ((1, 2, "TOO_MANY_FIELDS"),)),
    Readable("too-few", H + b"Ann\nBob,b@x.org\n", [None, B], ((1, 2, "TOO_FEW_FIELDS"),)),
    Readable("too-many", H + b"Ann,a@x.org,1\nBob,b@x.org\n", [None, B], ((1, 2, "TOO_MANY_FIELDS"),)),
    Readable("too-many-empty", H + b"Ann,a@x.org,,\nBob,b@x.org\n", [None, B], ((1, 2, "TOO_MANY_FIELDS"),)),
    Readable("too-few-over-lines", H + b'"A\nn\nn"\nBob,b@x.org\n', [None, B], ((1, 2, "TOO_FEW_FIELDS"),)),
    Readable("nul", H + b"A\0nn,a@x.org\nBob,b@x.org\n", [None, B], ((1, 2, "NUL_BYTE"),), encoding="utf-8"),
    Readable("nul-in-quotes", H + b'Bob,b@x.org\n"A\n\0",a@x.org\n', [B, None], ((2, 3, "NUL_BYTE"),), encoding="utf-8"),
    Readable("lone-cr", H + b"An\rn,a@x.org\nBob,b@x.org\n", [None, B], ((1, 2, "STRAY_NEWLINE"),)),
    Readable("lone-cr-in-a-row-with-quotes", H + b'"Ann",a\rb\nBob,b@x.org\n', [None, B], ((1, 2, "STRAY_NEWLINE"),)),
    Readable("lone-lf-in-classic-mac", b"name,email\rA\nnn,a@x.org\rBob,b@x.org\r", [None, B],
             ((1, 2, "STRAY_NEWLINE"),), told=CR),
    Readable("text-after-a-quote", H + b'"Ann"x,a@x.org\nBob,b@x.org\n', [None, B], ((1, 2, "STRAY_QUOTE"),)),
    Readable("backslash-quotes", H + b'"A \\"n\\" n",a@x.org\nBob,b@x.org\n', [None, B], ((1, 2, "STRAY_QUOTE"),)),
    Readable("unclosed-before-a-quoted-row", H + b'"Ann,a@x.org\n"Bob",b@x.org\nBob,b@x.org\n', [None, B, B],
             ((1, 2, "UNCLOSED_QUOTE"),)),
    Readable("unclosed-to-the-end", H + b'"Ann,a@x.org\nBob,b@x.org\nBob,b@x.org\n', [None, B, B],
             ((1, 2, "UNCLOSED_QUOTE"),)),
    Readable("unclosed-in-the-last-row", H + b'Bob,b@x.org\n"Ann,a@x.org', [B, None], ((2, 3, "UNCLOSED_QUOTE"),)),
    Readable("unclosed-twice", H + b'"Ann,a@x.org\nBob,b@x.org\n"Ann,a@x.org\nBob,b@x.org\n', [None, B, None, B],
             ((1, 2, "UNCLOSED_QUOTE"), (3, 4, "UNCLOSED_QUOTE"))),
    Readable("broken-note-is-no-row-of-its-own", H + b'"first\nhe said "hi" x\nend",y\nBob,b@x.org\n', [None, B],
             ((1, 2, "UNCLOSED_QUOTE"),)),
    Readable("unclosed-then-a-row-over-lines", H + b'"Ann,a@x.org\n"B\nob",b@x.org\nBob,b@x.org\n',
             [None, ["B\nob", "b@x.org"], B], ((1, 2, "UNCLOSED_QUOTE"),)),
    Readable("unclosed-over-the-limit", H + b'"Ann,a@x.org\n' + b"Bob,b@x.org\n" * 100_000, [None, *[B] * 100_000],
             ((1, 2, "UNCLOSED_QUOTE"),)),
    Readable("huge-field", H + BIG + b",a@x.org\nBob,b@x.org\n", [None, B], ((1, 2, "FIELD_TOO_LARGE"),)),
    Readable("huge-quoted-field", H + b'"' + BIG + b'",a@x.org\nBob,b@x.org\n', [None, B], ((1, 2, "FIELD_TOO_LARGE"),)),
    Readable("largest-field", H + BIG[:-1] + b",a@x.org\n", [["x" * 1_048_576, "a@x.org"]]),
    Readable("formula", H + b"=1+1,a@x.org\n", [["=1+1", "a@x.org"]]),
    Readable("bom-in-the-middle", H + codecs.BOM_UTF8 + b"Ann,a@x.org\n", [["\ufeffAnn", "a@x.org"]]),
    Readable("escape-codes", H + b"\x1b[31mAnn,a@x.org\n", [["\x1b[31mAnn", "a@x.org"]]),
    Readable("rejects-file", b"name,email,xgw_line,xgw_byte,xgw_code,xgw_reason,xgw_raw\nAnn,a@x.org,2,11,REQUIRED,x,\n",
             [[*A, "2", "11", "REQUIRED", "x", ""]]),
]  # fmt: skip

REFUSED = [
    Refused("empty", b"", "is empty"),
    Refused("only-a-bom", codecs.BOM_UTF8, "is empty"),
    Refused("only-blanks", b"\n \r\n\t\n", "is empty"),
    Refused("gzip", b"\x1f\x8b\x08\x00" + b"\0" * 20, "is gzip", "gunzip"),
    Refused("zip", b"PK\x03\x04" + b"\0" * 26 + b"a.txt", "zip archive"),
    Refused("xlsx", b"PK\x03\x04" + b"\0" * 26 + b"[Content_Types].xml", "spreadsheet", "save it as CSV"),
    Refused("xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 99, "old Excel", "save it as CSV"),
    Refused("pdf", b"%PDF-1.7\n", "a PDF"),
    Refused("html-named-xls", b"\n<html><table><tr><td>name</td></tr></table>", "HTML"),
    Refused("json", b'[{"name": "Ann"}]', "JSON"),
    Refused("sqlite", b"SQLite format 3\0" + b"\0" * 80, "SQLite"),
    Refused("binary", bytes(range(256)) * 8, "not text"),
    Refused("utf-32", _wide(WIDE, "utf-32"), "UTF-32", "iconv"),
    Refused("utf-16-le-without-bom", _wide(WIDE, "utf-16-le"), "not text in UTF-8", "--encoding utf-16-le"),
    Refused("utf-16-be-without-bom", _wide(WIDE, "utf-16-be"), "not text in UTF-8", "--encoding utf-16-be"),
    Refused("cp1252-not-stated", H + b"\xc5sa,a@x.org\n", "is not UTF-8", "--encoding cp1252"),
    Refused("no-such-encoding", H + AB, "cannot be read", "known: utf-8", encoding="klingon"),
    Refused("encoding-of-many-bytes", H + AB, "cannot be read", "one byte", encoding="shift_jis"),
    Refused("encoding-against-the-bom", codecs.BOM_UTF8 + H, "byte order mark says utf-8", encoding="cp1252"),
    Refused("delimiter-of-two-signs", H, "cannot separate", delimiter="::"),
    Refused("unknown-names", b"foo,bar\n1,2\n", "delimiter cannot be told", "--delimiter"),
    Refused("no-header", b"name,ann@x.org\n", "no header line"),
    Refused("no-header-numbers", b"name,17\n", "no header line"),
    Refused("two-columns-of-one-name", b"name,email,name\n", "two columns named 'name'", "rename"),
    Refused("column-without-a-name", b"name,email,\n", "no name for column 3"),
    Refused("header-quote-not-closed", b'name,"email\nAnn,a@x.org\n', "not closed"),
    Refused("header-with-escape-codes", b"name,\x1b[31memail,status\n", "column name cannot be read"),
    Refused("header-without-end", b"name," + b"x" * 1_100_000, "has no end"),
]

assert len({case.name for case in READABLE}) == len(READABLE)
