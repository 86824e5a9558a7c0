"""What holds of the SQLite file beyond the contract of every store."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gateway_runtime.contacts.model import Contact, accept
from gateway_runtime.contacts.sqlite import SqliteContacts
from gateway_runtime.contacts.sqlite_file import connected
from gateway_runtime.contacts.store import Outcome, Receipt, SchemaFault, StoreFault, Write
from tests.helpers.contacts_stage import NO_LIMITS
from tests.helpers.gateway_process import ROOT, running
from tests.helpers.tokens import bearer

T = TypeVar("T")
JSON = "Content-Type: application/json"


def contacts(count: int, first: int = 0, mark: str = "m", size: int = 0) -> list[Contact]:
    return [
        accept(
            {"name": f"N{n}", "email": f"n{n}@file.example", "customFields": {"t": "x" * size}},
            tenant="acme", now=n, by="ada", mark=mark,
        )
        for n in range(first, first + count)
    ]  # fmt: skip


def using(store: SqliteContacts, work: Coroutine[Any, Any, T]) -> T:
    async def story() -> T:
        await store.open()
        try:
            return await work
        finally:
            await store.close()

    return asyncio.run(story())


def commits(wal: Path) -> int:
    """Commits in a write-ahead log: the frames that tell the size of the file after them (SQLite file format 4.1)."""
    data = wal.read_bytes()
    page = struct.unpack(">I", data[8:12])[0]
    salts, found = data[16:24], 0
    for at in range(32, len(data), 24 + page):
        if data[at + 8 : at + 16] != salts:
            break
        found += struct.unpack(">I", data[at + 4 : at + 8])[0] != 0
    return found


def test_the_file_and_what_lies_beside_it_are_for_its_owner_alone(tmp_path: Path) -> None:
    store = SqliteContacts(str(tmp_path / "c.db"))

    def modes() -> dict[str, int]:
        return {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}

    async def story() -> dict[str, int]:
        await store.add("acme", contacts(1))
        return modes()

    assert using(store, story()) == {"c.db": 0o600, "c.db-wal": 0o600, "c.db-shm": 0o600}


def test_to_open_the_file_again_takes_no_locks_from_whoever_has_it_open(tmp_path: Path) -> None:
    path = str(tmp_path / "c.db")
    opened = [connected(path, 1, cache_mib=1), connected(path, 1, cache_mib=1)]
    # The last of all connections removes the -wal when it closes; this one is not the last.
    stranger = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT * FROM sqlite_master'); db.close()"
    )
    subprocess.run([sys.executable, "-c", stranger, path], check=True, timeout=60)
    assert (tmp_path / "c.db-wal").exists()
    for each in opened:
        each.close()


def test_many_who_open_a_new_file_at_once_all_get_it(tmp_path: Path) -> None:
    start = threading.Barrier(6)

    def opened(number: int) -> None:
        start.wait(timeout=60)
        connected(str(tmp_path / f"{number}.db"), 60, cache_mib=1).close()

    with ThreadPoolExecutor(max_workers=start.parties) as threads:
        for file in range(50):
            for one in [threads.submit(opened, file) for _ in range(start.parties)]:
                one.result()


def test_who_opens_a_new_file_while_another_writes_to_it_waits(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other, ThreadPoolExecutor(1) as thread:
        other.execute("BEGIN IMMEDIATE")
        opening = thread.submit(connected, str(path), 60, cache_mib=1)
        with suppress(TimeoutError):
            opening.result(timeout=0.3)
        other.execute("ROLLBACK")
        opening.result().close()


def test_a_thousand_contacts_and_their_receipt_are_one_commit(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    store = SqliteContacts(str(path))

    async def story() -> tuple[int, int, int]:
        await store.add("acme", contacts(1, first=5000))
        before = commits(Path(f"{path}-wal"))
        await store.add("acme", contacts(1000), receipt=Receipt("k", "f", 201, b"{}", time.time_ns() // 1000))
        middle = commits(Path(f"{path}-wal"))
        await store.write("acme", [Write("create", one) for one in contacts(500, first=1000)])
        return before, middle, commits(Path(f"{path}-wal"))

    before, middle, after = using(store, story())
    assert (middle - before, after - middle) == (1, 1)


def test_a_disk_that_fills_up_in_a_batch_leaves_nothing_of_it(tmp_path: Path) -> None:
    store = SqliteContacts(str(tmp_path / "c.db"), pages=60)

    async def story() -> None:
        await store.add("acme", contacts(10))
        full = Receipt("k", "f", 201, b"{}", time.time_ns() // 1000)
        with pytest.raises(StoreFault) as fault:
            await store.add("acme", contacts(1000, first=10, size=500), receipt=full)
        assert fault.value.kind == "full"
        assert "N1" not in str(fault.value)
        with pytest.raises(StoreFault):
            await store.write("acme", [Write("create", one) for one in contacts(1000, first=10, size=500)])
        assert await store.count("acme") == 10
        assert await store.receipt("acme", "k") is None
        await store.add("acme", contacts(5, first=10), receipt=full)
        assert await store.count("acme") == 15

    using(store, story())


def test_who_waits_too_long_for_another_process_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    store = SqliteContacts(str(path), busy_seconds=2)

    async def story() -> None:
        await store.add("acme", contacts(1))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(StoreFault) as fault:
            await store.add("acme", contacts(1, first=1))
        assert fault.value.kind == "busy"
        assert 1.9 < time.monotonic() - began < 20
        assert len((await store.page("acme", limit=5)).items) == 1
        waiting = asyncio.create_task(store.add("acme", contacts(1, first=1)))
        await asyncio.sleep(0.02)
        other.execute("ROLLBACK")
        await waiting
        other.close()
        assert await store.count("acme") == 2

    using(store, story())


def test_a_busy_store_is_503_and_says_when_to_come_back(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    with running(tmp_path, ROLE="crm", CONTACTS_STORE=f"sqlite://{path}", **NO_LIMITS) as crm:
        assert crm.ask("POST", "/contacts", JSON, body=b'{"name":"A"}').status == 201
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        answer = crm.ask("POST", "/contacts", JSON, body=b'{"name":"B"}')
        assert (answer.status, answer.header("retry-after")) == (503, "1")
        assert len(crm.ask("GET", "/contacts").json()["items"]) == 1
        other.execute("ROLLBACK")
        other.close()
        assert crm.ask("POST", "/contacts", JSON, body=b'{"name":"B"}').status == 201


WRITER = """
import asyncio, sys
sys.path.insert(0, {root!r})
from tests.contract.contacts.test_contacts_sqlite import contacts
from gateway_runtime.contacts.sqlite import SqliteContacts
from gateway_runtime.contacts.sqlite_file import connected
from gateway_runtime.contacts.store import Outcome, Write
async def main():
    store = SqliteContacts({path!r}, busy_seconds=120)
    await store.open()
    done = 0
    for first in range(0, 2000, 100):
        rows = [Write("create", one) for one in contacts(100, first, mark={mark!r})]
        done += sum(row.outcome is Outcome.DONE for row in await store.write("acme", rows))
    await store.close()
    print(done)
