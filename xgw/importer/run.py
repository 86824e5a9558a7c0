"""The main path of an import: batches in file order, a few on their way at once, each recorded when its fate is known.

Two batches that hold the same id are never on their way together: the later one waits. So whoever comes first in the file
comes first to the store, and what a row finds there does not depend on timing. Memory holds a few batches, never the file.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from gateway_runtime.contacts.store import StoreFault
from xgw.errors import SIGN_IN, Conflict, ExitCode, NotSignedIn, Unreachable, XgwError
from xgw.importer.entries import Counts, Refused
from xgw.importer.journal import Journal
from xgw.importer.writing import Prepared, Writer

T = TypeVar("T")

IN_FLIGHT = 4
ENOUGH = 1000
"""Rows after which a share of rejects says something."""


class TooManyRejects(XgwError):
    """More rows were rejected than allowed. Nothing more was sent; what was is recorded. `unsettled` are rejects of a batch that
    was read and not sent, and so are in no journal."""

    unsettled: Sequence[Refused] = ()


class Interrupted(XgwError):
    """Somebody asked to stop. The batches on their way are settled; nothing is in doubt."""

    exit_code = ExitCode.INTERRUPTED


class StoreStopped(Exception):
    """The store could not go on; the batch it happened in is unsettled. `fault` is what the store said."""

    def __init__(self, fault: StoreFault) -> None:
        self.fault = fault
        super().__init__(str(fault))


@dataclass(frozen=True)
class Limits:
    """How many rejects, or which share of the rows, end an import early; None: any."""

    count: int | None = None
    rate: float | None = None

    def check(self, read: int, rejected: int, *, ended: bool = False) -> None:
        """TooManyRejects. The share counts from `ENOUGH` rows on, or at the end."""
        if self.count is not None and rejected > self.count:
            raise _too_many(
                f"{rejected:,} of the {read:,} rows read so far are rejected, and --max-errors {self.count} allows no more"
            )
        if self.rate is not None and (ended or read >= ENOUGH) and rejected > self.rate * read:
            raise _too_many(
                f"{rejected:,} of the {read:,} rows read so far are rejected, more than --max-error-rate {self.rate:g}"
            )


@dataclass(frozen=True)
class Progress:
    """How far an import is. Bytes of the file, rows settled by this process and in all."""

    byte: int
    counts: Counts
    batches: int
    started: float = field(default_factory=time.monotonic)
    rows_here: int = 0


class Recorder:
    """The journal in a thread of its own, one call after the other: the event loop never waits for the disk."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")

    async def __call__(self, work: Callable[[Journal], T], /) -> T:
        """What `work` returns, when its writes are durable."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._journal)

    def close(self) -> None:
        """Waits for the last call."""
        self._thread.shutdown()


@dataclass
class Way:
    """The batches that are on their way, and the ids in them."""

    writer: Writer
    counts: Counts
    tell: Callable[[Progress], None]
    batches: int = 0
    rows_here: int = 0
    byte: int = 0
    started: float = field(default_factory=time.monotonic)
    holders: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def send(self, batch: Prepared, most: int) -> None:
        """Starts a batch when there is room for it and nobody on the way holds one of its ids. A fault of any batch ends
        the sending; later batches never overtake one that failed."""
        ids = [contact.id for _, contact in batch.rows] + list(batch.ids.values())
        while True:
            self._raise()
            waiting = {self.holders[id] for id in ids if id in self.holders}
            if not waiting and len(self.tasks) < most:
                break
            await asyncio.wait(waiting or self.tasks, return_when=asyncio.FIRST_COMPLETED)
        task = asyncio.create_task(self._settle(batch, ids))
        self.tasks.add(task)
        self.holders.update(dict.fromkeys(ids, task))
        await asyncio.sleep(0)

    async def arrive(self) -> None:
        """Waits for everything that is on its way; then the first fault is raised."""
        if self.tasks:
            await asyncio.wait(self.tasks)
        self._raise()

    async def _settle(self, batch: Prepared, ids: list[str]) -> None:
        fate = await self.writer.settle(batch)
        for id in ids:
            self.holders.pop(id, None)
        if task := asyncio.current_task():
            self.tasks.discard(task)
        self.counts += fate.counts
        self.batches += 1
        self.rows_here += fate.counts.read
        self.byte = max(self.byte, batch.part.stop["byte"])
        self.tell(Progress(self.byte, self.counts, self.batches, self.started, self.rows_here))

    def _raise(self) -> None:
        for task in list(self.tasks):
            if task.done() and (fault := task.exception()) is not None:
                if isinstance(fault, StoreFault):
                    raise StoreStopped(fault)
                raise fault


async def bring_in(
    feed: Iterable[Prepared],
    writer: Writer,
    *,
    counts: Counts,
    batches: int = 0,
    in_flight: int = IN_FLIGHT,
    limits: Limits = Limits(),
    stopping: Callable[[], bool] = lambda: False,
    tell: Callable[[Progress], None] = lambda progress: None,
) -> Counts:
    """Sends every batch of `feed`, and returns the counts of all that is settled: `counts` were before.

    Raises StoreStopped, TooManyRejects, Interrupted or DuplicateFound after everything on its way has settled or failed.
    """
    way = Way(writer, counts, tell, batches)
    read, rejected = counts.read, counts.rejected
    try:
        for batch in feed:
            if stopping():
                raise Interrupted("stopped as asked, between two batches")
            read, rejected = read + batch.part.rows, rejected + len(batch.refused)
            _checked(limits, read, rejected, batch)
            await way.send(batch, in_flight)
        await way.arrive()  # asked to stop by now: what is on its way is all that was left
        limits.check(way.counts.read, way.counts.rejected, ended=True)
    finally:
        if way.tasks:  # each of them still gets its fate, or its own fault
            done, _ = await asyncio.wait(way.tasks)
            for task in done:
                task.exception()  # looked at: one of them is on its way up already
    return way.counts


def _checked(limits: Limits, read: int, rejected: int, batch: Prepared) -> None:
    try:
        limits.check(read, rejected)
    except TooManyRejects as fault:
        fault.unsettled = batch.refused
        raise


def fault_of(fault: StoreFault, left: str, resume: str, *, deed: str = "written to") -> XgwError:
    """What the store said, as a fault of the command. `left` says how much is left, `resume` how to go on, `deed` what the
    store was to suffer."""
    kinds: dict[str, tuple[type[XgwError], str, str]] = {
        "denied": (NotSignedIn, f"the store refuses to be {deed}", "get the permission, then"),
        "unauthenticated": (NotSignedIn, "not signed in to Google Cloud", f"{SIGN_IN}, then"),
        "full": (XgwError, "the store has no room left, or its quota is used up", "make room, then"),
        "busy": (Conflict, "somebody else holds the store", "when they are done:"),
        "unavailable": (Unreachable, "the store does not answer", "when it does:"),
    }
    kind, text, fix = kinds[fault.kind]
    return kind(f"{text}; {left}", cause=fault.detail or fault.kind, fix=f"{fix} {resume}")


def _too_many(text: str) -> TooManyRejects:
    return TooManyRejects(text, cause="more than was allowed", fix="mend the file, or raise the limit")
