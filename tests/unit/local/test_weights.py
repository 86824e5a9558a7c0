from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from xgw.local.weights import Weights


def test_ninety_and_ten_are_exact_over_two_hundred_picks():
    weights = Weights([("old", 90), ("new", 10)])
    assert Counter(weights.pick() for _ in range(200)) == {"old": 180, "new": 20}


def test_the_small_share_is_spread_and_not_bunched():
    weights = Weights([("old", 90), ("new", 10)])
    for _ in range(20):
        assert [weights.pick() for _ in range(10)].count("new") == 1


def test_no_weight_picks_nothing():
    assert Weights([]).pick() is None
    assert Weights([("tagged", 0)]).pick() is None


def test_two_shares_of_one_revision_add_up():
    weights = Weights([("a", 30), ("b", 40), ("a", 30)])
    assert Counter(weights.pick() for _ in range(100)) == {"a": 60, "b": 40}


@given(st.lists(st.integers(0, 100), min_size=1, max_size=6).filter(lambda found: sum(found) > 0))
def test_every_share_is_exact_over_one_round(shares):
    weights = Weights([(str(index), share) for index, share in enumerate(shares)])
    picked = Counter(weights.pick() for _ in range(sum(shares)))
    assert picked == {str(index): share for index, share in enumerate(shares) if share}
