"""`xgw contacts export` and `xgw contacts count`: contacts out of the store, and how many there are."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from xgw.cli.contacts import Place, place_of, store_at, store_option, tenant_of, tenant_option
from xgw.cli.options import Invocation, leaf, show, talk
from xgw.cli.streams import write_out
from xgw.errors import ExitCode, NotFound, UsageFault, XgwError
from xgw.report import Report, safe
from xgw.words import counted

T = TypeVar("T")

_status = click.option("--status", default="", metavar="S", help="Only those of this status.")
_type = click.option("--type", "type_", default="", metavar="T", help="Only those of this type.")


@leaf(
    "export",
    examples=(
        ("xgw contacts export --tenant acme > contacts.csv", "Everything as CSV; it imports again as it was."),
        ("xgw contacts export --tenant acme --format jsonl --to contacts.jsonl", "JSON lines, into a file."),
    ),
)
@tenant_option
@store_option
@_status
@_type
@click.option(
    "--format", "format_", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True, help="What to write."
)
@click.option(
    "--to",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    metavar="FILE",
    help="A file, not stdout.",
)
def export(
    invocation: Invocation, tenant: str, store: str, status: str, type_: str, format_: str, to: Path | None
) -> int:
    """Write every contact, page by page. Cells that a spreadsheet would take for formulas are neutralised in CSV."""
    if invocation.output != "table":
        fix = f"--format {'csv' if invocation.output in ('csv', 'tsv') else 'jsonl'}"
        raise UsageFault(
            f"an export is no report: -o {invocation.output}", cause="it is the contacts themselves", fix=fix
        )
    whose, place = tenant_of(tenant), _readable(place_of(invocation, store))
    _check_filter(status, type_)
    asked = place, whose, status, type_, format_
    count = _run(*asked, None) if to is None else _into(to, *asked)
    if count is not None:  # else whoever read it has left, and it is not known how many they had
        talk(invocation, counted(count, "contact") + (f" in {safe(str(to))}" if to else ""))
    return ExitCode.OK


@leaf(
    "count",
    examples=(
        ("xgw contacts count --tenant acme", "All of them."),
        ("xgw contacts count --tenant acme --status archived -o json", "Some of them."),
    ),
)
@tenant_option
@store_option
@_status
@_type
def count(invocation: Invocation, tenant: str, store: str, status: str, type_: str) -> int:
    """How many contacts there are, counted where they lie."""
    whose, place = tenant_of(tenant), _readable(place_of(invocation, store))
    _check_filter(status, type_)
    number = _guarded(_count(place, whose, status, type_))
    data = {"tenant": whose, "store": place.url, "status": status or None, "type": type_ or None, "count": number}
    show(invocation, Report("contacts-count", ("tenant", "contacts"), [(whose, number)], data=data))
    return ExitCode.OK


def _readable(place: Place) -> Place:
    """The place, unless it is a file that is not there: opening that would make it. NotFound."""
    path = Path(place.url.removeprefix("sqlite://"))
    if not place.firestore and not path.exists():
        raise NotFound(
            f"{path}: there is no such file",
            cause="a command that reads makes none, and no contacts were kept there yet",
            fix="import some, or name another store: --store sqlite:///PATH",
        )
    return place


async def _count(place: Place, tenant: str, status: str, type_: str) -> int:
    async with store_at(place) as store:
        return await store.count(tenant, status=status, type=type_)


def _check_filter(status: str, type_: str) -> None:
    from gateway_runtime.contacts.model import STATUSES, TYPES

    for flag, told, words in (("--status", status, STATUSES), ("--type", type_, TYPES)):
        if told and told not in words:
            raise UsageFault(f"{flag} {told!r} is none", cause=f"one of {', '.join(words)}", fix="correct it")


def _into(path: Path, place: Place, tenant: str, status: str, type_: str, format_: str) -> int | None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with open(
            os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8", newline=""
        ) as file:
            number = _run(place, tenant, status, type_, format_, file)
        os.replace(fresh, path)
    except OSError as error:
        raise XgwError(
            f"{path} cannot be written", cause=error.strerror or str(error), fix="--to another file"
        ) from error
    finally:
        fresh.unlink(missing_ok=True)
    return number


def _run(place: Place, tenant: str, status: str, type_: str, format_: str, file: TextIO | None) -> int | None:
    """How many contacts were written; None when the reader of stdout left before the end."""

    async def work() -> int | None:
        number = 0
        async with aclosing(_lines(place, tenant, status, type_, format_)) as lines:
            async for text, more in lines:
                number += more
                if file is not None:
                    file.write(text)
                elif not write_out(text):
                    return None
        return number

    return _guarded(work())


async def _lines(
    place: Place, tenant: str, status: str, type_: str, format_: str
) -> AsyncGenerator[tuple[str, int], None]:
    """Text and how many contacts are in it."""
    from xgw.importer import export as out

    async with store_at(place) as store:
        custom: list[str] = []
        if format_ == "csv":
            custom = await out.custom_names(store, tenant, status=status, type=type_)
            yield out.csv_head(custom), 0
        async for page in out.pages(store, tenant, status=status, type=type_):
            if format_ == "csv":
                yield "".join(out.csv_row(contact, custom) for contact in page), len(page)
            else:
                yield "".join(out.json_row(contact) for contact in page), len(page)


def _guarded(work: Coroutine[Any, Any, T]) -> T:
    import asyncio

    from gateway_runtime.contacts.store import StoreFault
    from xgw.importer.run import fault_of

    try:
        return asyncio.run(work)
    except StoreFault as fault:
        raise fault_of(fault, "nothing was read", "the same command again", deed="read") from None
