from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway_runtime.upstream.breaker import NONE, TRANSITIONS, Breaker, BreakerPolicy, Event, Outcome, State, Window

OK, BAD, REFUSED, IGNORED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.REFUSED, Outcome.IGNORED
PLAN = BreakerPolicy(window=40)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def breaker(policy: BreakerPolicy = PLAN) -> tuple[Breaker, Clock]:
    clock = Clock()
    return Breaker(policy, clock=clock), clock


def call(it: Breaker, outcome: Outcome, *, slow: bool = False) -> None:
    permit = it.acquire()
    assert permit is not NONE
    it.record(permit, outcome, slow=slow)


def opened(policy: BreakerPolicy = PLAN) -> tuple[Breaker, Clock]:
    it, clock = breaker(policy)
    for _ in range(20):
        call(it, BAD)
    assert it.state is State.OPEN
    return it, clock


def test_the_table_names_every_way_out_of_every_state() -> None:
    assert {state for state, _ in TRANSITIONS} == set(State)
    assert {event for _, event in TRANSITIONS} == set(Event)
    assert all(before is not after for (before, _), after in TRANSITIONS.items())


def test_it_opens_only_after_the_least_number_of_calls() -> None:
    it, _ = breaker()
    for number in range(20):
        assert it.state is State.CLOSED, number
        call(it, BAD)
    assert it.state is State.OPEN
    assert it.acquire() is NONE


@pytest.mark.parametrize(
    ("failures", "successes", "state"),
    [(10, 10, State.OPEN), (9, 11, State.CLOSED), (19, 0, State.CLOSED), (19, 1, State.OPEN), (0, 40, State.CLOSED)],
)
def test_half_of_the_calls_is_enough_and_less_is_not(failures: int, successes: int, state: State) -> None:
    it, _ = breaker()
    for _ in range(successes):
        call(it, OK)
    for _ in range(failures):
        call(it, BAD)
    assert it.state is state


@pytest.mark.parametrize("outcome", [REFUSED, IGNORED])
def test_bad_input_and_clients_that_leave_are_not_counted(outcome: Outcome) -> None:
    it, _ = breaker()
    for _ in range(1000):
        call(it, outcome, slow=True)
    for _ in range(19):
        call(it, BAD)
    assert it.state is State.CLOSED


def test_slow_answers_open_it_though_they_are_good() -> None:
    it, _ = breaker()
    for _ in range(20):
        call(it, OK, slow=True)
    assert it.state is State.OPEN


def test_old_outcomes_leave_the_window() -> None:
    it, _ = breaker(BreakerPolicy(window=20, min_calls=20))
    for _ in range(9):
        call(it, BAD)
    for _ in range(20):
        call(it, OK)
    for _ in range(9):
        call(it, BAD)
    assert it.state is State.CLOSED
    assert it.failure_share == 9 / 20


def test_open_lasts_its_time_and_looking_does_not_end_it() -> None:
    it, clock = opened()
    assert it.retry_after == 30
    clock.now += 29.9
    assert (it.acquire(), it.retry_after, it.waiting) == (NONE, 1, True)
    clock.now += 0.2
    assert (it.state, it.waiting) == (State.OPEN, False)
    assert it.acquire() is not NONE
    assert it.state is State.HALF_OPEN


def half_open(policy: BreakerPolicy = PLAN) -> tuple[Breaker, Clock]:
    it, clock = opened(policy)
    clock.now += 30
    return it, clock


def test_half_open_lets_three_calls_through_and_no_more() -> None:
    it, _ = half_open()
    permits = [it.acquire() for _ in range(10)]
    assert [permit is not NONE for permit in permits] == [True] * 3 + [False] * 7


@pytest.mark.parametrize("outcomes", list(itertools.product([OK, BAD, REFUSED], repeat=3)))
def test_three_calls_decide(outcomes: Sequence[Outcome]) -> None:
    it, _ = half_open()
    permits = [it.acquire() for _ in range(3)]
    for permit, outcome in zip(permits[:2], outcomes[:2], strict=True):
        it.record(permit, outcome)
        assert it.state is State.HALF_OPEN
    it.record(permits[2], outcomes[2])
    assert it.state is (State.OPEN if outcomes.count(BAD) >= 2 else State.CLOSED)


def test_slow_calls_in_half_open_open_it_again() -> None:
    it, _ = half_open()
    for _ in range(3):
        call(it, OK, slow=True)
    assert it.state is State.OPEN


def test_an_ignored_outcome_gives_its_permit_back() -> None:
    it, _ = half_open()
    for _ in range(50):
        call(it, IGNORED)
    assert it.state is State.HALF_OPEN
    for _ in range(3):
        call(it, OK)
    assert it.state is State.CLOSED


def test_half_open_that_is_stuck_ends() -> None:
    it, clock = half_open()
    lost = [it.acquire() for _ in range(3)]
    clock.now += 149
    assert it.acquire() is NONE
    assert it.state is State.HALF_OPEN
    clock.now += 2
    assert it.acquire() is NONE
    assert it.state is State.OPEN
    for permit in lost:
        it.record(permit, OK)
    clock.now += 30
    for _ in range(3):
        call(it, OK)
    assert it.state is State.CLOSED


