"""Step 3.2 against a real crm behind a real gateway: its probe fails on the plan's "current" state and passes after the step."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway_runtime.contacts.stores import store_of
from tests.helpers.gateway_process import running
from tests.helpers.tokens import issuer
from xgw.plan.model import CRM, GATEWAY, Reading, Subject, Verdict
from xgw.plan.phase3 import PHASE3
from xgw.probes.batch import PATH, TIMES, batches_beat_single_creation

BATCH_CREATION = next(step for step in PHASE3.steps if step.id == "3.2")
TENANTS: list[str] = []


def token(*, tenant: str = "", user: str = "") -> str:
    TENANTS.append(tenant)
    return issuer().token(tenant, user)


def measured(url: str, role: str = CRM, path: str = PATH, tokens: Any = token) -> Reading:
    target: Any = SimpleNamespace(token=tokens)
    subject = Subject(target=target, where="candidate", urls={role: url}, revisions={}, wanted={})
    return batches_beat_single_creation(role, path).measure(subject)


@contextmanager
def pair(folder: Path, **env: str) -> Iterator[tuple[str, str, str]]:
    """A crm and a gateway in front of it: both URLs, and the store's."""
    folder.mkdir()
    store = f"sqlite://{folder}/contacts.db"
    with (
        running(folder, ROLE="crm", CONTACTS_STORE=store, **env) as crm,
        running(folder, UPSTREAM_CRM_URL=f"http://127.0.0.1:{crm.port}") as gateway,
    ):
        yield f"http://127.0.0.1:{crm.port}", f"http://127.0.0.1:{gateway.port}", store


def left_over(store: str) -> int:
    import asyncio

    async def count() -> int:
        contacts = store_of(store)
        await contacts.open()
        try:
            return sum([await contacts.count(tenant) for tenant in TENANTS])
        finally:
            await contacts.close()

    return asyncio.run(count())


@pytest.mark.alone
def test_batch_creation_fails_before_step_3_2_and_passes_after(tmp_path: Path) -> None:
    (change,) = BATCH_CREATION.changes
    after = {name.removeprefix("env."): value for name, value in change.wanted().items()}
    with pair(tmp_path / "now", CONTACTS_BATCH="off") as (crm, gateway, store):
        before = [measured(crm), measured(gateway, GATEWAY, f"/api/v2/crm{PATH}")]
        assert left_over(store) == 0
    with pair(tmp_path / "then", **after) as (crm, gateway, store):
        passed = [measured(crm), measured(gateway, GATEWAY, f"/api/v2/crm{PATH}")]
        assert left_over(store) == 0
    assert [reading.verdict for reading in before] == [Verdict.FAILED] * 2
    assert before[0].measured == "contacts can only be made one by one: /contacts/batch answers 405"
    assert [reading.verdict for reading in passed] == [Verdict.PASSED] * 2, passed
    for reading in passed:
        assert reading.numbers is not None
        assert float(reading.numbers["times"]) >= TIMES


def test_the_step_is_of_the_crm_and_its_probe_too() -> None:
    assert [probe.name for probe in BATCH_CREATION.probes] == ["batch creation"]
    assert [change.role for change in BATCH_CREATION.changes] == [CRM]


def test_without_a_tenant_of_its_own_nothing_is_written() -> None:
    found = measured("http://127.0.0.1:9", tokens=lambda tenant="", user="": "")
    assert found.verdict == Verdict.INCONCLUSIVE


class Peer(BaseHTTPRequestHandler):
    """A contacts service with the faults that `ways` names; each call costs it 2 ms, and with "slow" each contact."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one piece, else Nagle adds 40 ms
    ways: frozenset[str]
    stored: dict[str, str]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        rows = body["contacts"] if self.path.endswith("/batch") else [body]
        exist = [row for row in rows if row["email"] in self.stored]
        key = self.headers["Idempotency-Key"] or ""
        if exist and "part" in self.ways:
            self.store([row for row in rows if row not in exist])
        if exist and "twice" not in self.ways and key not in self.stored:
            return self.answer(409, {})
        ids = json.loads(self.stored[key]) if key in self.stored else self.store(rows)
        if key and "twice" not in self.ways:
            self.stored[key] = json.dumps(ids)
        return self.answer(201, {"ids": ids, "id": ids[0]})

    def store(self, rows: list[dict[str, str]]) -> list[str]:
        time.sleep(0.002 * (len(rows) if "slow" in self.ways else 1))
        ids = [uuid.uuid4().hex for _ in rows]
        self.stored.update((row["email"], id) for row, id in zip(rows, ids, strict=True))
        return ids

    def do_DELETE(self) -> None:
        self.answer(204, None)

    def answer(self, status: int, data: Any) -> None:
        sent = b"" if data is None else json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.mark.parametrize(
    ("ways", "verdict", "said"),
    [
        ("", Verdict.PASSED, "x: "),
        ("slow", Verdict.FAILED, "x: "),
        ("part", Verdict.FAILED, "of a refused batch a part was stored"),
        ("twice", Verdict.FAILED, "a batch with a contact that exists is taken"),
    ],
)
def test_a_service_that_is_slow_or_stores_a_part_or_stores_twice_does_not_pass(
    ways: str, verdict: Verdict, said: str
) -> None:
    handler = type("Fresh", (Peer,), {"ways": frozenset(ways.split()), "stored": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        found = measured(f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()
        thread.join()
    assert found.verdict == verdict, found
    assert said in found.measured
