"""One caller's window as one instance knows it. No I/O, no clock of its own: times are given, in monotonic seconds.

A window of W seconds is cut into SLOTS slots. A request counts from its own slot on for as long as any moment of that slot
is less than W old, so that in no span of W seconds do more than the limit pass, wherever the span begins; the price is
that the last sixteenth of a window is forgotten a little late.

    told    what Redis last said has passed in each slot, in all instances together
    lease   requests that are already counted there, to be spent here until their slot ends
    alone   requests that were let through here without Redis
    debt    those of them that Redis has not been told of; told with the next question, once
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gateway_runtime.shared.crowd import Crowd

SLOTS = 16
SLACK_SECONDS = 0.02
"""How long after its slot's end a lease can still be spent: the callers it was asked for are waiting for it right now."""
FIRST_SHARE = 4
"""In the first window after Redis was lost an instance lets through this fraction of its share: others may have used up
the limit a moment before. So at most L (told) + n · L/4n pass in that window."""


@dataclass(frozen=True)
class Policy:
    """So many requests in so many seconds, under a name that answers show."""

    name: str
    limit: int
    seconds: int

    @property
    def slot(self) -> float:
        """Seconds in a slot."""
        return self.seconds / SLOTS


class Decision(NamedTuple):
    """Whether a request may pass, how many more may, and in how many seconds there will be more."""

    allowed: bool
    left: int
    seconds: float
    local: bool = False
    """True when it was made without Redis though there should be one."""


Slots = list[tuple[float, int]]
"""(the slot's end, how many), oldest first."""


class Bucket:
    """What is known of one caller. About 650 bytes with what it hangs on."""

    __slots__ = (
        "alone", "asked_at", "asking", "debt", "denied_until", "epoch", "free_at", "key", "lease", "lease_ends", "lease_of",
        "left", "told", "told_at", "used", "waiting",
    )  # fmt: skip

    def __init__(self, key: bytes, limit: int) -> None:
        self.key = key
        self.lease = 0
        self.lease_ends = 0.0
        self.lease_of = 0.0
        self.left = limit
        self.free_at = 0.0
        self.denied_until = 0.0
        self.epoch = b""
        """Names the data that Redis holds; another name, or none, says that it lost what we were told."""
        self.told = b""
        """Slots as Redis said them, "ms until the slot ends:count,…", as seen at `told_at`."""
        self.told_at = 0.0
        self.alone: Slots = []
        self.debt: Slots = []
        self.asked_at = 0.0
        self.used = 0
        """Spent since the last question."""
        self.waiting = 0
        self.asking: Crowd[None] | None = None

    def spend(self, now: float) -> bool:
        """Takes one out of the lease, if there is one."""
        if self.lease > 0 and now < self.lease_ends:
            self.lease -= 1
            self.used += 1
            return True
        return False

    def passed(self, now: float) -> Decision:
        """What is said to a request that has spent one."""
        return Decision(True, self.left + self.lease, max(0.0, self.free_at - now))

    def wish(self, now: float) -> int:
        """How many to ask for: what the next tenth of a second will need at this pace, at most double what was used."""
        pace = self.used / max(now - self.asked_at, 0.001)
        return max(1, min(2 * self.used, math.ceil(pace / 10)))

    def slots_told(self) -> Slots:
        """`told` in our own time."""
        pairs = (pair.partition(b":") for pair in self.told.split(b",") if pair)
        return [(self.told_at + int(ends) / 1000, int(count)) for ends, _, count in pairs]

    def locally(self, policy: Policy, now: float, *, instances: int, lost_at: float | None) -> Decision:
        """Decides without Redis and notes the debt. `lost_at` None: there never was one."""
        since = now - policy.seconds
        self.alone = [slot for slot in self.alone if slot[0] > since]
        self.debt = [slot for slot in self.debt if slot[0] > since]
        passed = [*self.slots_told(), *self.debt]
        room = _room(policy, now, passed, self.alone, instances, lost_at)
        if room > 0:
            ends = (math.floor(now / policy.slot) + 1) * policy.slot
            _add(self.alone, ends)
            _add(self.debt, ends)
            return Decision(True, room - 1, self.alone[0][0] + policy.seconds - now)
        moments = {end + policy.seconds for end, _ in (*passed, *self.alone)}
        if lost_at is not None:
            moments.add(lost_at + policy.seconds)
        for moment in sorted(moments):
            if moment > now and _room(policy, moment, passed, self.alone, instances, lost_at) > 0:
                return Decision(False, 0, moment - now)
        return Decision(False, 0, float(policy.seconds))


def share(policy: Policy, now: float, instances: int, lost_at: float | None) -> int:
    """How many an instance may let through in a window without Redis."""
    if instances <= 1:
        return policy.limit
    first = lost_at is not None and now < lost_at + policy.seconds
    return max(1, policy.limit // (instances * (FIRST_SHARE if first else 1)))


def _add(slots: Slots, ends: float) -> None:
    if slots and slots[-1][0] == ends:
        slots[-1] = (ends, slots[-1][1] + 1)
    else:
        slots.append((ends, 1))


def _room(policy: Policy, now: float, passed: Slots, alone: Slots, instances: int, lost_at: float | None) -> int:
    since = now - policy.seconds
    here = sum(count for ends, count in alone if ends > since)
    everywhere = sum(count for ends, count in passed if ends > since)
    return min(policy.limit - everywhere, share(policy, now, instances, lost_at) - here)
