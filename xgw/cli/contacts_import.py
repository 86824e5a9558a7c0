"""`xgw contacts import`: what was asked for, the run it belongs to, and its end on the screen."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xgw.cli.contacts import Place, arm_faults, place_of, store_at, store_of_run, store_option, tenant_of, tenant_option
from xgw.cli.contacts_again import for_rejects, to_go_on
from xgw.cli.contacts_ended import fault_told
from xgw.cli.contacts_plan import Asked, Planned, check_rejects, check_wishes, plan, save_mapping
from xgw.cli.options import Invocation, confirm, leaf, rows_counter, show, talk
from xgw.cli.stopping import Stop, stoppable
from xgw.errors import Conflict, ExitCode, UsageFault, XgwError
from xgw.report import safe
from xgw.words import counted

if TYPE_CHECKING:
    from xgw.importer.entries import Counts, Refused, Run
    from xgw.importer.journal import Journal
    from xgw.importer.run import Progress

_FILE = click.Path(dir_okay=False, path_type=Path)


@leaf(
    "import",
    examples=(
        ("xgw contacts import leads.csv --tenant acme --dry-run", "Every mismatch in one pass; nothing is written."),
        ("xgw contacts import leads.csv --tenant acme --map email='E-mail 1'", "Say which column is what."),
        ("xgw contacts import leads.csv --tenant acme --resume", "Go on with an import that was broken off."),
        ("xgw contacts import new.csv --tenant acme --on-duplicate fill", "Fill in what is missing, change nothing."),
    ),
)
@click.argument("file", metavar="FILE|-")
@click.option("--map", multiple=True, metavar="FIELD=COLUMN", help="Which column is a field; FIELD= for none.")
@click.option("--mapping", type=_FILE, metavar="FILE", help="A mapping that was saved.")
@click.option("--save-mapping", type=_FILE, metavar="FILE", help="Save the mapping in force, with --dry-run too.")
@click.option(
    "--unmapped",
    type=click.Choice(["drop", "custom"]),
    default=None,
    help="Other columns: left out (default), or custom fields.",
)
@click.option("--encoding", default="", metavar="NAME", help="As in cp1252; never guessed.")
@click.option("--delimiter", default="", metavar="SIGN", help="When the header does not tell.")
@click.option("--key", default="email", metavar="COLUMN", help="What tells contacts apart, if not the e-mail.")
@tenant_option
@click.option(
    "--dry-run",
    is_flag=True,
    help="Read, check and compare everything; write no contact, and no file but those you name.",
)
@click.option("--resume", is_flag=True, help="Go on with the unfinished import of this file.")
@click.option("--restart", is_flag=True, help="Leave it, and begin anew.")
@click.option(
    "--on-duplicate",
    type=click.Choice(["skip", "update", "fill", "fail"]),
    default="skip",
    show_default=True,
    help="What to do with a contact that is there already.",
)
@click.option("--rule", multiple=True, metavar="COLUMN=RULE", help="For one column: skip, fill or overwrite.")
@click.option(
    "--batch-size", type=click.IntRange(1, 10_000), default=None, metavar="N", help="Rows sent and recorded at once."
)
@click.option(
    "--max-errors", type=click.IntRange(0), default=None, metavar="N", help="Stop when more rows are rejected."
)
@click.option(
    "--max-error-rate",
    type=click.FloatRange(0, 1),
    default=None,
    metavar="P",
    help="Stop when more than this share of rows is rejected, as in 0.05.",
)
@click.option(
    "--rejects",
    type=_FILE,
    metavar="FILE",
    help="Where rejected rows go (NAME.rejects.csv); with --dry-run only if named.",
)
@store_option
@click.option("--shard", default="", metavar="I/N", help="Only the I-th of N parts; a Cloud Run job says it by itself.")
@click.option(
    "--ramp",
    default="",
    metavar="RATE|off",
    help="Rows a second in the beginning (Firestore: 500, +50% each 5 minutes).",
)
def import_(invocation: Invocation, **options: Any) -> int:
    """Bring the rows of a CSV file into the contacts of a tenant, each exactly once.

    Exit 7 when rows were rejected: they are in a file that imports again when it is mended.
    """
    from xgw.importer.rejects_file import require_place
    from xgw.importer.runs import folder
    from xgw.importer.source import open_source

    asked = Asked(**{**options, "unmapped": options["unmapped"] or ""})
    tenant, place = tenant_of(asked.tenant), place_of(invocation, asked.store)
    arm_faults(place)
    check_wishes(asked)
    check_rejects(asked, invocation.settings.home)
    with open_source(asked.file, spool=folder(invocation.settings.home)) as source:
        planned = plan(asked, tenant, place, source)
        if asked.rejects or not asked.dry_run:
            require_place(planned.rejects(planned.wished))
        if asked.save_mapping:
            save_mapping(asked.save_mapping, planned.made)
            talk(invocation, f"the mapping is saved in {safe(str(asked.save_mapping))}")
        if asked.dry_run:
            return _rehearsed(invocation, planned)
        return _imported(invocation, planned)


# --- the run


def _imported(invocation: Invocation, planned: Planned) -> int:
    from xgw import lock
    from xgw.cli.contacts_screens import import_report, introduction, next_steps
    from xgw.importer import entries

    home = invocation.settings.home
    if planned.place.careful:  # before there is a journal: a no leaves nothing behind
        talk(invocation, introduction(planned, "not begun", invocation.err.width))
        confirm(invocation, planned.place.careful)
    journal, resumed = _journal(home, invocation, planned)
    stopping = stoppable(invocation, "finishing the batches on their way", to_go_on(planned))
    with stopping as stop, closing(journal):
        run = journal.run
        entries.require_no_end(run, journal.state.state)  # one that a job's execution has under this name
        told = f"import {run.id}" if planned.place.careful else introduction(planned, run.id, invocation.err.width)
        talk(invocation, told)
        if not (before := journal.state.state == "done"):
            counts = journal.counts()
            if resumed:
                talk(invocation, f"going on with import {run.id}: {counted(counts.read, 'row is', 'rows are')} settled")
            with lock.held(home, f"contacts import {run.id}", f"contacts import {run.id}") as stale:
                if stale:
                    talk(invocation, safe(f"took over import {run.id} from {stale.who} (pid {stale.pid} is gone)"))
                entries.require_no_end(run, journal.state.state)  # an undo or a --restart may have been faster
                if not (before := journal.state.state == "done"):  # or who went on with it
                    _carry_out(invocation, planned, journal, resumed, stop)
        stop.over("all rows are in; what became of them follows")
        rejects, rejected = _write_rejects(invocation, planned, journal)
        show(invocation, import_report(journal, rejects if rejected else None, before=before))
        for line in next_steps(journal, rejected, for_rejects(planned, rejects)):
            talk(invocation, line)
    return ExitCode.REJECTS if rejected else ExitCode.OK


def _journal(home: Path, invocation: Invocation, planned: Planned) -> tuple[Journal, bool]:
    """The journal to write into, and whether somebody wrote into it before."""
    from xgw import lock
    from xgw.importer import entries, runs

    asked, wished = planned.asked, planned.wished
    resume = asked.resume or os.environ.get("CLOUD_RUN_TASK_ATTEMPT", "0") not in ("", "0")
    found = runs.same_again(home, wished, state="open")
    if found and asked.restart:
        with closing(found), lock.held(home, f"contacts import {found.run.id}", "--restart of its import"):
            entries.require_no_end(found.run, found.state.state)  # an undo may have been faster
            if found.state.state == "open":
                found.end("left", "begun anew")
        found = None
    if found and resume:
        try:
            entries.resumable(found.run, wished)
        except XgwError:
            found.close()
            raise
        return found, True
    if found:
        with closing(found):
            _require_finished(found, wished)
    for state in entries.OVER if resume else ():
        if over := runs.same_again(home, wished, state=state):
            over.close()
            entries.require_no_end(over.run, state)
    if resume and (done := runs.same_again(home, wished, state="done")):
        if done.run.options == wished.options:
            _require_its_store(planned, done)
            talk(invocation, f"import {done.run.id} of this file is finished; there is nothing to go on with")
            return done, True
        done.close()
    if asked.resume and not os.environ.get("CLOUD_RUN_EXECUTION"):  # a job has one command for every try
        raise UsageFault(
            "there is nothing to resume",
            cause="no import of this file with these options was begun here",
            fix=f"begin it: {to_go_on(planned, how='')}",
        )
    return runs.begin(home, wished, os.environ), resume


def _require_finished(found: Journal, wished: Run) -> None:
    if found.run.sha256 == wished.sha256:
        raise Conflict(
            f"import {found.run.id} of this file is not finished: "
            f"{counted(found.counts().read, 'row is', 'rows are')} settled",
            cause=found.state.note or "it was broken off, or is still at work",
            fix="add --resume to go on with it, or --restart to begin anew",
        )


def _require_its_store(planned: Planned, done: Journal) -> None:
    """A finished import that says so has its rows in the store that is there. Conflict."""
    import asyncio

    from gateway_runtime.contacts.store import StoreFault
    from xgw.importer.run import fault_of

    async def look() -> None:
        async with store_of_run(planned.place, done):
            pass

    if planned.place.firestore:
        return
    with ExitStack() as if_it_fails:
        if_it_fails.callback(done.close)
        try:
            asyncio.run(look())
        except StoreFault as fault:
            raise fault_of(fault, f"import {done.run.id} is finished", to_go_on(planned)) from None
        if_it_fails.pop_all()


def _carry_out(invocation: Invocation, planned: Planned, journal: Journal, resumed: bool, stop: Stop) -> None:
    import asyncio

    from gateway_runtime.contacts.store import StoreFault
    from xgw.importer.importing import feed_of
    from xgw.importer.run import StoreStopped, TooManyRejects
    from xgw.importer.source import FileChanged

    feed = feed_of(journal, planned.source, planned.sheet, planned.validator(journal.run))
    try:
        with _rare_collections():
            asyncio.run(_bring_in(invocation, planned, journal, feed, resumed, stop))
    except (XgwError, StoreStopped, StoreFault) as fault:
        told = fault.fault if isinstance(fault, StoreStopped) else fault
        unsettled = told.unsettled if isinstance(told, TooManyRejects) else ()
        rejects, number = _write_rejects(invocation, planned, journal, unsettled)
        ended = fault_told(told, planned, journal, feed.last, rejects if number else None)
        journal.end("mixed" if isinstance(told, FileChanged) else "open", str(ended))
        raise ended from None


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Rows are made and gone by the thousand and hold no cycles: looking for some cost a tenth of the time."""
    import gc

    before = gc.get_threshold()
    gc.set_threshold(200_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


async def _bring_in(
    invocation: Invocation,
    planned: Planned,
    journal: Journal,
    feed: Any,
    resumed: bool,
    stop: Stop,
) -> Counts:
    from xgw.importer.importing import carry_out

    size = max(1, planned.source.size)
    async with store_of_run(planned.place, journal) as store:
        with rows_counter(invocation, "importing") as counter:

            def tell(progress: Progress) -> None:
                rejected = progress.counts.rejected
                counter.told(progress.byte / size, progress.rows_here, f"{rejected:,} rejected")

            return await carry_out(
                journal,
                feed,
                store,
                planned.policy,
                planned.pace,
                limits=planned.limits,
                resumed=resumed,
                stopping=stop,
                tell=tell,
            )


def _write_rejects(
    invocation: Invocation, planned: Planned, journal: Journal, more: Sequence[Refused] = ()
) -> tuple[Path, int]:
    """Where the rejects went, and how many. `more` are those of a batch that was not sent."""
    from heapq import merge

    from xgw.importer.rejects_file import write_rejects

    wished = planned.rejects(journal.run)
    rejects = merge(journal.refused(), more, key=lambda one: one.row)
    path, number = write_rejects(invocation.settings.home, rejects, planned.sheet, wished)
    if path != wished:
        talk(
            invocation, f"{safe(str(wished))} is there already and was not written by an import, or was changed since: "
            f"the rejects go to {safe(str(path))}"
        )  # fmt: skip
    return path, number


# --- without writing


def _rehearsed(invocation: Invocation, planned: Planned) -> int:
    """The same way over a store that only reads, with a journal that goes when it is done."""
    import asyncio

    from xgw.cli.contacts_screens import import_report, introduction
    from xgw.importer import runs

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xgw-dry-run-")))
        whole = replace(planned.wished, shard=0, shards=1)
        journal = stack.enter_context(closing(runs.begin(folder, whole, {})))
        talk(invocation, introduction(planned, "dry run", invocation.err.width))
        asyncio.run(_compare(invocation, planned, journal, folder))
        path, rejected = None, journal.counts().rejected
        if rejected and planned.asked.rejects:
            path, _ = _write_rejects(invocation, planned, journal)
        show(invocation, import_report(journal, path, dry=True))
        counts = journal.counts()
        planned.limits.check(counts.read, counts.rejected, ended=True)
    return ExitCode.REJECTS if rejected else ExitCode.OK


def _exists(place: Place) -> bool:
    return os.path.exists(place.url.removeprefix("sqlite://"))


async def _compare(invocation: Invocation, planned: Planned, journal: Journal, folder: Path) -> None:
    from gateway_runtime.contacts.store import StoreFault
    from xgw.importer.importing import Pace, carry_out, feed_of
    from xgw.importer.rehearsal import Rehearsal
    from xgw.importer.run import Limits, StoreStopped, fault_of

    there = planned.place.firestore or _exists(planned.place)  # it makes no file
    size = max(1, planned.source.size)
    try:
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(store_at(planned.place)) if there else None
            rehearsal = stack.enter_context(closing(Rehearsal(store, folder)))
            counter = stack.enter_context(rows_counter(invocation, "comparing"))
            await carry_out(
                journal,
                feed_of(journal, planned.source, planned.sheet, planned.validator(journal.run)),
                rehearsal,
                planned.policy,
                Pace(1, 0),
                limits=Limits(),
                resumed=False,
                stopping=lambda: False,
                tell=lambda p: counter.told(p.byte / size, p.rows_here, f"{p.counts.rejected:,} rejected"),
            )
    except StoreStopped as stopped:
        raise fault_of(stopped.fault, "nothing was written", to_go_on(planned, how="--dry-run")) from None
    except StoreFault as fault:
        raise fault_of(fault, "nothing was written", to_go_on(planned, how="--dry-run")) from None
