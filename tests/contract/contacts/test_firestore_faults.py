"""Firestore behind a proxy that loses answers, is out of quota, aborts, keeps silent: nothing is lost, nothing is twice there."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import grpc
import pytest

from gateway_runtime.contacts.firestore import FirestoreContacts, Patience
from gateway_runtime.contacts.model import Contact, contact_id
from gateway_runtime.contacts.store import (
    Changed,
    Exists,
    Outcome,
    Receipt,
    ReceiptTaken,
    StoreFault,
    TooLarge,
    Write,
)
from tests.helpers.firestore_emulator import emulator
from tests.helpers.firestore_faults import Fault, FirestoreFaultProxy

T = "tenant/a"
QUICK = Patience(total=40, attempt=4, first=0.02, most=0.2)
COLD = Patience(total=120, attempt=60)
"""For an emulator that has just been started, on a busy machine."""
Code = grpc.StatusCode


def contact(key: object, **fields: Any) -> Contact:
    values: dict[str, Any] = {
        "id": contact_id(T, str(key)), "type": "person", "name": f"Name {key}", "email": f"{key}@example.com",
        "relationship_type": "prospect", "status": "active", "source": "manual", "interaction_count": 0, "email_count": 1,
        "slack_message_count": 2, "created_at": 1_700_000_000_123_456, "updated_at": 1_700_000_000_123_457,
        "created_by": "somebody", "custom_fields": {"a.b": 1, "none": None}, "mark": f"mark-{key}",
    }  # fmt: skip
    return Contact(**{**values, **fields})


def receipt(key: str, *, made_at: int | None = None, body: bytes = b"{}") -> Receipt:
    return Receipt(key, "print", 201, body, time.time_ns() // 1000 if made_at is None else made_at)


def behind(
    plan: Sequence[Fault],
    story: Callable[[FirestoreContacts, FirestoreFaultProxy], Coroutine[Any, Any, None]],
    monkeypatch: pytest.MonkeyPatch,
    patience: Patience = QUICK,
) -> None:
    """Runs the story on a store whose calls go through a proxy with this plan, once it is open."""
    found = emulator()
    with FirestoreFaultProxy(found.host) as proxy:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", proxy.host)

        async def run() -> None:
            store = FirestoreContacts(found.project(), patience=patience)
            await store.open()
            proxy.plan = list(plan)
            try:
                await story(store, proxy)
            finally:
                await store.close()

        asyncio.run(run())


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """Java is ten times as slow at first: no test is to take that for an answer that does not come."""
    found = emulator()

    async def run() -> None:
        store = FirestoreContacts(found.project(), patience=COLD)
        await store.open()
        await store.write(T, [Write("create", contact(number)) for number in range(1000)])
        await store.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTORE_EMULATOR_HOST", found.host)
        asyncio.run(run())


async def everything(store: FirestoreContacts) -> dict[str, Contact]:
    items = (await store.page(T, limit=0)).items
    assert len({item.id for item in items}) == len(items)
    return {item.id: item for item in items}


ROWS = 1100
BULK = {
    "an answer is lost": [Fault("lose", times=1)],
    "every first answer is lost": [Fault("lose", times=3)],
    "no answer comes": [Fault("silence", times=1)],
    "out of quota for a while": [Fault("refuse", times=9, status=Code.RESOURCE_EXHAUSTED)],
    "aborted": [Fault("refuse", times=4, status=Code.ABORTED)],
    "aborted after it was done": [Fault("lose", times=2, status=Code.ABORTED)],
    "some rows are aborted": [Fault("rows", times=4, status=Code.ABORTED)],
    "some rows are out of quota": [Fault("rows", times=4, status=Code.RESOURCE_EXHAUSTED, every=2)],
    "lost, then refused, then lost": [
        Fault("lose", times=3), Fault("refuse", times=3, status=Code.RESOURCE_EXHAUSTED), Fault("lose", times=2),
    ],
    "the look fails too": [Fault("lose", times=3), Fault("refuse", on="BatchGetDocuments", times=3)],
}  # fmt: skip


@pytest.mark.parametrize("plan", BULK.values(), ids=BULK)
def test_a_bulk_write_loses_and_doubles_nothing(plan: list[Fault], monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(store: FirestoreContacts, proxy: FirestoreFaultProxy) -> None:
        rows = [contact(number) for number in range(ROWS)]
        written = await store.write(T, [Write("create", row) for row in rows])
        assert [each.outcome for each in written] == [Outcome.DONE] * ROWS
        stored = await everything(store)
        assert stored == {row.id: row for row in rows}
        assert [stored[row.id].version for row in rows] == [each.version for each in written]
        assert await store.count(T) == ROWS
        assert sum(proxy.struck.values()) > 0

    behind([dataclasses.replace(fault) for fault in plan], story, monkeypatch)


@pytest.mark.parametrize("do", ["lose", "refuse", "silence"])
def test_each_kind_of_row_has_its_own_truth_after_a_fault(do: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(store: FirestoreContacts, proxy: FirestoreFaultProxy) -> None:
        proxy.plan = []
        stored = await store.add(T, [contact(name) for name in ("there", "mine", "old", "away", "kept")])
        there, mine, old, away, kept = stored
        proxy.plan = [Fault(do, times=1)]
        changed = [dataclasses.replace(each, name="new", mark="edit") for each in (mine, old)]
        written = await store.write(
            T,
            [
                Write("create", contact("fresh")),
                Write("create", dataclasses.replace(contact("there"), mark="another")),
                Write("replace", changed[0], mine.version),
                Write("replace", changed[1], "1.000000000"),
                Write("remove", away, away.version),
                Write("remove", kept, "1.000000000"),
                Write("replace", contact("nobody"), mine.version),
            ],
        )
        assert [each.outcome.name for each in written] == [
            "DONE", "EXISTS", "DONE", "CHANGED", "DONE", "CHANGED", "GONE",
        ]  # fmt: skip
        stored_now = await everything(store)
        assert {each.id for each in stored_now.values()} == {
            contact(n).id for n in ("there", "mine", "old", "kept", "fresh")
        }
        assert (stored_now[mine.id].name, stored_now[old.id].name) == ("new", old.name)
        assert stored_now[there.id] == there
        assert written[2].version == stored_now[mine.id].version

    behind([], story, monkeypatch)


@pytest.mark.parametrize("keyed", [True, False], ids=["with a receipt", "without"])
@pytest.mark.parametrize("do", ["lose", "silence", "refuse"])
def test_a_thousand_contacts_are_one_commit_also_when_its_answer_is_lost(
    do: Any, keyed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(store: FirestoreContacts, proxy: FirestoreFaultProxy) -> None:
        rows = [contact(number, mark="one batch") for number in range(1000)]
        kept = receipt("key/1", body=secrets.token_bytes(20_000)) if keyed else None
        added = await store.add(T, rows, receipt=kept)
        assert proxy.calls["Commit"] == 2
        assert list(added) == rows
        stored = await everything(store)
        assert [stored[row.id].version for row in rows] == [each.version for each in added]
        assert await store.receipt(T, "key/1") == kept

    behind([Fault(do, on="Commit", times=1)], story, monkeypatch)


def test_a_batch_of_which_one_exists_stores_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(store: FirestoreContacts, proxy: FirestoreFaultProxy) -> None:
        first = contact(500)
        await store.add(T, [first])
        proxy.plan = [Fault("lose", on="Commit", times=1)]
        with pytest.raises(Exists) as found:
            await store.add(T, [contact(number, mark="later") for number in range(1000)], receipt=receipt("k"))
        assert found.value.ids == (first.id,)
        assert await everything(store) == {first.id: first}
        assert await store.receipt(T, "k") is None

    behind([], story, monkeypatch)


def test_a_receipt_lets_one_of_two_equal_requests_through(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(store: FirestoreContacts, proxy: FirestoreFaultProxy) -> None:
        told = receipt("k")
        racing = [store.add(T, [contact(number, mark=f"try {attempt}") for number in range(20)], receipt=told)
                  for attempt in range(6)]  # fmt: skip
        ends = await asyncio.gather(*racing, return_exceptions=True)
        assert sorted(type(end).__name__ for end in ends) == ["ReceiptTaken"] * 5 + ["tuple"]
        assert len(await everything(store)) == 20

    behind([Fault("lose", on="Commit", times=2)], story, monkeypatch)


def test_a_receipt_past_its_time_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(store: FirestoreContacts, proxy: FirestoreFaultProxy) -> None:
        old = time.time_ns() // 1000 - 25 * 3600 * 1_000_000
        await store.add(T, [contact(1)], receipt=receipt("k", made_at=old))
        assert await store.receipt(T, "k") is None
        again = receipt("k")
        await store.add(T, [contact(2)], receipt=again)
        assert await store.receipt(T, "k") == again
        with pytest.raises(ReceiptTaken):
            await store.add(T, [contact(3)], receipt=again)

    behind([], story, monkeypatch)


@pytest.mark.parametrize(
    ("code", "kind"), [(Code.PERMISSION_DENIED, "denied"), (Code.UNAUTHENTICATED, "unauthenticated")]
)
def test_who_may_not_is_told_at_once(code: grpc.StatusCode, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(store: FirestoreContacts, proxy: FirestoreFaultProxy) -> None:
        rows = [Write("create", contact(number)) for number in range(4000)]
        for asked in (store.write(T, rows), store.add(T, [contact(1)]), store.get(T, "a"), store.page(T, limit=5),
                      store.count(T), store.receipt(T, "k"), store.remove(T, "a")):  # fmt: skip
            with pytest.raises(StoreFault) as found:
                await asked
            assert found.value.kind == kind
            assert "example.com" not in str(found.value)
        # Of the eight requests of the bulk write only those that were under way already were sent; nothing was tried twice.
        assert proxy.calls["BatchWrite"] <= 4 + 1
        assert proxy.calls["Commit"] == 1

    behind(
        [Fault("refuse", on="", times=-1, status=code)], story, monkeypatch, Patience(total=2, attempt=2, first=0.02)
    )


@pytest.mark.parametrize(
    ("code", "kind"),
    [(Code.UNAVAILABLE, "unavailable"), (Code.RESOURCE_EXHAUSTED, "unavailable"), (Code.ABORTED, "busy")],
)
def test_patience_ends(code: grpc.StatusCode, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(store: FirestoreContacts, proxy: FirestoreFaultProxy) -> None:
        for asked in (store.write(T, [Write("create", contact(1))]), store.add(T, [contact(2)]), store.count(T)):
            start = time.monotonic()
            with pytest.raises(StoreFault) as found:
                await asked
            assert found.value.kind == kind
            assert time.monotonic() - start < 20
        assert proxy.calls["BatchWrite"] > 2

    patience = Patience(total=1, attempt=0.5, first=0.02, most=0.2)
    behind([Fault("refuse", on="", times=-1, status=code)], story, monkeypatch, patience)


def test_a_server_that_goes_away_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(store: FirestoreContacts, proxy: FirestoreFaultProxy) -> None:
        replaced, stored = dataclasses.replace, (await store.add(T, [contact(1)]))[0]
        proxy.plan = [Fault("lose", on="BatchWrite", times=1)]
        edited = await store.replace(T, replaced(stored, name="new", mark="e1"), version=stored.version)
        assert (await store.get(T, stored.id)) == edited
        assert (await store.get_many(T, [stored.id, "nobody"]))[stored.id].version == edited.version
        with pytest.raises(Changed):
            await store.replace(T, replaced(stored, name="newer", mark="e2"), version=stored.version)
        proxy.plan = [Fault("lose", on="BatchWrite", times=1)]
        assert await store.remove(T, stored.id)
        assert not await store.remove(T, stored.id)

    behind([], story, monkeypatch)


def test_requests_are_cut_by_bytes_before_they_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(store: FirestoreContacts, proxy: FirestoreFaultProxy) -> None:
        large = {f"k{number}": "x" * 1000 for number in range(100)}
        rows = [contact(number, custom_fields=large) for number in range(120)]  # 12 MB: the emulator takes 4 MiB
        written = await store.write(T, [Write("create", row) for row in rows])
        assert {each.outcome for each in written} == {Outcome.DONE}
        assert 6 <= proxy.calls["BatchWrite"] <= 8
        assert len(await everything(store)) == 120
        with pytest.raises(TooLarge):
            await store.add(T, [contact(f"a{number}", custom_fields=large) for number in range(120)])
        assert proxy.calls["Commit"] == 0
        (one, two) = await store.write(
            T,
            [Write("create", contact("huge", custom_fields={"a": "x" * 1_100_000})), Write("create", contact("small"))],
        )
        assert (one.outcome, two.outcome) == (Outcome.TOO_LARGE, Outcome.DONE)

    behind([], story, monkeypatch)
