"""Contacts in one SQLite file, through one thread: a query never holds up the event loop."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from gateway_runtime.contacts.model import Contact
from gateway_runtime.contacts.store import Page

T = TypeVar("T")
_COLUMNS = "id, name, email, type, status, company, phone, created_at"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS contacts (
  tenant TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, email TEXT NOT NULL, type TEXT NOT NULL,
  status TEXT NOT NULL, company TEXT NOT NULL, phone TEXT NOT NULL, created_at TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID, STRICT;
CREATE INDEX IF NOT EXISTS contacts_by_status ON contacts (tenant, status, id);
CREATE INDEX IF NOT EXISTS contacts_by_type ON contacts (tenant, type, id);
CREATE INDEX IF NOT EXISTS contacts_by_both ON contacts (tenant, status, type, id);
"""


class SqliteContacts:
    """A ContactStore. The key and the indices end in the id, so that a page is one seek however deep it lies."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="contacts")
        self._database: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Opens the file and makes its tables; WAL, so that a reader and a writer do not wait for each other."""

        def work() -> None:
            database = sqlite3.connect(self._path, timeout=5, isolation_level=None)
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            database.executescript(_SCHEMA)
            self._database = database

        await self._run(work)

    async def page(self, tenant: str, *, limit: int, status: str = "", type: str = "", after: str = "") -> Page:
        """See ContactStore."""
        where, values = ["tenant = ?", "id > ?"], [tenant, after]
        for column, value in (("status", status), ("type", type)):
            if value:
                where.append(f"{column} = ?")
                values.append(value)
        query = f"SELECT {_COLUMNS} FROM contacts WHERE {' AND '.join(where)} ORDER BY id LIMIT ?"  # noqa: S608  columns are ours
        rows = await self._run(lambda: self._open.execute(query, (*values, limit + 1)).fetchall())
        return Page(tuple(Contact(*row) for row in rows[:limit]), len(rows) > limit)

    async def get(self, tenant: str, id: str) -> Contact | None:
        """See ContactStore."""
        query = f"SELECT {_COLUMNS} FROM contacts WHERE tenant = ? AND id = ?"  # noqa: S608  columns are ours
        row = await self._run(lambda: self._open.execute(query, (tenant, id)).fetchone())
        return Contact(*row) if row else None

    async def add(self, tenant: str, contact: Contact) -> bool:
        """See ContactStore."""
        query = f"INSERT INTO contacts (tenant, {_COLUMNS}) VALUES (?{', ?' * 8}) ON CONFLICT DO NOTHING"  # noqa: S608
        values = (
            contact.id, contact.name, contact.email, contact.type, contact.status, contact.company, contact.phone,
            contact.created_at,
        )  # fmt: skip
        return await self._run(lambda: self._open.execute(query, (tenant, *values)).rowcount) == 1

    async def close(self) -> None:
        """Closes the file."""

        def work() -> None:
            if self._database is not None:
                self._database.close()

        await self._run(work)
        self._thread.shutdown(wait=False)

    @property
    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            raise RuntimeError("the contacts are not open")
        return self._database

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
