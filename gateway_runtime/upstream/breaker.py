"""The circuit breaker of one upstream: resilience4j's count-based semantics as a table and a clock that is only read.

    closed     every call is let through; the outcomes of the last `window` are kept
    open       no call is let through for `open_seconds`
    half open  `half_open_calls` calls are let through, and their outcomes decide

`TRANSITIONS` is the whole of it. No timer runs: between requests a Cloud Run instance has no CPU (Cloud Run docs:
request-based billing), so what time does is found out by the next call that asks. Looking at a state never changes it.

A call asks with `acquire` and tells with `record`, once. Its permit is the number of the state it was given in; what it
tells after that state has ended is dropped, so that a call from before the fault cannot decide about the time after it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType


class State(StrEnum):
    """What a breaker does with the next call."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class Event(StrEnum):
    """What can end a state."""

    TRIPPED = "tripped"
    """Enough outcomes are there, and the share of failures or of slow calls is at its threshold."""
    WAITED = "waited"
    """`open_seconds` are over and a call asks."""
    HEALED = "healed"
    """Every call of half open has ended, and both shares are below their thresholds."""
    STUCK = "stuck"
    """Half open has given out its permits, and one has not come back for `half_open_seconds`."""


TRANSITIONS: Mapping[tuple[State, Event], State] = MappingProxyType(
    {
        (State.CLOSED, Event.TRIPPED): State.OPEN,
        (State.OPEN, Event.WAITED): State.HALF_OPEN,
        (State.HALF_OPEN, Event.HEALED): State.CLOSED,
        (State.HALF_OPEN, Event.TRIPPED): State.OPEN,
        (State.HALF_OPEN, Event.STUCK): State.OPEN,
    }
)
"""State and event -> the next state. A pair that is not here cannot happen."""


class Outcome(IntEnum):
    """How a call ended, as the breaker sees it."""

    SUCCESS = 0
    FAILURE = 1
    """A timeout, a 5xx, a fault of the connection, an answer that is no HTTP."""
    REFUSED = 2
    """A 4xx: the caller's fault, so it is not counted; in half open it shows that the upstream answers."""
    IGNORED = 3
    """Says nothing about the upstream: the client left, or its own smaller deadline was over. Gives its permit back."""


@dataclass(frozen=True)
class BreakerPolicy:
    """The numbers. Shares are 0..1; a threshold is reached at equality, as in resilience4j."""

    enabled: bool = True
    failure_share: float = 0.5
    slow_share: float = 0.5
    window: int = 50
    min_calls: int = 20
    half_open_calls: int = 3
    open_seconds: float = 30.0
    half_open_seconds: float = 150.0


NONE = 0
"""The permit of a call that is not let through."""
_COUNTED, _FAILED, _SLOW = 1, 2, 4
_CLOSED, _HALF_OPEN, _FAILURE = State.CLOSED, State.HALF_OPEN, Outcome.FAILURE
"""Read at every request: a name of the module is found four times as fast as a member of an enum."""


class Window:
    """The last `size` outcomes, and how many of them failed and were slow."""

    __slots__ = ("_at", "_kept", "count", "failed", "slow")

    def __init__(self, size: int) -> None:
        self._kept = bytearray(size)
        self._at = self.count = self.failed = self.slow = 0

    def add(self, failed: bool, slow: bool) -> None:
        """Adds one, and forgets the oldest when the window is full."""
        at, kept = self._at, self._kept
        old = kept[at]
        if not old:
            self.count += 1
        elif old != _COUNTED:
            self.failed -= (old & _FAILED) >> 1
            self.slow -= (old & _SLOW) >> 2
        self.failed += failed
        self.slow += slow
        kept[at] = _COUNTED | failed << 1 | slow << 2
        self._at = (at + 1) % len(kept)


class Breaker:
    """See the module. Not for use by several threads; `clock` gives seconds that never step back."""

    def __init__(self, policy: BreakerPolicy, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.policy = policy
        self.opened = 0
        """How often it has opened."""
        self._clock = clock
        self._permit = NONE
        self._enter(State.CLOSED)

    def acquire(self) -> int:
        """The permit of a call that may go now, or `NONE`."""
        if self.state is _CLOSED:
            return self._permit
        if self.state is State.OPEN and self._clock() >= self._since + self.policy.open_seconds:
            self._on(Event.WAITED)
        if self.state is State.HALF_OPEN:
            if self._given < self.policy.half_open_calls:
                self._given += 1
                return self._permit
            if self._clock() >= self._since + self.policy.half_open_seconds:
                self._on(Event.STUCK)
        return NONE

    def holds(self, permit: int) -> bool:
        """Whether the permit is still good: a call that waited its turn asks before it goes."""
        return permit == self._permit

    def record(self, permit: int, outcome: Outcome, *, slow: bool = False) -> None:
        """What became of a call, once for each permit."""
        if permit != self._permit or not self.policy.enabled:
            return
        if self.state is _HALF_OPEN:
            self._tried(outcome, slow)
        elif outcome <= _FAILURE:
            window, failed = self._window, outcome is _FAILURE
            window.add(failed, slow)
            # A good call makes no share larger: it can only be the one that makes them enough.
            if (failed or slow or window.count == self._needed) and window.count >= self._needed and self._tripped():
                self._on(Event.TRIPPED)

    @property
    def waiting(self) -> bool:
        """Whether it is open and its time is not over: `acquire` would refuse."""
        return self.state is State.OPEN and self._clock() < self._since + self.policy.open_seconds

    @property
    def retry_after(self) -> int:
        """Whole seconds, at least 1, after which a call may be let through."""
        left = self._since + self.policy.open_seconds - self._clock() if self.state is State.OPEN else 0.0
        return max(1, math.ceil(left))

    @property
    def failure_share(self) -> float:
        """Of the outcomes that are kept, the share that failed."""
        return self._window.failed / self._window.count if self._window.count else 0.0

    @property
    def given(self) -> int:
        """The permits of half open that are out or used."""
        return self._given

    def _tried(self, outcome: Outcome, slow: bool) -> None:
        if outcome is Outcome.IGNORED:
            self._given -= 1
            return
        self._window.add(outcome is Outcome.FAILURE, slow)
        if self._window.count == self._needed:
            self._on(Event.TRIPPED if self._tripped() else Event.HEALED)

    def _tripped(self) -> bool:
        window, policy = self._window, self.policy
        return window.failed >= window.count * policy.failure_share or window.slow >= window.count * policy.slow_share

    def _on(self, event: Event) -> None:
        self._enter(TRANSITIONS[self.state, event])

    def _enter(self, state: State) -> None:
        policy = self.policy
        self.state = state
        self.opened += state is State.OPEN
        self._permit += 1
        self._since = self._clock()
        self._given = 0
        half = state is State.HALF_OPEN
        self._window = Window(policy.half_open_calls if half else policy.window)
        self._needed = policy.half_open_calls if half else min(policy.min_calls, policy.window)
