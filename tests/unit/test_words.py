from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgw.words import counted, distance, duration, nearest, relative, size

WORDS = (
    "plan",
    "phase1",
    "status",
    "state",
    "history",
    "rollback",
    "logs",
    "token",
    "init",
    "version",
    "up",
    "1.1",
    "1.7",
)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("plna", "plan"),
        ("stauts", "status"),
        ("histroy", "history"),
        ("rolbakc", "rollback"),
        ("lgos", "logs"),
        ("int", "init"),
        ("u", "up"),
        ("vers", "version"),
        ("roll", "rollback"),
        ("1.77", "1.7"),
    ],
)
def test_a_slip_and_a_beginning_are_understood(typed: str, meant: str) -> None:
    assert nearest(typed, WORDS) == meant


@pytest.mark.parametrize("typed", ["env", "cost", "list", "foo", "banana", "xyzzy", "start", "", "s", "rightsize"])
def test_nothing_is_suggested_for_a_word_that_is_no_slip_of_any(typed: str) -> None:
    assert nearest(typed, WORDS) == ""


def test_a_beginning_of_several_is_no_word() -> None:
    assert nearest("stat", ("status", "statistics")) == ""
    assert nearest("word", ()) == ""


def test_one_is_no_plural() -> None:
    assert [counted(n, "row") for n in (0, 1, 2, 1000)] == ["0 rows", "1 row", "2 rows", "1,000 rows"]
    assert [counted(n, "minute") for n in (1.0, 0.5)] == ["1 minute", "0.5 minutes"]
    assert [counted(n, "batch is", "batches are") for n in (1, 2)] == ["1 batch is", "2 batches are"]


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_the_distance_is_the_same_from_both_sides_and_nothing_only_to_oneself(one: str, other: str) -> None:
    assert distance(one, other) == distance(other, one)
    assert (distance(one, other) == 0) == (one == other)
    assert abs(len(one) - len(other)) <= distance(one, other) <= max(len(one), len(other))


@given(st.text("abc", min_size=2, max_size=6), st.data())
def test_two_neighbours_swapped_are_one_slip(word: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(word) - 2))
    assert distance(word, word[:at] + word[at + 1] + word[at] + word[at + 2 :]) <= 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0s"), (0.61, "0.6s"), (9.96, "10s"), (59.6, "1m00s"), (128, "2m08s"), (3780, "1h03m"), (273600, "3d04h"),
     (3599.7, "1h00m"), (-128, "-2m08s")],
)  # fmt: skip
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(seconds=2), "just now"),
        (timedelta(seconds=59), "59s ago"),
        (timedelta(minutes=2), "2m ago"),
        (timedelta(hours=23, minutes=59), "23h ago"),
        (timedelta(hours=25), "yesterday"),
        (timedelta(days=3), "3d ago"),
        (timedelta(days=40), "2026-10-13"),
        (timedelta(minutes=-5), "in 5m00s"),
    ],
)
def test_times_are_told_from_now(ago: timedelta, text: str) -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert relative(now - ago, now) == text


@pytest.mark.parametrize(("count", "text"), [(512 << 20, "512Mi"), (1 << 30, "1Gi"), (3 << 29, "1.5Gi"), (900, "900")])
def test_sizes_are_spelled_as_cloud_run_spells_them(count: int, text: str) -> None:
    assert size(count) == text
