from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_runtime.contacts.model import Contact
from xgw.importer.policy import Policy, merged, says_the_same
from xgw.importer.ramp import Ramp

THERE = Contact(
    "id",
    "person",
    "Ann",
    "a@x.com",
    "lead",
    "active",
    "web",
    1,
    0,
    0,
    4,
    9,
    "me",
    {"city": "Bonn", "fax": ""},
    "m",
    "v",
)
ROW = Contact(
    "id",
    "person",
    "Anna",
    "a@x.com",
    "customer",
    "active",
    "import",
    2,
    0,
    0,
    7,
    7,
    "x",
    {"city": "Köln", "fax": "1"},
    "r:1",
)
ALL = frozenset(
    ("name", "relationshipType", "interactionCount", "createdAt", "createdBy", "customFields.city", "customFields.fax")
)


def test_update_takes_what_the_row_says_and_nothing_else() -> None:
    found = merged(THERE, ROW, ALL, Policy("update"))
    expected = replace(
        THERE,
        name="Anna",
        relationship_type="customer",
        interaction_count=2,
        custom_fields={"city": "Köln", "fax": "1"},
        mark="r:1",
    )
    assert found == expected
    assert found.version == "v"
    assert (found.created_at, found.created_by, found.updated_at, found.source) == (4, "me", 9, "web")


def test_fill_takes_only_what_is_missing() -> None:
    assert merged(THERE, ROW, ALL, Policy("fill")) == replace(
        THERE, custom_fields={"city": "Bonn", "fax": "1"}, mark="r:1"
    )


def test_an_empty_cell_says_nothing() -> None:
    assert merged(THERE, replace(ROW, name="Anna"), frozenset(), Policy("update")) is THERE
    assert says_the_same(THERE, ROW, frozenset())


@pytest.mark.parametrize(("rule", "name"), [("skip", "Ann"), ("fill", "Ann"), ("overwrite", "Anna")])
def test_a_rule_beats_the_usual_way(rule: str, name: str) -> None:
    for usual in ("update", "fill"):
        policy = Policy(usual, {"name": rule})  # type: ignore[arg-type, dict-item]
        assert merged(THERE, ROW, ALL, policy).name == name


def test_who_made_it_and_when_is_not_the_rows_to_say_again() -> None:
    assert says_the_same(THERE, ROW, frozenset(("createdAt", "createdBy")))
    assert not says_the_same(THERE, ROW, frozenset(("name",)))


@given(
    st.sets(st.sampled_from(sorted(ALL))),
    st.sampled_from(["update", "fill"]),
    st.dictionaries(st.sampled_from(sorted(ALL)), st.sampled_from(["skip", "fill", "overwrite"])),
)
def test_merging_twice_is_merging_once(names: set[str], usual: str, rules: dict[str, str]) -> None:
    policy = Policy(usual, rules)  # type: ignore[arg-type]
    once = merged(THERE, ROW, names, policy)
    assert merged(once, replace(ROW, mark="r:2"), names, policy) is once


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += max(seconds, 1e-3)


def passed(rate: float, minutes: float, size: int) -> list[int]:
    """Operations that pass in each minute."""
    clock = Clock()
    ramp = Ramp(rate, clock=clock, sleep=clock.sleep)
    found = [0] * int(minutes)

    async def run() -> None:
        while clock.at < 100 + 60 * minutes:
            await ramp.take(size)
            at = int((clock.at - 100) // 60)
            if at < minutes:
                found[at] += size

    asyncio.run(run())
    return found


def test_firestores_ramp_is_500_and_half_as_much_again_every_five_minutes() -> None:
    minutes = passed(500, 11, 500)
    assert minutes[1:5] == pytest.approx([30_000] * 4, abs=500)
    assert minutes[5:10] == pytest.approx([45_000] * 5, abs=1000)
    assert minutes[10] == pytest.approx(67_500, abs=1000)


@given(st.integers(1, 2000), st.integers(1, 700))
def test_no_second_passes_more_than_a_burst_and_its_rate(rate: int, size: int) -> None:
    clock = Clock()
    ramp = Ramp(rate, every=1e9, clock=clock, sleep=clock.sleep)

    async def run() -> None:
        for _ in range(30):
            await ramp.take(size)

    asyncio.run(run())
    assert 30 * size <= max(rate, size) + rate * (clock.at - 100) + size * 0.01 + 1


def test_no_rate_lets_everything_pass() -> None:
    clock = Clock()
    asyncio.run(Ramp(0, clock=clock, sleep=clock.sleep).take(10**9))
    assert clock.at == 100
