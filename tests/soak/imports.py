"""Every place where an import of 10 001 rows and its undo can be killed, on both stores: 0 lost, 0 doubled."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.helpers import import_kills as kills
from tests.helpers.firestore_emulator import EMULATOR, missing, started
from tests.helpers.import_stage import Desk, copied


def run() -> str:
    """SQLite, and Firestore's emulator where there is one."""
    told = [f"sqlite {sqlite()}"]
    told.append(f"firestore not tested: {missing()}" if missing() else f"firestore {firestore()}")
    return "; ".join(told)


def sqlite(every: int = 1) -> str:
    """Every `every`-th place; each over a copy of the same store."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "first"
        first = Desk(root, f"sqlite://{root}/contacts.db")
        before = kills.prepared(first)
        copied(root / "contacts.db", root / "kept.db")
        end = kills.unbroken(first)
        imports, undos = kills.places(end)[::every], kills.undo_places(end)[:: 3 * every]
        for number, place in enumerate([*imports, *undos]):
            here = Path(folder) / str(number)
            copied(root / "kept.db", here / "contacts.db")
            desk = Desk(here, f"sqlite://{here}/contacts.db")
            desk.file((root / "leads.csv").read_bytes())
            if place in imports:
                kills.killed_and_resumed(desk, place, end)
            else:
                kills.killed_while_undone(desk, place, end, before)
    return _told(imports, undos, began)


def firestore(every: int = 1, skip: int = 0) -> str:
    """The same, each in a project of its own; without the first `skip` places."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        first = _desk(Path(folder) / "first")
        kills.prepared(first)
        end = kills.unbroken(first)
        imports, undos = kills.places(end)[::every], kills.undo_places(end)[:: 3 * every]
        for number, place in enumerate([*imports, *undos]):
            if number < skip:
                continue
            if number % RENEWED == 0:
                _renew()
            desk = _desk(Path(folder) / str(number))
            before = kills.prepared(desk)
            if place in imports:
                kills.killed_and_resumed(desk, place, end)
            else:
                kills.killed_while_undone(desk, place, end, before)
            print(f"  {place}", file=sys.stderr, flush=True)
    return _told(imports[skip:], undos, began)


RENEWED = 8
"""Places after which the emulator is started anew: it keeps everything in its heap, what was deleted too."""


def _renew() -> None:
    os.killpg(started().pid, signal.SIGKILL)
    started.cache_clear()


def _desk(root: Path) -> Desk:
    emulator = started()
    return Desk(root, f"firestore://{emulator.project()}", {EMULATOR: emulator.host})


def _told(imports: list[str], undos: list[str], began: float) -> str:
    seconds = time.monotonic() - began
    return f"{len(imports)} kills of an import and {len(undos)} of an undo, {kills.ROWS} rows, in {seconds:.0f} s"


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[2:]]
    print({"sqlite": sqlite, "firestore": firestore}[sys.argv[1]](*numbers))
