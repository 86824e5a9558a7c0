"""Who holds a place: counted in Redis for all instances together, and here for this one.

A place is a member of two sorted sets, the user's and everybody's, whose score is when it falls free unless its instance says
something (a lease). So an instance that dies frees its places by dying. All of it is one script: no second client, no lock,
and no moment between looking and taking. Time is Redis' own.

Without Redis an instance counts what it has itself: the limit of a user as it is, the total divided by the instances that
were last known. What was opened meanwhile is told to Redis when it is back, over the limit or not: these sockets are open.

A place is taken here first and only then asked for in Redis, so that neither a flushed Redis nor one that goes away in the
middle lets this instance hold more of a user than the limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import Iterable
from typing import Literal

from gateway_runtime.shared.client import Script, Shared, SharedUnavailable
from gateway_runtime.stream.reasons import CAPACITY, MAX_CONNECTIONS

BATCH = 100
"""Places in one call."""
SAYS_PER_LEASE = 3
Does = Literal["take", "hold", "free"]

PLACES = Script("""\
local does, lease, per_user, total = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function tidy(key)
  if redis.call('TYPE', key).ok ~= 'zset' then redis.call('DEL', key) end
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  redis.call('ZREMRANGEBYSCORE', key, now + 2 * lease, '+inf')
end
tidy(KEYS[1])
local verdict = 0
for i = 2, #KEYS do
  local user, member = KEYS[i], ARGV[3 + i]
  tidy(user)
  if does == 'free' then
    redis.call('ZREM', user, member)
    redis.call('ZREM', KEYS[1], member)
  else
    if does == 'take' and not redis.call('ZSCORE', user, member) then
      if redis.call('ZCARD', user) >= per_user then verdict = 1
      elseif redis.call('ZCARD', KEYS[1]) >= total then verdict = 2 end
    end
    if verdict == 0 then
      redis.call('ZADD', user, now + lease, member)
      redis.call('ZADD', KEYS[1], now + lease, member)
      redis.call('PEXPIRE', user, 2 * lease)
    end
  end
end
redis.call('PEXPIRE', KEYS[1], 2 * lease)
return {verdict, redis.call('ZCARD', KEYS[1])}
""")
"""KEYS everybody's set, then the user's set of each member; ARGV what to do (take one, if there is room; hold; free),
milliseconds of a lease, the two limits, then the members -> {0 done, 1 the user is full, 2 everything is; places taken}."""
_VERDICTS = {1: MAX_CONNECTIONS, 2: CAPACITY}
_UNLIMITED = 10**9


class Leases:
    """The places of this instance's sockets. `user` is an opaque key, `member` the socket's own name."""

    def __init__(self, shared: Shared, *, per_user: float, total: float, lease: float, instances: int) -> None:
        self._shared = shared
        self.per_user = per_user
        self.total = total
        self._lease = lease
        self._instances = instances
        self._held: dict[str, bytes] = {}
        self._asked: set[str] = set()
        """Those of `_held` whose `take` has no answer yet: said to be held, they would pass by the limit."""
        self._users: Counter[bytes] = Counter()
        self._everybody = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._say = asyncio.Event()
        shared.on_return(self._say.set)

    @property
    def open(self) -> int:
        """Places held here."""
        return len(self._held)

    @property
    def users(self) -> int:
        """Users who hold a place here."""
        return len(self._users)

    @property
    def everybody(self) -> int:
        """Places held everywhere, as last told; those held here when nobody tells."""
        return max(self._everybody, self.open) if self.mode == "shared" else self.open

    @property
    def mode(self) -> str:
        """ "local" (no Redis configured), "shared", or "degraded" (Redis is away: this instance counts alone)."""
        return {"off": "local", "ok": "shared"}.get(self._shared.mode, "degraded")

    @property
    def share(self) -> float:
        """What this instance may hold of the total when it counts alone."""
        if self._shared.mode == "off" or self.total == math.inf:
            return self.total
        return math.ceil(self.total / max(1, self._shared.instances or self._instances))

    async def take(self, user: bytes, member: str) -> str | None:
        """Takes a place; what there is too much of when there is none."""
        if self._users[user] >= self.per_user:
            self._tidy(user)
            return MAX_CONNECTIONS
        if self.open >= self.total:
            self._tidy(user)
            return CAPACITY
        alone = self.open >= self.share
        self._held[member] = user
        self._users[user] += 1
        self._asked.add(member)
        try:
            full = _VERDICTS.get(await self._run("take", [(member, user)]))
        except SharedUnavailable:
            full = CAPACITY if alone else None
        except asyncio.CancelledError:
            self.free(member)
            raise
        finally:
            self._asked.discard(member)
        if full:
            self._forget(member)
        return full

    def free(self, member: str) -> None:
        """Gives a place back. Never waits; a Redis that is away finds out when the lease ends."""
        user = self._forget(member)
        if user is not None and self._shared.mode == "ok":
            self._spawn_free(member, user)

    async def keep(self) -> None:
        """Says that the places are still held, as often as it takes; at once when Redis is back. For ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._lease / SAYS_PER_LEASE):
                    await self._say.wait()
            self._say.clear()
            held = [(member, user) for member, user in self._held.items() if member not in self._asked]
            with contextlib.suppress(SharedUnavailable):
                for start in range(0, len(held), BATCH):
                    # What was given back since must not be taken up again: it would stay for a whole lease.
                    batch = [(member, user) for member, user in held[start : start + BATCH] if member in self._held]
                    await self._run("hold", batch)
                    for member, user in batch:
                        if member not in self._held:
                            self._spawn_free(member, user)
                if not held:
                    await self._run("hold", [])

    async def stop(self) -> None:
        """Waits until what was given back has been told."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=0.3)

    async def _run(self, does: Does, places: Iterable[tuple[str, bytes]]) -> int:
        """What the script says; SharedUnavailable."""
        if self.per_user == math.inf and self.total == math.inf:
            return 0
        prefix = self._shared.prefix + b"stream:"
        members = list(places)
        keys = [prefix + b"all", *(prefix + b"user:" + user for _, user in members)]
        limits = [_UNLIMITED if most == math.inf else int(most) for most in (self.per_user, self.total)]
        names = [f"{self._shared.instance}:{member}" for member, _ in members]
        verdict, everybody = await self._shared.run(PLACES, keys, [does, int(1000 * self._lease), *limits, *names])
        self._everybody = everybody
        return int(verdict)

    def _forget(self, member: str) -> bytes | None:
        user = self._held.pop(member, None)
        if user is not None:
            self._users[user] -= 1
            self._tidy(user)
        return user

    def _tidy(self, user: bytes) -> None:
        if not self._users[user]:
            del self._users[user]

    def _spawn_free(self, member: str, user: bytes) -> None:
        async def tell() -> None:
            with contextlib.suppress(SharedUnavailable):
                await self._run("free", [(member, user)])

        task = asyncio.get_running_loop().create_task(tell())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
