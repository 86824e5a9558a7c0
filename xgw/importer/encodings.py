"""The encoding of a file: a byte order mark decides; else it is UTF-8 to the last byte, or somebody has to say what it is."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass

from xgw.errors import UsageFault

BOMS: Sequence[tuple[bytes, str]] = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
UNICODE = ("utf-8", "utf-16-le", "utf-16-be")
COMMON = ("utf-8", "utf-16-le", "utf-16-be", "cp1252", "iso8859-15", "cp1250", "cp1251", "mac-roman")


@dataclass(frozen=True)
class Encoding:
    """How bytes become text, and text exactly those bytes again, whole or broken. `bom` is the mark the file begins with."""

    name: str
    bom: bytes = b""
    how: str = ""

    @property
    def width(self) -> int:
        """Bytes of an ASCII character."""
        return 2 if self.name.startswith("utf-16") else 1

    @property
    def handler(self) -> str:
        """The error handler under which every byte survives, as a lone surrogate."""
        return "surrogatepass" if self.width == 2 else "surrogateescape"

    def decode(self, data: bytes) -> str:
        """Text of whole lines; what is no text in this encoding becomes lone surrogates."""
        try:
            return data.decode(self.name)
        except UnicodeDecodeError:
            if self.width == 2 and len(data) % 2:
                return self.decode(data[:-1]) + chr(0xDC00 + data[-1])
            return data.decode(self.name, self.handler)

    def encode(self, text: str) -> bytes:
        """The bytes this text was made of (but for half a UTF-16 unit at the end of a file, which comes as a whole one)."""
        return text.encode(self.name, self.handler)

    def size(self, text: str) -> int:
        """How many bytes `encode` gives."""
        return len(text) * self.width if text.isascii() else len(self.encode(text))


def named(name: str) -> str:
    """The codec that `--encoding` names: a Unicode one, or one with a byte for a character and ASCII in its place."""
    low = name.strip().lower()
    if low in ("utf-8-sig", "utf8-sig", "utf_8_sig"):
        return "utf-8"
    try:
        found = codecs.lookup(low).name
        if found in ("utf-16", *UNICODE):
            return "utf-16-le" if found == "utf-16" else found
        every = bytes(range(256)).decode(found, "surrogateescape")
        if len(every) == 256 and every.isascii() is False and every[:128].encode() == bytes(range(128)):
            return found
    except (LookupError, UnicodeError, ValueError):
        pass
    fix = f"known: {', '.join(COMMON)}, and every other that has one byte for one character"
    raise UsageFault(f"--encoding {name[:40]!a} cannot be read", cause="no such encoding, or not one for CSV", fix=fix)


def marked(head: bytes) -> Encoding | None:
    """The encoding that a byte order mark names."""
    for bom, name in BOMS:
        if head.startswith(bom):
            if name == "utf-32":
                raise UsageFault("UTF-32 is not read", cause="the byte order mark", fix="iconv -f utf-32 -t utf-8")
            return Encoding(name, bom, "byte order mark")
    return None


def stated(name: str, head: bytes) -> Encoding:
    """The encoding somebody named; a mark that says another one is a contradiction."""
    found, mark = named(name), marked(head)
    if mark is None:
        return Encoding(found, b"", "--encoding")
    if mark.name != found and not (name.strip().lower() in ("utf-16", "utf16") and mark.width == 2):
        raise UsageFault(
            f"the file's byte order mark says {mark.name}, --encoding says {found}",
            cause="one of them is wrong",
            fix=f"leave --encoding away, or give --encoding {mark.name}",
        )
    return mark
