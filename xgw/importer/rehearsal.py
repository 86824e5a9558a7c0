"""A store for --dry-run: it reads the real one, writes nothing, and answers as the real one would have.

What a real run would have written is remembered in a scratch file that nobody waits for, so memory stays flat; it goes
with the process. There is no way from here to a write: the real store is only ever asked `get_many`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gateway_runtime.contacts.model import Contact
from gateway_runtime.contacts.store import Outcome, Write, Written
from xgw.importer.writing import Rows


class Rehearsal:
    """See above. `scratch` is a folder."""

    def __init__(self, store: Rows | None, scratch: Path) -> None:
        self._store = store
        self._made = sqlite3.connect(scratch / "rehearsal.db", isolation_level=None)
        self._made.execute("PRAGMA journal_mode = OFF")
        self._made.execute("PRAGMA synchronous = OFF")
        self._made.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._made.execute("PRAGMA cache_size = -32768")
        self._made.execute("CREATE TABLE made (id TEXT PRIMARY KEY, mark TEXT NOT NULL) WITHOUT ROWID")
        self._made.execute("BEGIN")

    def close(self) -> None:
        """Forgets everything."""
        self._made.close()

    async def get_many(self, tenant: str, ids: Sequence[str]) -> dict[str, Contact]:
        """What is stored; with the mark of the row that would have written it."""
        found = await self._store.get_many(tenant, ids) if self._store else {}
        for id, mark in self._marks(ids).items():
            there = found.get(id)
            found[id] = replace(there, mark=mark) if there else _empty(id, mark)
        return found

    async def write(self, tenant: str, writes: Sequence[Write]) -> list[Written]:
        """What would have become of these rows."""
        ids = [write.contact.id for write in writes if write.kind == "create"]
        there = set(await self.get_many(tenant, ids)) if ids else set()
        written = []
        for write in writes:
            if write.kind == "create" and write.contact.id in there:
                written.append(Written(Outcome.EXISTS))
            else:
                values = write.contact.id, write.contact.mark
                self._made.execute("INSERT OR REPLACE INTO made VALUES (?, ?)", values)
                written.append(Written(Outcome.DONE))
        return written

    def _marks(self, ids: Sequence[str]) -> dict[str, str]:
        query = "SELECT id, mark FROM made WHERE id IN (SELECT value FROM json_each(?))"
        return dict(self._made.execute(query, (json.dumps(ids),)).fetchall())


def _empty(id: str, mark: str) -> Contact:
    return Contact(id, "person", "", "", "prospect", "active", "", 0, 0, 0, 0, 0, "", {}, mark)
