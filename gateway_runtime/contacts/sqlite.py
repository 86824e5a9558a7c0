"""Contacts in one SQLite file (WAL). One thread writes and one reads: no query holds up the event loop, and no page waits for
a batch. Every call is one transaction inside one thread: nothing is locked while anything is awaited. Other processes may use
the same file at the same time; who waits longer than the bound for them ends with StoreFault("busy")."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from gateway_runtime.contacts.model import Contact
from gateway_runtime.contacts.sqlite_file import (
    COLUMNS,
    PLACES,
    connected,
    contact_of,
    guarded,
    kinds,
    row_of,
    shown_version,
    transaction,
)
from gateway_runtime.contacts.store import (
    PAGE_BYTES,
    PAGE_LIMIT,
    Changed,
    Exists,
    Outcome,
    Page,
    Receipt,
    ReceiptTaken,
    Write,
    Written,
)

T = TypeVar("T")

RECEIPT_SECONDS = 24 * 3600
_SWEEP = 100
"""Receipts past their time that one commit takes away at most."""
_CUSTOM, _REST = COLUMNS.split(", ").index("custom"), 512
"""Where the custom fields stand in a row, and about how many bytes the others hold."""
_DISTINCT = "the ids of one call must be different"
_INSERT = f"INSERT INTO contacts (tenant, {COLUMNS}) VALUES "  # noqa: S608  columns are ours
_AT_ONCE = 1024
"""Rows of one statement; SQLite takes 32,766 values."""
_UPDATE = f"UPDATE contacts SET ({COLUMNS}) = ({PLACES}) WHERE n = ?"  # noqa: S608
_STORED = "SELECT id, n, version, mark FROM contacts WHERE tenant = ? AND id IN (SELECT value FROM json_each(?))"
_FETCH = f"SELECT {COLUMNS} FROM contacts WHERE tenant = ? AND id IN (SELECT value FROM json_each(?))"  # noqa: S608

Stored = tuple[int, int, str]
"""Row, version and mark of a contact that is there."""


class SqliteContacts:
    """A ContactStore in the file `path`, which is made when it is not there; its folder is not. `busy_seconds` bounds the wait
    for another process. `pages` of 4 KiB are the most the file may hold, 0 for as many as the disk does."""

    def __init__(self, path: str, *, busy_seconds: float = 5.0, pages: int = 0) -> None:
        self._path, self._busy_seconds, self._pages = path, busy_seconds, pages
        self._writing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="contacts-write")
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="contacts-read")
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None

    async def open(self) -> None:
        """See ContactStore."""

        def work() -> None:
            self._writer = connected(self._path, self._busy_seconds, cache_mib=16, pages=self._pages)
            self._reader = connected(self._path, self._busy_seconds, cache_mib=4)

        await self._run(self._writing, work)

    async def close(self) -> None:
        """See ContactStore."""

        def shut() -> None:
            reader, writer = self._reader, self._writer
            self._reader = self._writer = None
            for database in (reader, writer):
                if database is not None:
                    database.close()

        await self._run(self._reading, lambda: None)  # what is being read ends first
        await self._run(self._writing, shut)
        self._reading.shutdown(wait=False)
        self._writing.shutdown(wait=False)

    async def identity(self) -> str:
        """A random name that this file got when somebody first asked, and keeps: another file in its place has another."""

        def there(database: sqlite3.Connection) -> bool:
            return bool(database.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'identity'").fetchone()[0])

        def work(database: sqlite3.Connection) -> str:
            if not there(database):  # who only asks again waits for nobody
                with transaction(database):
                    if not there(database):
                        database.execute("CREATE TABLE identity (id TEXT NOT NULL) STRICT")
                        database.execute("INSERT INTO identity VALUES (?)", (secrets.token_hex(16),))
            return str(database.execute("SELECT id FROM identity").fetchone()[0])

        return await self._write(work)

    async def page(self, tenant: str, *, limit: int, status: str = "", type: str = "", after: str = "") -> Page:
        """See ContactStore."""
        wanted = kinds(status, type) if status or type else ()
        if len(wanted) > 1:  # one seek for each kind, merged
            one = "SELECT * FROM (SELECT n FROM contacts WHERE tenant = {} AND kind = {} AND id > :after ORDER BY id LIMIT :most)"
            found = " UNION ALL ".join(one.format(_TENANT, kind) for kind in wanted)
            where = f"n IN ({found})"
        elif wanted:
            where = f"tenant = {_TENANT} AND kind = {wanted[0]} AND id > :after"
        elif status or type:
            return Page((), False)
        else:
            where = f"tenant = {_TENANT} AND id > :after"
        query = f"SELECT {COLUMNS} FROM contacts WHERE {where} ORDER BY id LIMIT :most"  # noqa: S608  nothing of the caller's
        asked = {"tenant": tenant, "after": after, "most": limit + 1}

        def work(database: sqlite3.Connection) -> Page:
            with closing(database.execute(query, asked)) as rows:
                return _page(rows, limit)

        return await self._read(work)

    async def get(self, tenant: str, id: str) -> Contact | None:
        """See ContactStore."""
        return (await self.get_many(tenant, (id,))).get(id)

    async def get_many(self, tenant: str, ids: Sequence[str]) -> dict[str, Contact]:
        """See ContactStore."""

        def work(database: sqlite3.Connection) -> dict[str, Contact]:
            number = _tenant(database, tenant)
            rows = database.execute(_FETCH, (number, json.dumps(list(ids)))).fetchall() if number else ()
            return {row[0]: contact_of(row) for row in rows}

        return await self._read(work)

    async def count(self, tenant: str, *, status: str = "", type: str = "") -> int:
        """See ContactStore."""
        wanted = kinds(status, type) if status or type else ()
        some = f" AND kind IN ({', '.join(map(str, wanted))})" if status or type else ""
        query = f"SELECT count(*) FROM contacts WHERE tenant = {_TENANT}{some}"  # noqa: S608
        return int(await self._read(lambda database: database.execute(query, {"tenant": tenant}).fetchone()[0]))

    async def receipt(self, tenant: str, key: str) -> Receipt | None:
        """See ContactStore."""
        where = f"tenant = {_TENANT} AND key = :key AND made > :since"
        query = f"SELECT key, fingerprint, status, body, made FROM receipts WHERE {where}"  # noqa: S608
        asked = {"tenant": tenant, "key": key, "since": _horizon()}
        row = await self._read(lambda database: database.execute(query, asked).fetchone())
        return Receipt(*row) if row else None

    async def add(
        self, tenant: str, contacts: Sequence[Contact], *, receipt: Receipt | None = None
    ) -> tuple[Contact, ...]:
        """See ContactStore."""
        made = [row_of(contact, version) for contact, version in zip(contacts, _versions(contacts), strict=True)]
        ids = [contact.id for contact in contacts]
        if len(set(ids)) != len(ids):
            raise ValueError(_DISTINCT)

        def work(database: sqlite3.Connection) -> tuple[Contact, ...]:
            with transaction(database):
                number = _tenant(database, tenant, make=True)
                if receipt is not None:
                    _keep(database, number, receipt)
                if there := _stored(database, number, ids):
                    raise Exists([id for id in ids if id in there])
                _insert(database, [(number, *row) for row in made])
            return tuple(contact_of(row) for row in made)

        return await self._write(work)

    async def replace(self, tenant: str, contact: Contact, *, version: str) -> Contact:
        """See ContactStore."""
        (written,) = await self.write(tenant, [Write("replace", contact, version)])
        if written.outcome is not Outcome.DONE:
            raise Changed
        return contact_of((*row_of(contact, 0)[:-1], int(written.version, 16)))

    async def remove(self, tenant: str, id: str, *, version: str = "") -> bool:
        """See ContactStore."""

        def work(database: sqlite3.Connection) -> bool:
            with transaction(database):
                found = _stored(database, _tenant(database, tenant), [id]).get(id)
                if found is None:
                    return False
                if version and shown_version(found[1]) != version:
                    raise Changed
                database.execute("DELETE FROM contacts WHERE n = ?", (found[0],))
            return True

        return await self._write(work)

    async def write(self, tenant: str, writes: Sequence[Write]) -> list[Written]:
        """See ContactStore. All rows go in one transaction; on a StoreFault none of them has been written."""
        ids = [write.contact.id for write in writes]
        if len(set(ids)) != len(ids):
            raise ValueError(_DISTINCT)
        versions = _versions(writes)
        rows = [
            row_of(write.contact, version) if write.kind != "remove" else ()
            for write, version in zip(writes, versions, strict=True)
        ]

        def work(database: sqlite3.Connection) -> list[Written]:
            with transaction(database):
                number = _tenant(database, tenant, make=True)
                there = _stored(database, number, ids)
                outcomes = [
                    _outcome(write, there.get(write.contact.id), version)
                    for write, version in zip(writes, versions, strict=True)
                ]
                created, replaced, removed = [], [], []
                for write, row, version, outcome in zip(writes, rows, versions, outcomes, strict=True):
                    if outcome.outcome is not Outcome.DONE:
                        continue
                    if write.kind == "remove":
                        removed.append((there[write.contact.id][0],))
                    elif outcome.version == shown_version(version):  # else our own earlier attempt stands there
                        if write.kind == "create":
                            created.append((number, *row))
                        else:
                            replaced.append((*row, there[write.contact.id][0]))
                _insert(database, created)
                database.executemany(_UPDATE, replaced)
                database.executemany("DELETE FROM contacts WHERE n = ?", removed)
            return outcomes

        return await self._write(work)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._run(self._reading, lambda: work(_ready(self._reader)))

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._run(self._writing, lambda: work(_ready(self._writer)))

    async def _run(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(thread, guarded(work))


_TENANT = "(SELECT n FROM tenants WHERE name = :tenant)"


def _page(rows: Iterable[Sequence[Any]], limit: int) -> Page:
    items: list[Contact] = []
    size = 0
    for row in rows:
        custom = row[_CUSTOM]
        size += _REST + (len(custom) if custom.isascii() else len(custom.encode()))
        if len(items) == limit or (items and size > PAGE_BYTES and limit <= PAGE_LIMIT):
            return Page(tuple(items), True)
        items.append(contact_of(row))
    return Page(tuple(items), False)


def _ready(database: sqlite3.Connection | None) -> sqlite3.Connection:
    if database is None:
        raise RuntimeError("the contacts are not open")
    return database


def _tenant(database: sqlite3.Connection, tenant: str, *, make: bool = False) -> int:
    """The tenant's number, 0 for one that has nothing here."""
    row = database.execute("SELECT n FROM tenants WHERE name = ?", (tenant,)).fetchone()
    if row is None and make:
        row = database.execute("INSERT INTO tenants (name) VALUES (?) RETURNING n", (tenant,)).fetchone()
    return int(row[0]) if row else 0


