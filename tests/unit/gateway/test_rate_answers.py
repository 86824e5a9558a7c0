"""What the limiter makes of answers: it learns from those its script can give, and from nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_runtime.rate.limiter import Limiter
from gateway_runtime.rate.window import Bucket, Policy
from gateway_runtime.shared.client import Shared, SharedUnavailable

RIGHT = [3, 7, 100, 50, b"00ff00ff", b"-20:4,980:3"]


def learn(answer: Any) -> tuple[Limiter, Bucket]:
    limiter = Limiter(Policy("address", 10, 60), Shared("", service="gateway"))
    bucket = Bucket(b"key", 10)
    limiter._learn(bucket, answer, 0.0, 1)
    return limiter, bucket


def decides(limiter: Limiter, bucket: Bucket) -> bool:
    return limiter._alone(bucket, 1.0).allowed


def test_a_right_answer_is_a_lease_and_what_has_passed() -> None:
    limiter, bucket = learn(RIGHT)
    assert (bucket.lease, bucket.epoch, [count for _, count in bucket.slots_told()]) == (3, b"00ff00ff", [4, 3])
    assert decides(limiter, bucket)


WRONG = {
    "another command's": b"PONG", "a number": 1, "nothing": None, "too short": RIGHT[:5], "too long": [*RIGHT, 1],
    "a number for what has passed": [*RIGHT[:5], 7], "text for what has passed": [*RIGHT[:5], b"hello"],
    "half a pair": [*RIGHT[:5], b"20:"], "a number for the epoch": [*RIGHT[:4], 5, b""],
    "no epoch": [*RIGHT[:4], b"", b""], "text for a number": [b"x", *RIGHT[1:]],
    "more than the limit": [11, *RIGHT[1:]], "less than nothing": [-1, *RIGHT[1:]],
    "more left than the limit": [3, 11, *RIGHT[2:]], "less left than nothing": [3, -1, *RIGHT[2:]],
    "more after two windows": [*RIGHT[:2], 120_000, *RIGHT[3:]], "more when time has ended": [*RIGHT[:2], 10**400, *RIGHT[3:]],
    "more before now": [*RIGHT[:2], -1, *RIGHT[3:]], "a slot of an hour": [*RIGHT[:3], 3_600_000, *RIGHT[4:]],
    "a slot that is over": [*RIGHT[:3], 0, *RIGHT[4:]],
}  # fmt: skip


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG)
def test_any_other_answer_is_as_good_as_none(answer: Any) -> None:
    with pytest.raises(SharedUnavailable):
        learn(answer)


ANYTHING = st.one_of(
    st.integers(), st.sampled_from((10**400, -(10**400), b"9" * 400)), st.binary(max_size=12), st.none(), st.just([])
)


def decides_after(answer: Any) -> None:
    try:
        limiter, bucket = learn(answer)
    except SharedUnavailable:
        return
    decides(limiter, bucket)


@given(st.lists(ANYTHING, max_size=8))
def test_whatever_redis_answers_the_limiter_still_decides(answer: list[Any]) -> None:
    decides_after(answer)


@given(st.integers(0, len(RIGHT) - 1), ANYTHING)
def test_whatever_one_part_of_an_answer_is_the_limiter_still_decides(place: int, part: Any) -> None:
    decides_after([*RIGHT[:place], part, *RIGHT[place + 1 :]])
