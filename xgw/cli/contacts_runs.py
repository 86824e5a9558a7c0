"""`xgw contacts imports` and `xgw contacts undo`: what was brought in here, and taking it back."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import click

from xgw.cli.contacts import Place, arm_faults, place_of, store_of_run
from xgw.cli.options import Invocation, confirm, leaf, rows_counter, show, talk
from xgw.cli.stopping import Stop, stoppable
from xgw.errors import ExitCode
from xgw.report import Report, safe

if TYPE_CHECKING:
    from xgw.importer.journal import Journal

_LISTED = 20
"""Rows left alone that a screen shows."""


@leaf(
    "imports",
    examples=(
        ("xgw contacts imports", "Every import that was made from here, newest first."),
        ("xgw contacts imports RUN", "One of them; the parts of a sharded one as one report."),
    ),
)
@click.argument("run", required=False, default="")
def imports(invocation: Invocation, run: str) -> int:
    """The imports that are recorded under XGW_HOME. Nothing of a contact is shown.

    Exit 0 whatever became of the rows: it is a report. Books that do not balance are a fault.
    """
    from xgw.cli.contacts_screens import described, runs_report
    from xgw.importer import books, runs

    home = invocation.settings.home
    if run:
        with ExitStack() as stack:
            journals = [stack.enter_context(closing(one)) for one in runs.of_name(home, run)]
            return _one(invocation, run, journals)
    groups = []
    for family in dict.fromkeys(run.family for run, _, _ in runs.glances(home)):
        with ExitStack() as stack:
            journals = [stack.enter_context(closing(one)) for one in runs.of_name(home, family)]
            groups.append(([described(one, one.counts()) for one in journals], books.merged(journals)["counts"]))
    show(invocation, runs_report(groups))
    if not groups:
        talk(invocation, "No import was made from here.")
    return ExitCode.OK


def _one(invocation: Invocation, name: str, journals: Sequence[Journal]) -> int:
    from xgw.cli.contacts_screens import family_report
    from xgw.importer import books

    part = journals[0].run.shards > 1 and name == journals[0].run.id
    merged = books.merged(journals, part=part)
    show(invocation, family_report(journals, merged, part=part))
    if merged["gaps"] or not merged["counts"].balanced:
        raise books.BooksDiffer(
            f"the books of import {journals[0].run.family} do not balance",
            cause="; ".join(merged["gaps"]) or "the sums differ",
            fix="keep the journals and report this",
        )
    return ExitCode.OK


@leaf(
    "undo",
    examples=(
        ("xgw contacts undo RUN", "Remove what an import created, restore what it changed."),
        ("xgw contacts undo RUN -o json", "What was removed, restored and left alone."),
    ),
)
@click.argument("run")
def undo(invocation: Invocation, run: str) -> int:
    """Take an import back. Contacts that somebody changed since are left alone and listed; repeated, it looks at those again."""
    from xgw import lock
    from xgw.importer import runs

    home = invocation.settings.home
    with ExitStack() as stack:
        journals = [stack.enter_context(closing(one)) for one in runs.of_name(home, run)]
        place = place_of(invocation, journals[0].run.store)
        arm_faults(place)
        if place.careful:
            confirm(invocation, place.careful)
        displaced = {loser for one in journals for loser in one.displaced()}
        stop = stack.enter_context(stoppable(invocation, "finishing this batch", _again(journals[0])))
        for one in journals:
            if one.state.state == "undone" and not one.undo_numbers():
                continue
            name = f"contacts import {one.run.id}"
            with lock.held(home, name, f"undo of {name}") as stale:
                if stale:
                    talk(invocation, safe(f"took over import {one.run.id} from {stale.who} (pid {stale.pid} is gone)"))
                _take_back(invocation, one, place, displaced, stop)
        stop.over("it is taken back; what became of the rows follows")
        show(invocation, _undo_report(journals))
    return ExitCode.OK


def _again(journal: Journal) -> str:
    return f"xgw contacts undo {journal.run.family}"


def _take_back(invocation: Invocation, journal: Journal, place: Place, displaced: set[int], stop: Stop) -> None:
    import asyncio

    from gateway_runtime.contacts.store import StoreFault
    from xgw.importer.run import Interrupted, fault_of

    again = _again(journal)
    try:
        asyncio.run(_put_back(invocation, journal, place, displaced, stop))
    except StoreFault as fault:
        raise fault_of(fault, "part of the import is taken back", again) from None
    except Interrupted as fault:
        raise Interrupted(fault.message, cause="Ctrl-C, or SIGTERM", fix=again) from None


async def _put_back(invocation: Invocation, journal: Journal, place: Place, displaced: set[int], stop: Stop) -> None:
    from xgw.importer.run import Recorder
    from xgw.importer.undo import take_back
    from xgw.ledger import who

    with closing(Recorder(journal)) as record, rows_counter(invocation, "undoing") as counter:
        async with store_of_run(place, journal) as store:
            await take_back(
                journal,
                store,
                record,
                who=who(),
                displaced=displaced,
                tell=lambda done, all_, rows: counter.told(done / max(all_, 1), rows, f"batch {done:,}/{all_:,}"),
                stopping=stop,
            )


def _undo_report(journals: Sequence[Journal]) -> Report:
    books = [journal.undo_books() for journal in journals]
    removed, restored = sum(b["removed"] for b in books), sum(b["restored"] for b in books)
    left = [item for journal in journals for item in journal.left(10_000)]
    number = sum(count for b in books for count in b["left"].values())
    run = journals[0].run.family
    rows = [(row, id, why) for row, id, why in left[:_LISTED]]
    head = [f"import {run} is undone: removed {removed:,}   restored {restored:,}   left alone {number:,}"]
    foot = [f"and {number - _LISTED:,} more: -o json"] if number > _LISTED else []
    data = {
        "run": run,
        "removed": removed,
        "restored": restored,
        "left_alone": number,
        "left": [{"row": row, "id": id, "why": why} for row, id, why in left],
    }
    flat = Report("contacts-undo", data=data)
    return Report("contacts-undo", ("row", "id", "why"), rows, head, foot, data, flat=flat)
