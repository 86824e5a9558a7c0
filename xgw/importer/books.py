"""The books of an import: read = created + updated + unchanged + duplicate + rejected, from the journal, seen from two sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

from xgw.errors import XgwError
from xgw.importer.entries import Counts, Slice
from xgw.importer.journal import Journal
from xgw.importer.sheet import Position
from xgw.words import counted


class BooksDiffer(XgwError):
    """The rows that were read and the rows that have a fate are not the same. Nothing is hidden: the journal holds both."""


def check(journal: Journal, *, end: Position | None) -> Counts:
    """The counts of a run that is at its end, when they hold. BooksDiffer names every sum that does not.

    `end` is where the reader stopped, None when it read nothing. The batches must lie side by side up to there.
    """
    counts, sides = journal.counts(), journal.tallies()
    wrong = [] if counts.balanced else [f"{counts.read} rows read, {_fates(counts)} have a fate"]
    wrong += [
        f"{getattr(counts, name)} {name} by the batches, {sides[name]} one by one"
        for name in ("created", "updated", "rejected")
        if getattr(counts, name) != sides[name]
    ]
    if sides["unsettled"]:
        wrong.append(f"{counted(sides['unsettled'], 'batch', 'batches')} without an end")
    wrong += _gaps(list(journal.slices()), end, whole=journal.run.shards == 1)
    if wrong:
        raise BooksDiffer(
            f"the books of import {journal.run.id} do not balance",
            cause="; ".join(wrong),
            fix=f"keep {journal.path} and report this; xgw contacts undo {journal.run.id} takes the import back",
        )
    return counts


def _fates(counts: Counts) -> int:
    return int(sum(asdict(counts).values())) - counts.read


def _gaps(slices: Sequence[Slice], end: Position | None, *, whole: bool) -> list[str]:
    """Where batches do not lie side by side; for a `whole` file from its first row on."""
    wrong = [f"rows 1 to {slices[0].n} are missing"] if whole and slices and slices[0].n else []
    wrong += [
        f"rows {before.stop['row'] + 1} to {after.first - 1} are missing"
        for before, after in pairwise(slices)
        if before.stop["byte"] != after.start["byte"] or before.stop["row"] != after.first - 1
    ]
    wrong += [f"batch {part.n} counts {part.rows} rows" for part in slices if part.stop["row"] != part.n + part.rows]
    last = slices[-1].stop["row"] if slices else 0
    if end is not None and last != end.row:
        wrong.append(f"reading ended at row {end.row}, the last batch at {last}")
    return wrong


def merged(journals: Sequence[Journal], *, part: bool = False) -> dict[str, Any]:
    """One report over the shards of an import: its books, and what is missing for them to be whole.

    `part`: they are one shard that is looked at by itself, so that no other is missing. A row that another
    shard displaced (an earlier row with the same key came later) is a duplicate and not created.
    """
    run = journals[0].run
    counts = sum((journal.counts() for journal in journals), Counts())
    lost = {loser for journal in journals for loser in journal.displaced()}
    moved = sum(len(journal.created(lost)) for journal in journals)
    counts = replace(counts, created=counts.created - moved, duplicate=counts.duplicate + moved)
    there = {journal.run.shard for journal in journals}
    missing = [] if part else [number for number in range(run.shards) if number not in there]
    unfinished = sorted(journal.run.shard for journal in journals if not journal.told())  # whatever came afterwards
    slices = sorted((part for journal in journals for part in journal.slices()), key=lambda part: part.n)
    gaps = _gaps(slices, None, whole=not part) if not missing and not unfinished else []
    return {
        "counts": counts,
        "missing": missing,
        "unfinished": unfinished,
        "gaps": gaps,
        "balanced": counts.balanced and not gaps,
        "whole": not missing and not unfinished and not gaps and counts.balanced,
    }
