"""The bytes of an import: a file that is there to the end, or standard input put into one."""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from xgw.errors import Conflict, UsageFault
from xgw.importer.kinds import foreign

HEAD = 1 << 20
"""Bytes that the header must end in: an export of ours may have thousands of custom fields."""
_CHUNK = 1 << 20


Stamp = tuple[int, int, int]
"""Size and times of a file: while they stay, so did its bytes."""


class FileChanged(Conflict):
    """The file was written to while it was read: rows of both its forms may have been taken."""


@dataclass(frozen=True)
class Source:
    """A readable file of `size` bytes, all of which were read once: their SHA-256, and where UTF-8 ends to be UTF-8.

    What is appended later is not read; a file that became shorter or otherwise changed is a fault. `not_utf8` is the offset of
    the first byte that is no UTF-8, or None; `stamp` is from before the first byte was read.
    """

    name: str
    path: Path
    size: int
    sha256: str
    not_utf8: int | None
    head: bytes
    descriptor: int
    stamp: Stamp
    spooled: bool = False

    @property
    def nameless(self) -> bool:
        """Standard input, a pipe, what a shell made of <(…): its name means nothing in the next command, and no file is put
        beside it."""
        return self.spooled or bool(re.match(r"-\Z|/dev/(fd/|std)|/proc/", str(self.path)))

    def require_unchanged(self) -> None:
        """FileChanged when its bytes are not those that were read first. They are read again when its times are others: it may
        only have been moved, or grown."""
        if self.spooled or _stamp(self.descriptor) == self.stamp:
            return
        if _survey(self.name, self.descriptor, self.size)[0] != self.sha256:
            raise _changed(self.name, "changed")

    def pread(self, offset: int, length: int) -> bytes:
        """Exactly these bytes, fewer only at the end of the file."""
        wanted = max(0, min(length, self.size - offset))
        found = os.pread(self.descriptor, wanted, offset)
        while len(found) < wanted:
            more = os.pread(self.descriptor, wanted - len(found), offset + len(found))
            if not more:
                raise _changed(self.name, "became shorter")
            found += more
        return found

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.descriptor)


def open_source(name: str, *, spool: Path, stdin: BinaryIO | None = None) -> Source:
    """The file, or with "-" standard input; UsageFault for what is no CSV.

    What cannot be read twice (a pipe, a device) is copied to a private, nameless file in `spool` (made when absent):
    offsets, the checksum and resuming need all bytes. It goes away with the process.
    """
    if name == "-":
        return _surveyed("standard input", Path("-"), _spooled(stdin or sys.stdin.buffer, spool), spooled=True)
    path = Path(name)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        fix = "chmod u+r it" if isinstance(error, PermissionError) else "check the name; - reads standard input"
        raise UsageFault(f"{_safe(name)} cannot be read", cause=error.strerror or str(error), fix=fix) from error
    except ValueError as error:
        raise UsageFault(f"{_safe(name)} is no file name", cause=str(error)) from error
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return _surveyed(_safe(name), path, descriptor, spooled=False)
    if stat.S_ISDIR(kind):
        os.close(descriptor)
        raise UsageFault(
            f"{_safe(name)} is a directory", cause="an import reads one file", fix="name the CSV file in it"
        )
    with os.fdopen(descriptor, "rb") as pipe:
        return _surveyed(_safe(name), path, _spooled(pipe, spool), spooled=True)


def _safe(name: str) -> str:
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in name)


def _stamp(descriptor: int) -> Stamp:
    found = os.fstat(descriptor)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _changed(name: str, what: str) -> FileChanged:
    return FileChanged(f"{name} {what} while it was read", cause="somebody else writes it", fix="import a copy")


def _spooled(stream: BinaryIO, folder: Path) -> int:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, path = tempfile.mkstemp(prefix="stdin-", dir=folder)
    try:
        os.unlink(path)
        while data := stream.read(_CHUNK):
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, OSError):
            raise UsageFault(
                "standard input cannot be kept", cause=error.strerror or str(error), fix=f"make room in {folder}"
            ) from error
        raise
    return descriptor


def _surveyed(name: str, path: Path, descriptor: int, *, spooled: bool) -> Source:
    """The one pass over everything; a file of the wrong kind is told before it."""
    try:
        stamp = _stamp(descriptor)
        size = stamp[0]
        head = os.pread(descriptor, HEAD, 0)
        if not head.removeprefix(codecs.BOM_UTF8).strip(b"\r\n\t \x00"):
            raise UsageFault(f"{name} is empty", cause=f"{size} bytes", fix="export it again, with a header line")
        if found := foreign(head):
            raise UsageFault(f"{name} is {found[0]}, not CSV", cause=f"it begins with {head[:8]!r}", fix=found[1])
        sha256, not_utf8 = _survey(name, descriptor, size)
    except OSError as error:
        os.close(descriptor)
        raise UsageFault(f"{name} cannot be read", cause=error.strerror or str(error)) from error
    except BaseException:
        os.close(descriptor)
        raise
    return Source(name, path, size, sha256, not_utf8, head, descriptor, stamp, spooled)


def _survey(name: str, descriptor: int, size: int) -> tuple[str, int | None]:
    digest, decoder = hashlib.sha256(), codecs.getincrementaldecoder("utf-8")()
    not_utf8: int | None = None
    at = 0
    while at < size:
        data = os.pread(descriptor, min(_CHUNK, size - at), at)
        if not data:
            raise _changed(name, "became shorter")
        digest.update(data)
        if not_utf8 is None:
            carried = len(decoder.getstate()[0])
            try:
                decoder.decode(data, final=at + len(data) == size)
            except UnicodeDecodeError as error:
                not_utf8 = at - carried + error.start
        at += len(data)
    return digest.hexdigest(), not_utf8
