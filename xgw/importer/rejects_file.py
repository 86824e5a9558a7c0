"""Where a rejects file may be written: never over what somebody mended, and never over a file of somebody else.

The checksum of every rejects file that was written is kept beside the journals. A file with one of these is as it was
written, and all of it is in a journal: it may be replaced. Any other file stays.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path

from xgw.errors import UsageFault, XgwError
from xgw.faults import reach
from xgw.importer.entries import Refused
from xgw.importer.feed import reject_of
from xgw.importer.rejects import rejects_head, rejects_row
from xgw.importer.runs import folder
from xgw.importer.sheet import Sheet

_LONGEST = 230
"""Bytes of a name: file systems take 255, and others are made of it (-2, .PID.new)."""


def shortened(stem: str, rest: str) -> str:
    """stem + rest as the name of a file; a stem that is too long for it, cut, with a sum that tells it from its like."""
    whole = os.fsencode(stem)
    room = _LONGEST - len(rest)
    if len(whole) <= room:
        return stem + rest
    sum_ = hashlib.sha256(whole).hexdigest()[:8]
    return f"{whole[: room - 9].decode(errors='ignore')}-{sum_}{rest}"


def require_place(path: Path) -> None:
    """UsageFault when no rejects could be written there: to be known before the first row is."""
    try:
        os.close(os.open(_fresh(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        _fresh(path).unlink()
    except OSError as error:
        raise UsageFault(
            f"rejected rows cannot be written to {path}", cause=error.strerror or str(error), fix="--rejects FILE"
        ) from error


def replaceable(home: Path, path: Path) -> bool:
    """Whether nothing would be lost with that file: it is not there, or is as an import wrote it."""
    if not os.path.exists(path):  # also for a name that is too long to be
        return True
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        return digest in _list(home).read_text().split()
    except FileNotFoundError:
        return False


def free(home: Path, path: Path) -> Path:
    """The path, or the next one that is free: leads.rejects.csv, leads.rejects-2.csv."""
    names = chain((path,), (path.with_name(f"{path.stem}-{n}{path.suffix}") for n in count(2)))
    return next(name for name in names if replaceable(home, name))


def write_rejects(home: Path, rejects: Iterable[Refused], sheet: Sheet, wished: Path) -> tuple[Path, int]:
    """Rejects as a CSV that can be imported again, whole or not at all: where, and how many. Nothing is written when there
    are none."""
    each = iter(rejects)
    first = next(each, None)
    if first is None:
        return wished, 0
    fresh = _fresh(wished)
    digest, number = hashlib.sha256(), 0
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for data in chain(
                (rejects_head(sheet),), (rejects_row(sheet, reject_of(one)) for one in chain((first,), each))
            ):
                digest.update(data)
                number += file.write(data) > 0
        path = free(home, wished)
        _note(home, digest.hexdigest())
        os.replace(fresh, path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise XgwError(
            f"the rejects file {wished} cannot be written",
            cause=error.strerror or str(error),
            fix="run the same command with --resume --rejects FILE; the rejects are in the journal",
        ) from error
    reach("rejects-written")
    return path, number - 1


def _fresh(path: Path) -> Path:
    """Where a file is written until it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}.new")


def _list(home: Path) -> Path:
    return folder(home) / "rejects.sha256"


def _note(home: Path, digest: str) -> None:
    """Appended before the file appears, so that a run that is killed in between knows it again."""
    folder(home).mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(os.open(_list(home), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w") as file:
        file.write(f"{digest}\n")