def _stored(database: sqlite3.Connection, number: int, ids: Sequence[str]) -> dict[str, Stored]:
    return {row[0]: row[1:] for row in database.execute(_STORED, (number, json.dumps(ids)))}


def _insert(database: sqlite3.Connection, rows: Sequence[tuple[object, ...]]) -> None:
    """Many rows by few statements: the interpreter is let go of a few times and not once a row, so others work meanwhile.
    Each statement takes half as many rows as the one before, so that a handful of texts serves every number."""
    at, size = 0, _AT_ONCE
    while at < len(rows):
        while size > len(rows) - at:
            size //= 2
        places = ", ".join([f"(?, {PLACES})"] * size)
        database.execute(_INSERT + places, list(chain.from_iterable(rows[at : at + size])))
        at += size


def _outcome(write: Write, stored: Stored | None, version: int) -> Written:
    """What becomes of one row; DONE with another version than `version` means that an earlier attempt did it."""
    if write.kind == "create":
        if stored is None:
            return Written(Outcome.DONE, shown_version(version))
        own = write.contact.mark and stored[2] == write.contact.mark
        return Written(Outcome.DONE if own else Outcome.EXISTS, shown_version(stored[1]))
    if stored is None:
        return Written(Outcome.GONE)
    if shown_version(stored[1]) == write.version or (write.kind == "remove" and not write.version):
        return Written(Outcome.DONE, shown_version(version) if write.kind == "replace" else "")
    if write.kind == "replace" and write.contact.mark and stored[2] == write.contact.mark:
        return Written(Outcome.DONE, shown_version(stored[1]))
    return Written(Outcome.CHANGED, shown_version(stored[1]))


def _versions(rows: Sequence[object]) -> Sequence[int]:
    """A version for each row: no two ever the same, though the contact was deleted and made anew meanwhile."""
    start = random.getrandbits(62)
    return range(start, start + len(rows))


def _horizon() -> int:
    return int((time.time() - RECEIPT_SECONDS) * 1_000_000)


def _keep(database: sqlite3.Connection, number: int, receipt: Receipt) -> None:
    """Puts the receipt there, and takes some old ones away; ReceiptTaken."""
    old = partial(database.execute, "DELETE FROM receipts WHERE (tenant, key) IN (SELECT tenant, key FROM receipts "
                  "WHERE made <= :until ORDER BY made LIMIT :some) "
                  "OR (tenant = :tenant AND key = :key AND made <= :until)")  # fmt: skip
    old({"until": _horizon(), "some": _SWEEP, "tenant": number, "key": receipt.key})
    values = (number, receipt.key, receipt.fingerprint, receipt.status, receipt.body, receipt.made_at)
    if database.execute("INSERT INTO receipts VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", values).rowcount != 1:
        raise ReceiptTaken
