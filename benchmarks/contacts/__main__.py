"""How much faster a batch of contacts is made than one contact after the other (plan 3.2: ten times).

    python -m benchmarks.contacts [--store sqlite] [--contacts 1000] [--rounds 5]

A real crm process, real HTTP on loopback, tokens verified, every commit on disk. Each round makes the contacts anew in a tenant
of its own, every way once, in an order that turns; the median counts. One machine, one client process: read the ratio, not the
rate.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmarks.contacts.stores import STORES
from xgw.local import issuer

AT_ONCE = 8
Way = Callable[[int, str, Sequence[bytes]], None]
"""Port, token and rows as JSON: makes them all."""


class Line:
    """One connection that stays open."""

    def __init__(self, port: int, token: str) -> None:
        self._wire = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._wire.connect()
        self._wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._fields = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def post(self, path: str, body: bytes) -> None:
        self._wire.request("POST", path, body, self._fields)
        answer = self._wire.getresponse()
        told = answer.read()
        if answer.status != 201:
            raise SystemExit(f"POST {path} answered {answer.status}: {told[:300]!r}")


def one_by_one(port: int, token: str, rows: Sequence[bytes]) -> None:
    line = Line(port, token)
    for row in rows:
        line.post("/contacts", row)


def several_at_once(port: int, token: str, rows: Sequence[bytes]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(one_by_one, port, token, rows[start::AT_ONCE]) for start in range(AT_ONCE)]:
            done.result()


def batches(port: int, token: str, rows: Sequence[bytes]) -> None:
    line = Line(port, token)
    for first in range(0, len(rows), 1000):
        line.post("/contacts/batch", b'{"contacts":[' + b",".join(rows[first : first + 1000]) + b"]}")


WAYS: Mapping[str, Way] = {
    "one by one": one_by_one,
    f"one by one, {AT_ONCE} at once": several_at_once,
    "batch of 1000": batches,
}


@contextmanager
def crm(folder: Path, env: Mapping[str, str]) -> Iterator[int]:
    """The port of a crm process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    told = {**os.environ, **env, **issuer.settings(folder), "ROLE": "crm", "PORT": str(port)}
    told |= {
        "LISTEN_ADDRESS": "127.0.0.1",
        "LOG_SAMPLE_RATE": "0",
        "RATE_LIMIT_ADDRESS": "off",
        "RATE_LIMIT_USER": "off",
    }
    with (folder / "crm.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "gateway_runtime"], env=told, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 30
        while time.monotonic() < end and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.02)
        else:
            raise SystemExit(f"the crm did not start: {(folder / 'crm.log').read_text()[-1000:]}")
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)


def measure(folder: Path, store: str, contacts: int, rounds: int) -> Mapping[str, list[float]]:
    """Way -> seconds of each round."""
    rows = [
        json.dumps(
            {"name": f"Contact {n}", "email": f"contact.{n}@bench.example", "relationshipType": "lead",
             "customFields": {"company": f"Company {n % 97}", "score": n % 100}}
        ).encode()
        for n in range(contacts)
    ]  # fmt: skip
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    names = list(WAYS)
    with STORES[store](folder) as env, crm(folder, env) as port:
        batches(port, issuer.token(folder, tenant="warm-up"), rows)
        for round_ in range(rounds):
            for name in names[round_ % len(names) :] + names[: round_ % len(names)]:
                token = issuer.token(folder, tenant=f"round-{round_}-{names.index(name)}")
                began = time.perf_counter()
                WAYS[name](port, token, rows)
                found[name].append(time.perf_counter() - began)
    return found


def main() -> None:
    asked = argparse.ArgumentParser(description="A batch of contacts beside one contact after the other.")
    asked.add_argument("--store", choices=sorted(STORES), default="sqlite")
    asked.add_argument("--contacts", type=int, default=1000)
    asked.add_argument("--rounds", type=int, default=5)
    wish = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), wish.store, wish.contacts, wish.rounds)
    slow = statistics.median(found["one by one"])
    print(f"{wish.contacts} contacts, {wish.store}, {wish.rounds} rounds, median [best..worst]")
    print(f"{'way':<24}{'seconds':>26}{'contacts/s':>12}{'ratio':>8}")
    for name, seconds in found.items():
        middle = statistics.median(seconds)
        told = f"{middle:.3f} [{min(seconds):.3f}..{max(seconds):.3f}]"
        print(f"{name:<24}{told:>26}{wish.contacts / middle:>12.0f}{slow / middle:>7.1f}x")


if __name__ == "__main__":
    main()
