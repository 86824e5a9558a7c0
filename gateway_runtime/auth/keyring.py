"""The keys that tokens may be signed with, kept fresh.

A set is good for as long as its source said (Cache-Control: max-age). Near its end the next request starts a new read in
the background; past its end a request waits for that, for WAIT_SECONDS at most. While the source cannot be read the last
good set goes on being used, for `stale` seconds past its end; then, as before the first set came, there is no key and
every token is answered with 503. A key that a new set does not hold is not believed any more, from that moment.

A key id that no set has held may be a key made a moment ago, so the set is read again: once per `refetch` seconds,
whatever arrives. There is one read at a time, and all who wait, wait for it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from gateway_runtime.auth.keys import Key, read_keys
from gateway_runtime.auth.refusals import invalid, unavailable
from gateway_runtime.logs import Log

READ_SECONDS = 5.0
WAIT_SECONDS = 2.0
EMPTY_RETRY_SECONDS = 1.0
"""Between two reads while there is no key at all."""
AHEAD = 0.8
"""The part of a set's life after which the next one is read in the background."""
LONGEST = 86400.0
"""Seconds a set is kept without asking, whatever its source says."""


@dataclass(frozen=True)
class KeySet:
    """What a source gave: a key set as text, and how many seconds it is good for."""

    body: bytes
    good_for: float


class Keyring:
    """See the module. `read` gets a set; `changes` counts how often a key was withdrawn or replaced."""

    def __init__(
        self,
        read: Callable[[], Awaitable[KeySet]],
        log: Log,
        *,
        refetch: float,
        stale: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._log = log
        self._refetch = refetch
        self._stale = stale
        self._clock = clock
        self._keys: Mapping[str, Key] = {}
        self._ahead_at = self._ends_at = self._tried_at = self._forced_at = -math.inf
        self._failed = False
        self._task: asyncio.Task[None] | None = None
        self.changes = 0

    def tend(self) -> None:
        """Starts a read in the background when one is due. Cheap: call it with every request."""
        if self._clock() >= self._ahead_at and self._task is None and self._may_try():
            self._start()

    async def key(self, kid: str) -> Key:
        """The key of this id; Problem: 401 when there is none, 503 when that cannot be known."""
        self.tend()
        # During an outage nobody waits for what is likely to fail.
        if self._clock() >= self._ends_at and not (self._keys and self._failed):
            await self._settled()
        if self._keys and kid not in self._keys:
            now = self._clock()
            if self._task is None and now - self._forced_at >= self._refetch:
                self._forced_at = now
                self._start()
            await self._settled()
        return self._found(kid)

    def health(self) -> Mapping[str, str]:
        """What /health/deep says of them. Starts a read when one is due, so that they heal without anybody's token."""
        self.tend()
        if not self._failed:
            return {"status": "ok", "keys": "read" if self._keys else "not read yet"}
        return {"status": "degraded", "keys": "old" if self._usable() else "missing"}

    def close(self) -> None:
        """Gives up a read that is under way."""
        if self._task is not None:
            self._task.cancel()

    def _found(self, kid: str) -> Key:
        if not self._usable():
            raise unavailable("no keys", math.ceil(EMPTY_RETRY_SECONDS))
        key = self._keys.get(kid)
        if key is None and self._failed:
            raise unavailable("an unknown key, and the keys cannot be read", math.ceil(self._refetch))
        if key is None:
            raise invalid("unknown key")
        return key

    def _usable(self) -> bool:
        return bool(self._keys) and self._clock() < self._ends_at + self._stale

    def _may_try(self) -> bool:
        pause = self._refetch if self._keys else EMPTY_RETRY_SECONDS
        return self._clock() - self._tried_at >= pause

    def _start(self) -> None:
        self._tried_at = self._clock()
        self._task = asyncio.get_running_loop().create_task(self._renew())

    async def _settled(self) -> None:
        """Waits for the read under way, if there is one, but not for ever."""
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=WAIT_SECONDS)

    async def _renew(self) -> None:
        try:
            async with asyncio.timeout(READ_SECONDS):
                found = await self._read()
                # In a thread: the first one imports the library, and everybody else's requests go on.
                keys = await asyncio.to_thread(read_keys, found.body)
        except Exception as fault:  # noqa: BLE001  whatever it was, the answer is the same: the last good set
            self._failed = True
            meanwhile = "the last good ones are used" if self._usable() else "what needs a token answers 503"
            self._log.write(
                "error",
                f"The keys of the tokens cannot be read, and {meanwhile}: {fault or type(fault).__name__}",
                held=len(self._keys),
            )
        else:
            self._take(keys, found.good_for)
        finally:
            self._task = None

    def _take(self, keys: Mapping[str, Key], good_for: float) -> None:
        if any(keys.get(kid) != key for kid, key in self._keys.items()):
            self.changes += 1
        if self._failed or keys != self._keys:
            self._log.write("info", "The keys of the tokens were read", keys=sorted(keys))
        lasts = min(max(good_for, self._refetch), LONGEST)
        now = self._clock()
        self._keys, self._failed = keys, False
        self._ahead_at, self._ends_at = now + AHEAD * lasts, now + lasts
