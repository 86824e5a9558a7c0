"""When a request may be sent once more: only what may be sent twice, seldom, and after a pause."""

from __future__ import annotations

import random
from dataclasses import dataclass

BURST = 10.0
"""Retries that may come at once after quiet times."""


@dataclass(frozen=True)
class RetryPolicy:
    """`tries` more for one request; over time at most `share` of all requests are retries. Pauses are up to `pause`
    seconds, doubled each time, and drawn evenly from 0, so that those who failed together do not come back together.
    """

    tries: int = 1
    share: float = 0.1
    pause: float = 0.05


class RetryBudget:
    """A balance of retries: each request pays `share` in, each retry takes 1 out. A failing upstream sees little more
    than its usual load, where unlimited retries would double it in the worst moment.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self.policy = policy
        self.balance = BURST if policy.share else 0.0

    def pay(self) -> None:
        """A request has come."""
        if self.balance < BURST:
            self.balance += self.policy.share

    def take(self) -> bool:
        """Takes one retry out, when there is one."""
        if self.balance < 1:
            return False
        self.balance -= 1
        return True

    def pause(self, attempt: int) -> float:
        """Seconds to wait before this retry; the first is 0."""
        return random.random() * self.policy.pause * float(1 << attempt)  # noqa: S311  it spreads, it hides nothing