asyncio.run(main())
"""


def test_several_processes_write_one_file_and_every_row_is_won_by_one(tmp_path: Path) -> None:
    path = str(tmp_path / "c.db")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER.format(root=str(ROOT), path=path, mark=f"w{n}")],
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        for n in range(3)
    ]  # they make the file at the same moment, too
    told = [int(writer.communicate(timeout=240)[0]) for writer in writers]
    assert sum(told) == 2000
    database = sqlite3.connect(path)
    assert database.execute("SELECT count(*), count(DISTINCT id) FROM contacts").fetchone() == (2000, 2000)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_a_batch_that_is_killed_anywhere_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    body = json.dumps({"contacts": [{"name": f"N{n}", "email": f"n{n}@k.example"} for n in range(1000)]}).encode()
    env = {"ROLE": "crm", "CONTACTS_STORE": f"sqlite://{tmp_path}/c.db", **NO_LIMITS}
    seen = set()
    for attempt in range(5):
        tenant = bearer(f"tenant-{attempt}")
        with running(tmp_path, **env) as crm, ThreadPoolExecutor(1) as pool:
            asking = pool.submit(
                crm.ask, "POST", "/contacts/batch", JSON, "Idempotency-Key: k", body=body, token=tenant
            )
            time.sleep(0.02 + attempt * 0.02)
            os.kill(crm.process.pid, signal.SIGKILL)
            asking.exception(timeout=60)
        with running(tmp_path, **env) as crm:
            count = crm.ask("GET", "/contacts/count", token=tenant).json()["count"]
            assert count in (0, 1000)
            again = crm.ask("POST", "/contacts/batch", JSON, "Idempotency-Key: k", body=body, token=tenant)
            assert again.status == 201
            assert (again.header("idempotent-replayed") == "true") is (count == 1000)
            assert crm.ask("GET", "/contacts/count", token=tenant).json()["count"] == 1000
            seen.add(count)
    assert seen


def test_two_instances_with_one_file_have_one_effect(tmp_path: Path) -> None:
    body = json.dumps({"contacts": [{"name": f"N{n}"} for n in range(500)]}).encode()
    env = {"ROLE": "crm", "CONTACTS_STORE": f"sqlite://{tmp_path}/c.db", **NO_LIMITS}
    with running(tmp_path, **env) as one, running(tmp_path, **env) as two, ThreadPoolExecutor(2) as pool:
        for attempt in range(5):
            tenant = bearer(f"tenant-{attempt}")
            told = list(
                pool.map(
                    lambda crm, token=tenant: crm.ask(
                        "POST", "/contacts/batch", JSON, "Idempotency-Key: k", body=body, token=token
                    ),
                    (one, two),
                )
            )
            assert {answer.status for answer in told} <= {201, 409}
            assert len({answer.body for answer in told if answer.status == 201}) == 1
            assert one.ask("GET", "/contacts/count", token=tenant).json()["count"] == 500
        first = one.ask("GET", "/contacts?limit=3", token=tenant).json()
        assert two.ask("GET", f"/contacts?limit=3&cursor={first['nextCursor']}", token=tenant).status == 200


def test_cursors_of_another_key_are_none(tmp_path: Path) -> None:
    env = {"ROLE": "crm", "CONTACTS_STORE": f"sqlite://{tmp_path}/c.db", **NO_LIMITS}
    with running(tmp_path, **env) as one, running(tmp_path, CONTACTS_CURSOR_KEY="k" * 16, **env) as two:
        for name in (b"A", b"B"):
            one.ask("POST", "/contacts", JSON, body=b'{"name":"%b"}' % name)
        cursor = one.ask("GET", "/contacts?limit=1").json()["nextCursor"]
        assert two.ask("GET", f"/contacts?limit=1&cursor={cursor}").code == "INVALID_CURSOR"
        assert two.ask("GET", "/contacts?limit=1").json()["nextCursor"] != cursor


EARLIER = """
CREATE TABLE contacts (tenant TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, email TEXT NOT NULL, type TEXT NOT NULL,
  status TEXT NOT NULL, company TEXT NOT NULL, phone TEXT NOT NULL, created_at TEXT NOT NULL, PRIMARY KEY (tenant, id)
) WITHOUT ROWID, STRICT;
"""


@pytest.mark.parametrize(
    "made", [EARLIER, "PRAGMA application_id=2020046691; PRAGMA user_version=9; CREATE TABLE t (a)"]
)
def test_a_file_in_another_form_is_left_alone_and_refused_in_one_line(made: str, tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    other = sqlite3.connect(path)
    other.executescript(made)
    other.close()
    before = path.read_bytes()
    with pytest.raises(SchemaFault, match=r"c\.db: written by .* move the file away"):
        asyncio.run(SqliteContacts(str(path)).open())
    assert path.read_bytes() == before
    with running(tmp_path, wait=False, ROLE="crm", CONTACTS_STORE=f"sqlite://{path}") as crm:
        assert crm.process.wait(timeout=60) == 1
        assert "move the file away" in crm.out.read_text()
        assert "Traceback" not in crm.out.read_text()


@pytest.mark.parametrize("content", [b"not a database, but long enough to look at" * 30, None])
def test_what_is_no_database_or_cannot_be_made_is_told_without_a_traceback(
    content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "c.db" if content else tmp_path / "none" / "c.db"
    if content:
        path.write_bytes(content)
    with pytest.raises(StoreFault) as fault:
        asyncio.run(SqliteContacts(str(path)).open())
    assert fault.value.kind == "unavailable"
    assert str(path) in str(fault.value)


def test_a_page_is_found_by_an_index_and_never_sorted(tmp_path: Path) -> None:
    store = SqliteContacts(str(tmp_path / "c.db"))
    asked: list[str] = []

    async def story() -> None:
        assert store._reader is not None
        store._reader.set_trace_callback(asked.append)
        for status, type in (("", ""), ("active", ""), ("", "person"), ("active", "person")):
            await store.page("acme", limit=50, status=status, type=type, after="a")
            await store.count("acme", status=status, type=type)
        await store.get_many("acme", ["a", "b"])

    using(store, story())
    database = sqlite3.connect(tmp_path / "c.db")
    queries = [query for query in asked if query.startswith("SELECT") and "FROM contacts" in query]
    assert len(queries) >= 8
    for query in queries:
        plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {query}")]
        assert not [line for line in plan if line.startswith("SCAN contacts")], plan
        by = "kind=?" if "kind" in query.partition("WHERE")[2] else "tenant=?"
        assert any(line.startswith("SEARCH contacts") and by in line for line in plan), plan
        whole = "UNION ALL" in query  # a merge of at most three seeks sorts what it found: never more than three pages
        assert whole or not any("TEMP B-TREE" in line for line in plan), plan
    database.close()


def test_outcomes_are_not_lost_when_nobody_waits_for_them(tmp_path: Path) -> None:
    store = SqliteContacts(str(tmp_path / "c.db"))

    async def story() -> None:
        rows = [Write("create", one) for one in contacts(500)]
        writing = asyncio.create_task(store.write("acme", rows))
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert {row.outcome for row in await store.write("acme", rows)} == {Outcome.DONE}
        assert await store.count("acme") == 500

    using(store, story())
