"""A walk through all pages while others add and remove: who was there all the time is seen, and nobody twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway_runtime.contacts.cursor import Cursors
from gateway_runtime.contacts.model import Contact, accept
from gateway_runtime.contacts.store import ContactStore, Write
from tests.helpers.contacts_stage import Stage

PEOPLE = 14
CURSORS = Cursors("", "here")
Fetch = Callable[[ContactStore, str, str, int], Awaitable[tuple[Sequence[Contact], str]]]
"""Store, tenant, cursor and limit to the items of a page and the cursor to the next, "" after the last."""


@dataclass(frozen=True)
class Deed:
    """What somebody does between two pages. `at` counts people; `last` is the contact the cursor points at."""

    kind: str
    at: int = 0


DEEDS = st.lists(
    st.lists(
        st.builds(Deed, st.sampled_from(["add", "remove"]), st.integers(0, PEOPLE - 1)) | st.just(Deed("remove last")),
        max_size=3,
    ),
    max_size=6,
)


async def ours(store: ContactStore, tenant: str, cursor: str, limit: int) -> tuple[Sequence[Contact], str]:
    after = CURSORS.read(tenant, "", "", cursor) if cursor else ""
    page = await store.page(tenant, limit=limit, after=after)
    return page.items, CURSORS.make(tenant, "", "", page.items[-1].id) if page.has_more else ""


async def the_documents(store: ContactStore, tenant: str, cursor: str, limit: int) -> tuple[Sequence[Contact], str]:
    """Plan 1.4 as it stands: the cursor is the last id; it is looked up, and without it the list begins again."""
    there = cursor and await store.get(tenant, cursor) is not None
    page = await store.page(tenant, limit=limit, after=cursor if there else "")
    return page.items, page.items[-1].id if page.has_more else ""


async def walk(stage: Stage, fetch: Fetch, first: set[int], limit: int, deeds: Sequence[Sequence[Deed]]) -> None:
    store, tenant = stage.store, stage.tenant()
    person = [
        accept({"name": f"P{n}", "email": f"p{n}@walk.example"}, tenant=tenant, now=n, by="x", mark=f"{n}")
        for n in range(PEOPLE)
    ]
    name = {one.id: n for n, one in enumerate(person)}
    there = set(first)
    if first:
        await store.add(tenant, [person[n] for n in first])
    all_the_time, seen, cursor, pages = set(first), [], "", 0
    while pages == 0 or cursor:
        items, cursor = await fetch(store, tenant, cursor, limit)
        seen += [name[one.id] for one in items]
        for deed in deeds[pages] if pages < len(deeds) else ():
            n = name[items[-1].id] if deed.kind == "remove last" and items else deed.at
            if deed.kind == "add" and n not in there:
                await store.write(tenant, [Write("create", person[n])])
                there.add(n)
            elif deed.kind != "add":
                await store.remove(tenant, person[n].id)
                there.discard(n)
                all_the_time.discard(n)
        pages += 1
        assert pages <= PEOPLE + len(deeds) + 2, "the walk does not end"
    assert all_the_time <= set(seen), "somebody was missed"
    for n in all_the_time:
        assert seen.count(n) == 1, "somebody came twice"
    assert len(seen) == len(set(seen)), "somebody who was removed and made anew came twice"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(first=st.sets(st.integers(0, PEOPLE - 1)), limit=st.integers(1, 5), deeds=DEEDS)
def test_nobody_is_missed_and_nobody_comes_twice(
    stage: Stage, first: set[int], limit: int, deeds: list[list[Deed]]
) -> None:
    stage.run(walk(stage, ours, first, limit, deeds))


def test_the_documents_own_scheme_does_not_hold(stage: Stage) -> None:
    deleted_while_reading = [[Deed("remove last")]]
    with pytest.raises(AssertionError, match="twice"):
        stage.run(walk(stage, the_documents, set(range(PEOPLE)), 3, deleted_while_reading))
    stage.run(walk(stage, ours, set(range(PEOPLE)), 3, deleted_while_reading))


def test_the_documents_own_scheme_can_go_round_for_ever(stage: Stage) -> None:
    always = [[Deed("remove last"), Deed("add", n), Deed("add", n + 1)] for n in range(PEOPLE - 1)] * 3
    with pytest.raises(AssertionError):
        stage.run(walk(stage, the_documents, set(range(PEOPLE)), 2, always))
    stage.run(walk(stage, ours, set(range(PEOPLE)), 2, always))
