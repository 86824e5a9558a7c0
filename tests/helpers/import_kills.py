"""Where an import and its undo can be killed, and that it makes no difference: shared by the suite and by tests/soak.

The scenario passes every point: 10 001 rows over a store that holds some of them already, with other values, with rows that
repeat an address within a batch, across batches and against the store, with rejects, changing what is there.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gateway_runtime.contacts.model import Contact
from tests.helpers.import_stage import Desk, leads, told
from xgw import faults

ROWS = 10_001
BATCH = 500
WORDS = ("--unmapped", "custom", "--on-duplicate", "update", "--batch-size", str(BATCH))
KILLED = -signal.SIGKILL


def seed() -> str:
    """What is there before: some addresses of `leads`, with other names; a few just as the file has them."""
    rows = [f"Old {n},person{n}@example.com,Before,kept\n" for n in range(0, ROWS, 23)]
    return "name,email,company,note\n" + "".join(rows)


@dataclass(frozen=True)
class End:
    """How an unbroken run ends, and what it passes."""

    stored: Mapping[str, Any]
    books: Mapping[str, int]
    rejects: bytes
    passed: Mapping[str, int]


def prepared(desk: Desk) -> Mapping[str, Contact]:
    """Puts the file there and the seed into the store; what is stored then."""
    desk.file(leads(ROWS))
    desk.file(seed(), "seed.csv")
    desk.brought("seed.csv", "--unmapped", "custom")
    return desk.stored()


def unbroken(desk: Desk) -> End:
    """The run that all others are held against, and its undo; the points it passes."""
    seen: list[str] = []
    faults.watch(seen.append)
    try:
        books = desk.brought("leads.csv", *WORDS, code=7)
        stored = told(desk.stored())
        run = newest(desk)
        desk.data("undo", run)
    finally:
        faults.watch(None)
    return End(stored, books, (desk.root / "leads.rejects.csv").read_bytes(), Counter(seen))


def newest(desk: Desk) -> str:
    return str(desk.data("imports")[0]["run"])


def places(end: End) -> list[str]:
    """POINT#N for every point that the import passes, every time it does."""
    return [
        f"{point}#{n}"
        for point in faults.IMPORT_POINTS
        if not point.startswith("undo")
        for n in range(1, end.passed[point] + 1)
    ]


def undo_places(end: End) -> list[str]:
    """The same for its undo."""
    return [
        f"{point}#{n}"
        for point in faults.IMPORT_POINTS
        if point.startswith("undo")
        for n in range(1, end.passed[point] + 1)
    ]


def killed_and_resumed(desk: Desk, place: str, end: End) -> None:
    """Killed there, and then the same command with --resume: the end is that of the unbroken run."""
    rejects = desk.root / "leads.rejects.csv"
    rejects.unlink(missing_ok=True)
    killed = desk.run("import", "leads.csv", *WORDS, "-q", fault=f"{place}:crash")
    assert killed.code == KILLED, killed
    books = desk.brought("leads.csv", *WORDS, "--resume", code=7)
    assert books == end.books, place
    assert told(desk.stored()) == end.stored, place
    assert rejects.read_bytes() == end.rejects, place
    assert sum(one["file"].endswith("leads.csv") for one in desk.data("imports")) == 1


def killed_while_undone(desk: Desk, place: str, end: End, before: Mapping[str, Contact]) -> None:
    """The import is whole; its undo is killed there and begun again: what was before is there again, to the mark."""
    desk.brought("leads.csv", *WORDS, code=7)
    run = newest(desk)
    killed = desk.run("undo", run, "-q", fault=f"{place}:crash")
    assert killed.code == KILLED, killed
    desk.data("undo", run)
    assert desk.stored() == before, place
    again = desk.data("undo", run)
    assert again["left_alone"] == 0


def beside(desk: Desk, root: Path, **values: Any) -> Desk:
    """The same store with another home."""
    return replace(desk, root=root, **values)