def test_a_call_from_before_does_not_decide_about_after() -> None:
    it, clock = breaker()
    late = [it.acquire() for _ in range(30)]
    for permit in late[:20]:
        it.record(permit, BAD)
    clock.now += 30
    assert it.acquire() is not NONE
    for permit in late[20:]:
        it.record(permit, BAD)
    assert it.state is State.HALF_OPEN


def test_off_lets_everything_through() -> None:
    it, _ = breaker(replace(PLAN, enabled=False))
    for _ in range(100):
        call(it, BAD, slow=True)
    assert it.state is State.CLOSED


def test_a_window_counts_what_a_list_counts() -> None:
    window, kept = Window(7), []
    for number in range(200):
        failed, slow = number % 3 == 0, number % 5 < 2
        window.add(failed, slow)
        kept = [*kept, (failed, slow)][-7:]
        assert (window.count, window.failed, window.slow) == (
            len(kept), sum(f for f, _ in kept), sum(s for _, s in kept),
        )  # fmt: skip


class Reference:
    """The same machine written the plain way: a list of outcomes, and every rule spelled out where it applies."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self.policy = policy
        self.state = "closed"
        self.epoch = 1
        self.outcomes: list[tuple[bool, bool]] = []
        self.entered = 0.0
        self.permits = 0

    def move(self, state: str, now: float) -> None:
        self.state, self.entered, self.outcomes, self.permits = state, now, [], 0
        self.epoch += 1

    def bad(self) -> bool:
        count = len(self.outcomes)
        failed = sum(1 for failed, _ in self.outcomes if failed) / count
        slow = sum(1 for _, slow in self.outcomes if slow) / count
        return failed >= self.policy.failure_share or slow >= self.policy.slow_share

    def acquire(self, now: float) -> int:
        if self.state == "open" and now - self.entered >= self.policy.open_seconds:
            self.move("half_open", now)
        if self.state == "closed":
            return self.epoch
        if self.state == "half_open" and self.permits < self.policy.half_open_calls:
            self.permits += 1
            return self.epoch
        if self.state == "half_open" and now - self.entered >= self.policy.half_open_seconds:
            self.move("open", now)
        return 0

    def record(self, epoch: int, outcome: Outcome, slow: bool, now: float) -> None:
        if epoch != self.epoch:
            return
        if self.state == "closed" and outcome in (OK, BAD):
            self.outcomes = [*self.outcomes, (outcome is BAD, slow)][-self.policy.window :]
            if len(self.outcomes) >= min(self.policy.min_calls, self.policy.window) and self.bad():
                self.move("open", now)
        elif self.state == "half_open" and outcome is IGNORED:
            self.permits -= 1
        elif self.state == "half_open":
            self.outcomes.append((outcome is BAD, slow))
            if len(self.outcomes) == self.policy.half_open_calls:
                self.move("open" if self.bad() else "closed", now)


class Machine(RuleBasedStateMachine):
    """Any calls, overlapping in any way, ending in any order, with any time between: both machines agree always."""

    policy = BreakerPolicy(window=6, min_calls=4, half_open_calls=3, open_seconds=30, half_open_seconds=50)

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = Breaker(self.policy, clock=self.clock)
        self.reference = Reference(self.policy)
        self.reference.entered = self.clock.now
        self.out: list[tuple[int, int]] = []

    @rule()
    def a_call_begins(self) -> None:
        permit, epoch = self.breaker.acquire(), self.reference.acquire(self.clock.now)
        assert bool(permit) == bool(epoch)
        if permit:
            self.out.append((permit, epoch))

    @precondition(lambda self: self.out)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome), slow=st.booleans())
    def a_call_ends(self, data: st.DataObject, outcome: Outcome, slow: bool) -> None:
        permit, epoch = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        self.breaker.record(permit, outcome, slow=slow)
        self.reference.record(epoch, outcome, slow, self.clock.now)

    @rule(count=st.integers(1, 8), outcome=st.sampled_from((OK, BAD)))
    def many_calls_come_and_go(self, count: int, outcome: Outcome) -> None:
        for _ in range(count):
            permit, epoch = self.breaker.acquire(), self.reference.acquire(self.clock.now)
            assert bool(permit) == bool(epoch)
            if permit:
                self.breaker.record(permit, outcome)
                self.reference.record(epoch, outcome, False, self.clock.now)

    @rule(seconds=st.sampled_from((0.0, 1.0, 29.0, 30.0, 31.0, 49.0, 50.0, 51.0)))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def both_are_in_the_same_state(self) -> None:
        assert self.breaker.state.value == self.reference.state

    @invariant()
    def half_open_never_gives_out_more_than_its_calls(self) -> None:
        live = sum(1 for permit, _ in self.out if self.breaker.holds(permit))
        if self.breaker.state is State.HALF_OPEN:
            assert live <= self.breaker.given <= self.policy.half_open_calls

    def teardown(self) -> None:
        """Never stuck: an upstream that is well again gets a closed breaker, whatever was lost before."""
        waits = 0
        while self.breaker.state is not State.CLOSED:
            permit = self.breaker.acquire()
            if permit is NONE:
                self.clock.now += self.policy.open_seconds
                waits += 1
                assert waits <= 4
            else:
                self.breaker.record(permit, OK)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=300, stateful_step_count=60, deadline=None)
