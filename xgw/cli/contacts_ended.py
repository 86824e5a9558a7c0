"""An import that ended before its end: why, how far it is, where its rejects are, and how to go on."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xgw.cli.contacts_again import to_go_on
from xgw.errors import XgwError
from xgw.words import counted

if TYPE_CHECKING:
    from gateway_runtime.contacts.store import StoreFault
    from xgw.cli.contacts_plan import Planned
    from xgw.importer.entries import Refused
    from xgw.importer.journal import Journal


def fault_told(
    fault: XgwError | StoreFault, planned: Planned, journal: Journal, last: Any, rejects: Path | None
) -> XgwError:
    """The fault that ends the command. `last` is where reading stopped, `rejects` the file that was written."""
    from gateway_runtime.contacts.store import StoreFault
    from xgw.importer.books import BooksDiffer
    from xgw.importer.run import Interrupted, TooManyRejects, fault_of
    from xgw.importer.source import FileChanged
    from xgw.importer.writing import DuplicateFound

    again = to_go_on(planned)
    if isinstance(fault, StoreFault):
        return fault_of(fault, _left(planned, journal, last), again)
    if isinstance(fault, Interrupted):
        return Interrupted(f"{fault.message}; {_left(planned, journal, last)}", cause="Ctrl-C, or SIGTERM", fix=again)
    if isinstance(fault, TooManyRejects):
        where = f"; rejects with reasons: {rejects}" if rejects else ""
        return TooManyRejects(
            f"{fault.message}; {_left(planned, journal, last)}{where}",
            cause=_reasons(chain(journal.refused(), fault.unsettled)),
            fix=f"xgw contacts undo {journal.run.family} takes back what was written; with a higher limit or none it goes on: "
            + again,
        )
    if isinstance(fault, DuplicateFound):
        return DuplicateFound(
            fault.message,
            cause=fault.cause,
            fix=f"xgw contacts undo {journal.run.family}, or --restart with another --on-duplicate",
        )
    if isinstance(fault, FileChanged):
        return FileChanged(
            f"{fault.message}; {_rows_settled(journal)}, and may be of both its forms",
            cause=fault.cause,
            fix=f"xgw contacts undo {journal.run.family} takes back what was written; then import a copy of the file",
        )
    if isinstance(fault, BooksDiffer) or fault.fix:
        return fault
    return type(fault)(fault.message, cause=fault.cause, fix=again)


def _reasons(rejects: Iterable[Refused]) -> str:
    """NOT_AN_ADDRESS 141 (first on line 7), REQUIRED 12 (first on line 90)"""
    found: dict[str, tuple[int, int]] = {}
    for one in rejects:
        count, first = found.get(one.code, (0, int(one.body["line"])))
        found[one.code] = count + 1, min(first, int(one.body["line"]))
    often = sorted(found.items(), key=lambda item: -item[1][0])
    return ", ".join(f"{code} {count:,} (first on line {first:,})" for code, (count, first) in often)


def _rows_settled(journal: Journal) -> str:
    return counted(journal.counts().read, "row is", "rows are") + " settled"


def _left(planned: Planned, journal: Journal, last: Any) -> str:
    """How much of the file has no fate yet: counted, or for a large rest in bytes."""
    from xgw.importer.feed import unread

    settled = journal.counts().read
    rest = planned.source.size - (last.byte if last else 0)
    if journal.run.shards > 1 or rest > 1 << 28:
        return f"{_rows_settled(journal)}, about {rest:,} bytes are left"
    left = (last.row if last else 0) + unread(planned.source, planned.sheet, size=2000, after=last) - settled
    return f"{_rows_settled(journal)}, {counted(left, 'is', 'are')} left"
