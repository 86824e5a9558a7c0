"""How fast contacts get into Firestore: one by one, by WriteBatch, and through our store.

    python -m benchmarks.contacts.firestore [--rows 5000] [--rounds 3] [--rtt 20]

On Google's emulator, on loopback and through a proxy that makes a round trip take --rtt milliseconds. Every way goes once in
each round, in an order that turns, into a project of its own; the median of the rounds counts. One by one takes too long for
all rows: fewer are written (--alone, far away a fifth of that) and the rate is what they give. The emulator keeps all of it in
its heap and shares the machine with the client: read the ratios, not the rates, and neither as Firestore's own. On a busy
machine the ratios are too small: one by one mostly waits, the others work.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore

from gateway_runtime.contacts.firestore import FirestoreContacts
from gateway_runtime.contacts.model import Contact, contact_id
from gateway_runtime.contacts.store import Outcome, Write
from tests.helpers import firestore_emulator

TENANT = "bench"
Way = Callable[[str, Sequence[Contact]], float]
"""Writes the rows into a project and returns the seconds it took, connections made before."""


def rows_of(count: int) -> list[Contact]:
    return [
        Contact(
            contact_id(TENANT, str(n)), "person", f"Contact {n}", f"contact.{n}@bench.example", "lead", "active", "import",
            n % 7, n % 5, n % 3, 1_790_000_000_000_000 + n, 1_790_000_000_000_000 + n, "bench",
            {"company": f"Company {n % 97}", "score": n % 100}, f"bench:{n}",
        )
        for n in range(count)
    ]  # fmt: skip


def client_of(project: str) -> tuple[Any, Any]:
    """Google's own client with its connection made, and the collection."""
    client = firestore.Client(project=project, credentials=AnonymousCredentials())
    contacts = client.collection("tenants", TENANT, "contacts")
    contacts.document("none").get()
    return client, contacts


def plain(contact: Contact) -> dict[str, Any]:
    found = asdict(contact)
    del found["version"]
    return found


def one_by_one(project: str, rows: Sequence[Contact]) -> float:
    client, contacts = client_of(project)
    began = time.perf_counter()
    for row in rows:
        contacts.document(row.id).set(plain(row))
    took = time.perf_counter() - began
    client.close()
    return took


def write_batches(project: str, rows: Sequence[Contact]) -> float:
    client, contacts = client_of(project)
    began = time.perf_counter()
    for first in range(0, len(rows), 500):
        batch = client.batch()
        for row in rows[first : first + 500]:
            batch.set(contacts.document(row.id), plain(row))
        batch.commit()
    took = time.perf_counter() - began
    client.close()
    return took


def ours(project: str, rows: Sequence[Contact]) -> float:
    async def work() -> float:
        store = FirestoreContacts(project)
        await store.open()
        began = time.perf_counter()
        written = await store.write(TENANT, [Write("create", row) for row in rows])
        took = time.perf_counter() - began
        if any(each.outcome is not Outcome.DONE for each in written) or await store.count(TENANT) != len(rows):
            raise SystemExit("rows are missing")
        await store.close()
        return took

    return asyncio.run(work())


ONE, BATCH, OURS = "one by one, set()", "WriteBatch of 500, one after the other", "ours: raw BatchWrite, 4 in flight"
Found = dict[str, list[tuple[float, float]]]
WARM_UP = 15
"""Rounds at most."""
WAYS: dict[str, Way] = {ONE: one_by_one, BATCH: write_batches, OURS: ours}


@contextmanager
def delayed(host: str, rtt: float) -> Iterator[str]:
    """The same emulator, a round trip of `rtt` milliseconds away."""
    words = [sys.executable, "-m", "benchmarks.contacts.delay", host.rpartition(":")[2], str(rtt / 2)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def measure(host: str, rows: Sequence[Contact], alone: int, rounds: int) -> Found:
    """Way -> rows a second, and microseconds of this process' CPU a row, of each round."""
    os.environ[firestore_emulator.EMULATOR] = host
    found: Found = {name: [] for name in WAYS}
    names = list(WAYS)
    for round_ in range(rounds):
        turn = round_ % len(names)
        for name in names[turn:] + names[:turn]:
            some = rows[:alone] if name == ONE else rows
            project = firestore_emulator.Emulator.project()
            spent = time.process_time()
            rate = len(some) / WAYS[name](project, some)
            found[name].append((rate, 1e6 * (time.process_time() - spent) / len(some)))
            forget(host, project)
    return found


def forget(host: str, project: str) -> None:
    """Takes a project out of the emulator's heap, which would fill up."""
    url = f"http://{host}/emulator/v1/projects/{project}/databases/(default)/documents"
    with urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=60):
        pass


def warm(host: str, rows: Sequence[Contact], alone: int) -> int:
    """Lets the emulator run until it gets no faster: it is Java, and cold it takes ten times as long. Returns the rounds."""
    best, since, rounds = 0.0, 0, 0
    while since < 3 and rounds < WARM_UP:
        rate = measure(host, rows, min(alone, 200), 1)[OURS][0][0]
        best, since, rounds = max(best, rate), 0 if rate > 1.1 * best else since + 1, rounds + 1
    return rounds


def table(title: str, found: Found) -> str:
    slow = statistics.median(rate for rate, _ in found[ONE])
    lines = [f"{title:<42}{'rows/s, median [least..most]':>32}{'ratio':>8}{'client CPU':>14}"]
    for name, rounds in found.items():
        rates = [rate for rate, _ in rounds]
        middle, spent = statistics.median(rates), statistics.median(cpu for _, cpu in rounds)
        told = f"{middle:,.0f} [{min(rates):,.0f}..{max(rates):,.0f}]"
        lines.append(f"  {name:<40}{told:>32}{middle / slow:>7.1f}x{spent:>8,.0f} us/row")
    return "\n".join(lines)


def main() -> None:
    asked = argparse.ArgumentParser(description="Contacts into Firestore's emulator, three ways, here and far away.")
    asked.add_argument("--rows", type=int, default=5000)
    asked.add_argument("--alone", type=int, default=1000, help="rows to write one by one")
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--rtt", type=float, default=20, help="milliseconds of the far round trip")
    wish = asked.parse_args()
    if lacking := firestore_emulator.missing():
        raise SystemExit(f"{lacking}; to get it: {firestore_emulator.INSTALL}")
    host = firestore_emulator.started().host
    rows, alone = rows_of(wish.rows), min(wish.alone, wish.rows)
    rounds = warm(host, rows, alone)
    print(
        f"{wish.rows} contacts of 15 fields, {wish.rounds} rounds after {rounds} to warm up, load {os.getloadavg()[0]:.1f}"
    )
    print(table("loopback", measure(host, rows, alone, wish.rounds)))
    with delayed(host, wish.rtt) as far:
        print(table(f"round trip of {wish.rtt:g} ms", measure(far, rows, max(1, alone // 5), wish.rounds)))


if __name__ == "__main__":
    main()
