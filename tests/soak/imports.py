"""Every place where an import of 10 001 rows and its undo can be killed, on both stores: 0 lost, 0 doubled."""

from __future__ import annotations

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


def firestore(every: int = 1) -> str:
    """The same; each in a project of its own, which is emptied by nobody: the emulator forgets it at its end."""
    began = time.monotonic()
    host = started().host
    with tempfile.TemporaryDirectory() as folder:
        first = _desk(Path(folder) / "first", host)
        kills.prepared(first)
        end = kills.unbroken(first)
        imports, undos = kills.places(end)[::every], kills.undo_places(end)[:: 3 * every]
        for number, place in enumerate([*imports, *undos]):
            desk = _desk(Path(folder) / str(number), host)
            before = kills.prepared(desk)
            if place in imports:
                kills.killed_and_resumed(desk, place, end)
            else:
                kills.killed_while_undone(desk, place, end, before)
            _cleared(desk, host)
            print(f"  {place}", file=sys.stderr, flush=True)
    return _told(imports, undos, began)


def _desk(root: Path, host: str) -> Desk:
    return Desk(root, f"firestore://{started().project()}", {EMULATOR: host})


def _cleared(desk: Desk, host: str) -> None:
    """The emulator keeps everything in its heap."""
    import http.client

    wire = http.client.HTTPConnection(host, timeout=60)
    wire.request("DELETE", f"/emulator/v1/projects/{desk.url.rpartition('/')[2]}/databases/(default)/documents")
    wire.getresponse().read()
    wire.close()


def _told(imports: list[str], undos: list[str], began: float) -> str:
    seconds = time.monotonic() - began
    return f"{len(imports)} kills of an import and {len(undos)} of an undo, {kills.ROWS} rows, in {seconds:.0f} s"


if __name__ == "__main__":
    kind, step = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    print({"sqlite": sqlite, "firestore": firestore}[kind](step))
