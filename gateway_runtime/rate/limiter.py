"""Who may pass: asks Redis in slices, decides alone while it is gone, and settles up when it is back.

Nothing here waits longer than one call to Redis, and nothing raises.
"""

from __future__ import annotations

import asyncio
import math
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from gateway_runtime.rate.script import TAKE
from gateway_runtime.rate.window import SLACK_SECONDS, SLOTS, Bucket, Decision, Policy
from gateway_runtime.shared.client import Shared, SharedUnavailable
from gateway_runtime.shared.crowd import Crowd

LONGEST_DENIAL = 1.0
"""Seconds for which a "no" of Redis is repeated without asking again."""
REUNION_SECONDS = 0.5
"""After Redis' return, for how long several instances go on deciding alone, until each has told its debts."""
AT_ONCE = 200
_EPOCH = re.compile(rb"[0-9a-f]{1,64}")
_TOLD = re.compile(rb"(?:-?[0-9]{1,15}:[0-9]{1,15}(?:,|\Z))*")
"""What the script gives back (rate/script.py): a broken Redis may answer with anything, and decides nothing then."""


class Limiter:
    """One policy over many callers. At most `keys` of them are remembered, the longest unseen are forgotten first."""

    def __init__(
        self,
        policy: Policy,
        shared: Shared,
        *,
        keys: int = 50_000,
        instances: int = 1,
        clock: Callable[[], float] = time.monotonic,
        stamp: Callable[[], int] | None = None,
    ) -> None:
        """`stamp` is for tests with a clock of their own: the time in ms that Redis is to take for its own."""
        self.policy = policy
        self._shared = shared
        self._most = keys
        self._assumed = instances
        self._clock = clock
        self._stamp = stamp
        self._buckets: OrderedDict[bytes, Bucket] = OrderedDict()
        self._prefix = shared.prefix + b"rate:" + policy.name.encode() + b":"
        self._width = max(1, math.ceil(policy.seconds * 1000 / SLOTS))
        self._settling: asyncio.Task[None] | None = None
        shared.on_return(self._settle)

    def leased(self, caller: bytes) -> Decision | None:
        """Lets one more request of this caller pass when it can without asking; None when it must `take`."""
        now = self._clock()
        bucket = self._bucket(caller)
        return bucket.passed(now) if bucket.spend(now) else None

    async def take(self, caller: bytes) -> Decision:
        """Whether one more request of this caller may pass; counts it if so."""
        now = self._clock()
        bucket = self._bucket(caller)
        while not bucket.spend(now):
            if now < bucket.denied_until:
                return Decision(False, 0, bucket.free_at - now, self.degraded)
            if not self._usable(now):
                return self._alone(bucket, now)
            bucket.waiting += 1
            try:
                await self._ask(bucket)
            except SharedUnavailable:
                return self._alone(bucket, self._clock())
            finally:
                bucket.waiting -= 1
            now = self._clock()
        return bucket.passed(now)

    @property
    def degraded(self) -> bool:
        """Whether it decides alone though there is a Redis to ask."""
        return self._shared.mode != "off" and not self._usable(self._clock())

    @property
    def remembered(self) -> int:
        """Callers in memory."""
        return len(self._buckets)

    def _bucket(self, caller: bytes) -> Bucket:
        found = self._buckets.get(caller)
        if found is None:
            digest = blake2b(caller, digest_size=16).hexdigest().encode()
            found = self._buckets[caller] = Bucket(self._prefix + digest, self.policy.limit)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(caller)
        return found

    def _usable(self, now: float) -> bool:
        shared = self._shared
        if shared.mode != "ok":
            return False
        return shared.instances <= 1 or shared.lost_at is None or now >= shared.changed_at + REUNION_SECONDS

    def _alone(self, bucket: Bucket, now: float) -> Decision:
        shared = self._shared
        off = shared.mode == "off"
        decision = bucket.locally(
            self.policy,
            now,
            instances=max(shared.instances, self._assumed),
            lost_at=shared.lost_at,
        )
        # Redis' slots end at other moments than ours: once it has been told, a request counts for up to one slot longer.
        longer = 0.0 if off or decision.allowed else self.policy.slot
        return Decision(decision.allowed, decision.left, decision.seconds + longer, not off)

    # -- asking -------------------------------------------------------------------------------------------------------
    async def _ask(self, bucket: Bucket) -> None:
        """Asks for all who wait for this bucket; who comes while a question is under way waits for that one."""
        if bucket.asking is None:
            bucket.asking = Crowd(self._question(bucket, bucket.waiting))
        await bucket.asking.outcome()

    async def _question(self, bucket: Bucket, needed: int) -> None:
        policy, sent = self.policy, self._clock()
        since = sent - policy.seconds
        debt = [(ends, count) for ends, count in bucket.debt if ends > since]
        back = b"%d:%d" % ((bucket.lease_of - sent) * 1000, bucket.lease) if bucket.lease and needed else b""
        args = (
            policy.limit,
            self._width,
            SLOTS,
            needed,
            bucket.wish(sent) if needed else 0,
            bucket.epoch,
            secrets.token_hex(4),
            bucket.told,
            int((sent - bucket.told_at) * 1000),
            b",".join(b"%d:%d" % (math.ceil((ends - sent) * 1000), count) for ends, count in debt),
            back,
            self._stamp() if self._stamp else b"",
        )
        if back:
            bucket.lease = 0
        try:
            answer = await self._shared.run(TAKE, [bucket.key], args)
        finally:
            bucket.asking = None
        self._learn(bucket, answer, sent, needed)
        bucket.debt = [pair for pair in bucket.debt if pair not in debt]

    def _learn(self, bucket: Bucket, answer: Any, sent: float, needed: int) -> None:
        try:
            granted, left, more, rest, epoch, told = answer
            granted, left, more, rest = int(granted), int(left), int(more), int(rest)
            counts = 0 <= granted <= self.policy.limit and 0 <= left <= self.policy.limit
            times = 0 <= more <= (SLOTS + 1) * self._width and 0 < rest <= self._width
            if not (counts and times and _EPOCH.fullmatch(epoch) and _TOLD.fullmatch(told)):
                raise ValueError
        except (TypeError, ValueError):
            raise SharedUnavailable("garbage") from None
        now = self._clock()
        bucket.left, bucket.epoch, bucket.told, bucket.told_at = left, epoch, told, now
        bucket.free_at = now + more / 1000
        if not needed:
            return
        bucket.asked_at, bucket.used = sent, 0
        bucket.lease = granted
        bucket.lease_of = sent + rest / 1000 - 0.002  # a moment in its slot, for giving it back
        bucket.lease_ends = max(sent + rest / 1000, now + SLACK_SECONDS)
        if granted < needed:
            bucket.denied_until = min(bucket.free_at, now + LONGEST_DENIAL)

    # -- after a loss -------------------------------------------------------------------------------------------------
    def _settle(self) -> None:
        """Redis is back: tell it what was let through meanwhile, and what it may have forgotten."""
        if self._settling is None or self._settling.done():
            self._settling = asyncio.create_task(self._tell_all())

    async def _tell_all(self) -> None:
        since = self._clock() - self.policy.seconds - self.policy.slot
        owing = [
            bucket
            for bucket in self._buckets.values()
            if bucket.asking is None and (bucket.debt or (bucket.told and bucket.told_at > since))
        ]
        for start in range(0, len(owing), AT_ONCE):
            told = (self._tell(bucket) for bucket in owing[start : start + AT_ONCE])
            await asyncio.gather(*told, return_exceptions=True)

    async def _tell(self, bucket: Bucket) -> None:
        if bucket.asking is None:
            bucket.asking = Crowd(self._question(bucket, 0))
            await bucket.asking.outcome()
