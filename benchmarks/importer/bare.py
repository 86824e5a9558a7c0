"""The least that could be done: `csv.reader` and `executemany`, into the same tables or into one without an index.

Nothing is checked, recorded, told apart or resumable; the id is hashed as the importer does it, because the table needs one.
"""

from __future__ import annotations

import csv
import json
import sqlite3
import sys
import time
from collections.abc import Iterator
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from gateway_runtime.contacts.sqlite_file import COLUMNS, PLACES, connected

ROWS = 2000


def main() -> None:
    """python -m benchmarks.importer.bare FILE STORE same|plain: prints seconds and CPU seconds as JSON."""
    source, store, kind = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    begun, used = time.monotonic(), time.process_time()
    count = _same(source, store) if kind == "same" else _plain(source, store)
    told = {"rows": count, "seconds": time.monotonic() - begun, "cpu": time.process_time() - used}
    print(json.dumps(told))


def _same(source: Path, store: str) -> int:
    """The contacts' own file: two indexes, a durable commit every 2,000 rows."""
    database = connected(store, 5.0, cache_mib=16)
    number = database.execute("INSERT INTO tenants (name) VALUES ('t') RETURNING n").fetchone()[0]
    insert = f"INSERT OR IGNORE INTO contacts (tenant, {COLUMNS}) VALUES (?, {PLACES})"
    count = 0
    for rows in _slices(source):
        database.execute("BEGIN IMMEDIATE")
        database.executemany(
            insert,
            [
                (number, blake2b(row[1].encode(), digest_size=16).hexdigest(), 0, row[0], row[1], "prospect", row[6], 0, 0, 0,
                 0, 0, "b", f'{{"company":"{row[2]}"}}', "", 0)
                for row in rows
            ],
        )  # fmt: skip
        database.execute("COMMIT")
        count += len(rows)
    database.close()
    return count


def _plain(source: Path, store: str) -> int:
    """One table, no index, one transaction."""
    database = sqlite3.connect(store, isolation_level=None)
    database.execute("CREATE TABLE contacts (a, b, c, d, e, f, g, h)")
    database.execute("BEGIN")
    count = 0
    for rows in _slices(source):
        database.executemany("INSERT INTO contacts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        count += len(rows)
    database.execute("COMMIT")
    database.close()
    return count


def _slices(source: Path) -> Iterator[list[list[str]]]:
    with source.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        next(reader)
        while rows := list(islice(reader, ROWS)):
            yield rows


if __name__ == "__main__":
    main()
