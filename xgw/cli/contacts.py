"""`xgw contacts`: the contacts of one tenant, in and out; what all of its commands need to open a store."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from xgw.cli.group import lazy_group
from xgw.cli.options import Invocation
from xgw.errors import Conflict, UsageFault, XgwError

if TYPE_CHECKING:
    from gateway_runtime.contacts.store import ContactStore
    from xgw.importer.journal import Journal

_TABLE = {
    "Commands": {
        "import": ("xgw.cli.contacts_import:import_", "Bring a CSV file in: completely, once, and with books."),
        "imports": ("xgw.cli.contacts_runs:imports", "The imports that were made here, or one of them."),
        "undo": ("xgw.cli.contacts_runs:undo", "Take an import back."),
        "export": ("xgw.cli.contacts_out:export", "All contacts as CSV or JSON lines."),
        "count": ("xgw.cli.contacts_out:count", "How many contacts there are."),
    }
}

contacts = lazy_group(
    "contacts",
    _TABLE,
    (
        ("xgw contacts import leads.csv --tenant acme --dry-run", "Every mismatch in one pass; nothing is written."),
        ("xgw contacts import leads.csv --tenant acme", "Import it; rejected rows go to leads.rejects.csv."),
        ("xgw contacts undo RUN", "Take it back."),
    ),
    "The contacts of one tenant: import, undo, export, count.",
)

tenant_option = click.option(
    "--tenant", default="", metavar="T", help="Whose contacts (XGW_TENANT). There is no default."
)
store_option = click.option(
    "--store",
    default="",
    metavar="URL",
    help="sqlite:///PATH or firestore://PROJECT[/DATABASE]. Without it: Firestore of --project, or the local target's.",
)


@dataclass(frozen=True)
class Place:
    """A store by its URL. `careful` is the question to ask before writing to it; `label` is what people call it."""

    url: str
    label: str
    careful: str
    firestore: bool
    emulator: bool


def tenant_of(told: str) -> str:
    """The tenant, from the flag or XGW_TENANT. UsageFault: there is no default one."""
    tenant = told or os.environ.get("XGW_TENANT", "")
    if not tenant:
        raise UsageFault(
            "whose contacts?", cause="every contact belongs to one tenant, and there is no default", fix="--tenant T"
        )
    if len(tenant) > 128 or not tenant.isprintable() or tenant != tenant.strip():
        raise UsageFault(f"{tenant[:40]!r} is no tenant", cause="up to 128 visible characters", fix="--tenant T")
    return tenant


def place_of(invocation: Invocation, told: str) -> Place:
    """Which store is meant. Nothing is opened or started."""
    from gateway_runtime.contacts.stores import checked
    from xgw.local import files

    settings = invocation.settings
    data = files.data(settings.home).absolute()
    local = f"sqlite://{data.resolve() / 'contacts.sqlite'}"
    url = told or (f"firestore://{settings.project}" if settings.project else local)
    if url == local:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        checked(url)
    except ValueError as wanted:
        raise UsageFault(f"--store {url!r} names no store", cause=str(wanted), fix="correct it") from None
    firestore = url.startswith("firestore:")
    emulator = firestore and bool(os.environ.get("FIRESTORE_EMULATOR_HOST"))
    label = "sqlite (local)" if url == local else f"{url} (emulator)" if emulator else url
    real = firestore and not emulator
    return Place(url, label, f"This changes the contacts in {url}." if real else "", firestore, emulator)


def arm_faults(place: Place) -> None:
    """XGW_FAULT, for any store but a real Firestore."""
    from xgw import faults

    spec = os.environ.get("XGW_FAULT", "")
    if spec and place.careful:
        raise UsageFault("XGW_FAULT is not for a real Firestore", cause=f"--store {place.url}", fix="unset it")
    faults.arm(spec)


@asynccontextmanager
async def store_of_run(place: Place, journal: Journal) -> AsyncIterator[ContactStore]:
    """The store of a run, open. Conflict when another file has taken the place of the one it began with: what the journal
    calls settled is not there. A Firestore cannot be told from one that was made anew under its name."""
    from gateway_runtime.contacts.sqlite import SqliteContacts

    run = journal.run
    async with store_at(place) as store:
        if isinstance(store, SqliteContacts) and not journal.goes_into(await store.identity()):
            raise Conflict(
                f"import {run.id} began with another store than the one that is there now: {place.url}",
                cause="the file was reset, moved away or replaced since",
                fix="put that file back; to import anew: --restart",
            )
        yield store


@asynccontextmanager
async def store_at(place: Place) -> AsyncIterator[ContactStore]:
    """The store, open. SchemaFault is told as ours; StoreFault goes on to whoever knows what was under way."""
    from gateway_runtime.contacts.store import SchemaFault
    from gateway_runtime.contacts.stores import store_of

    store = store_of(place.url)
    try:
        await store.open()
    except SchemaFault as fault:
        raise XgwError("the store cannot be used", cause=str(fault), fix="--store another one") from None
    try:
        yield store
    finally:
        await store.close()
