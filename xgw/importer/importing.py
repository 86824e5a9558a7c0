"""One import from its first batch to its books, over a journal that is open."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import asdict, dataclass

from xgw.faults import reach
from xgw.importer import books
from xgw.importer.entries import Counts
from xgw.importer.feed import Feed
from xgw.importer.journal import Journal
from xgw.importer.policy import Policy
from xgw.importer.ramp import Ramp
from xgw.importer.run import Limits, Progress, Recorder, bring_in
from xgw.importer.sheet import Position, Sheet
from xgw.importer.source import FileChanged, Source
from xgw.importer.validation import Validator
from xgw.importer.writing import Rows, Writer


@dataclass(frozen=True)
class Pace:
    """How fast: batches on their way at once, operations a second in the beginning (0: any number)."""

    in_flight: int
    ramp: float


async def carry_out(
    journal: Journal,
    feed: Feed,
    store: Rows,
    policy: Policy,
    pace: Pace,
    *,
    limits: Limits,
    resumed: bool,
    stopping: Callable[[], bool],
    tell: Callable[[Progress], None],
) -> Counts:
    """Brings in what the journal has not settled, checks the books and closes them. Whatever is raised (StoreStopped,
    TooManyRejects, Interrupted, DuplicateFound, BooksDiffer) leaves a journal to go on with; FileChanged, which goes before all
    of these, one that can only be undone."""
    run = journal.run
    record = Recorder(journal)
    with closing(record):
        writer = Writer(store, record, run.tenant, run.family, policy, Ramp(pace.ramp), resumed)
        begun = time.monotonic()
        reach("import-begun")
        before = await record(lambda journal: (journal.counts(), len(journal.settled())))
        async with _of_one_file(record, feed.source):
            await bring_in(
                feed,
                writer,
                counts=before[0],
                batches=before[1],
                in_flight=pace.in_flight,
                limits=limits,
                stopping=stopping,
                tell=tell,
            )
        counts = await record(lambda journal: books.check(journal, end=feed.last))
        told = {**asdict(counts), "seconds": round(time.monotonic() - begun, 3)}
        await record(lambda journal: journal.end("done", books=told))
        reach("import-ended")
    return counts


@asynccontextmanager
async def _of_one_file(record: Recorder, source: Source) -> AsyncIterator[None]:
    """FileChanged when the rows that were sent meanwhile may be of two files, however that ended: given the first bytes again,
    somebody might go on from there. The journal says so before anything else is done."""

    def look(journal: Journal) -> None:
        try:
            source.require_unchanged()
        except FileChanged as fault:
            journal.end("mixed", str(fault))
            raise

    try:
        yield
    except Exception:
        await record(look)
        raise
    await record(look)


def feed_of(journal: Journal, source: Source, sheet: Sheet, check: Validator) -> Feed:
    """The batches that the journal has not settled yet; reading begins after the last of those that lie side by side from
    the start."""
    run = journal.run
    settled, start = journal.settled(), sheet.start
    if run.shards > 1:
        return Feed(source, sheet, check, size=run.batch_size, part=(run.shard, run.shards), settled=settled)
    for part in journal.slices():
        if part.n != start.row:
            break
        start = Position(**part.stop)
    return Feed(source, sheet, check, size=run.batch_size, settled=settled, start=start)
