"""One fetch for many who ask the same: within the process by a future, across instances by a lock in Redis.

The lock is short (LEASE) and renewed while the fetch goes on, so that an instance that dies holds nobody up for longer.
It is fenced: it holds the word of its owner, and whoever lost it stores nothing (`scripts.STORE`). Those who wait get a
failure once, together, and do not try again each for themselves. A lock that could not be let go of, because Redis went away
meanwhile, is let go of when it is back: nobody waits for what nobody fetches.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial

from gateway_runtime.cache.scripts import RENEW, SETTLE, TAKE
from gateway_runtime.cache.store import WORD, Store
from gateway_runtime.errors import CODES, Problem
from gateway_runtime.shared.client import SharedUnavailable

LEASE = 2.0
FAILURE_SECONDS = 1.0
PASS_SECONDS = 10.0
FIRST_PAUSE, LONGEST_PAUSE = 0.004, 0.05
PASSES = 4096
LEFT = 4096
"""Locks a process remembers to let go of."""
AGAIN = 0.05
"""Seconds until it tries one of them again, while Redis counts as there and only the answer was none."""
_STATE = re.compile(rb"(?:[LP].{8}|F.{8}[A-Z_]+)?", re.DOTALL)
"""What a lock holds (cache/scripts.py), or nothing."""

ALONE, TAKEN, PASSED = "alone", "taken", "passed"


@dataclass
class Flight:
    """What a process is fetching. `ended` is set to None (look again), PASSED, or the Problem all who wait get."""

    ended: asyncio.Future[object]
    lock: bytes = b""
    word: bytes = b""
    renewal: asyncio.TimerHandle | None = None


class Flights:
    """The fetches under way, and what is known not to be worth waiting for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: dict[bytes, Flight] = {}
        self._passes: OrderedDict[bytes, float] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._left: dict[tuple[bytes, bytes], float] = {}
        """Locks that may still be ours in Redis, each with every word it may hold, until their lease is over."""
        self._retry: asyncio.TimerHandle | None = None
        store.shared.on_return(self._let_go)

    def open(self, key: bytes) -> Flight | None:
        """The fetch under way in this process."""
        return self._open.get(key)

    def begin(self, key: bytes) -> Flight:
        """Opens one. Whoever does must `end` it, whatever happens."""
        flight = Flight(asyncio.get_running_loop().create_future())
        self._open[key] = flight
        return flight

    def passes(self, primary: bytes) -> bool:
        """Whether the answer was found not to be storable a moment ago."""
        until = self._passes.get(primary)
        if until is None:
            return False
        if until < time.monotonic():
            del self._passes[primary]
            return False
        return True

    def remember_pass(self, primary: bytes) -> None:
        """Nobody needs to wait for this answer: it is not one that can be shared."""
        self._passes[primary] = time.monotonic() + PASS_SECONDS
        if len(self._passes) > PASSES:
            self._passes.popitem(last=False)

    async def take(self, flight: Flight, key: bytes, *, until: float) -> tuple[str, bytes]:
        """Takes the lock of a key, waiting while another instance has it.

        (TAKEN, the entry stored meanwhile or empty), (ALONE, empty) without Redis or when `until` (time.monotonic) has come,
        (PASSED, empty); raises the Problem that the other instance ended with.
        """
        flight.lock, word = self._store.name(b"l", key), secrets.token_bytes(WORD)
        waited, pause = b"", FIRST_PAUSE
        while time.monotonic() < until:
            try:
                state, value = await self._asked(flight.lock, key, word, waited)
            except SharedUnavailable:
                self._leave(flight.lock, word, time.monotonic() + LEASE)  # whether it was taken is not known
                return ALONE, b""
            except BaseException:
                flight.word = word  # it may have been taken: `end` lets go of it
                raise
            # With our own word in it, an answer before was another command's: it is ours already.
            if not state or state == b"L" + word:
                flight.word = word
                self._renew_later(flight)
                return TAKEN, value
            if state[:1] == b"P":
                return PASSED, b""
            if state[:1] == b"F" and waited:
                code = state[1 + WORD :].decode("ascii")
                raise Problem(code if code in CODES else "BAD_GATEWAY", reason="another instance's fetch failed")
            waited = state[1 : 1 + WORD]
            await asyncio.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311  spreads, protects nothing
            pause = min(pause * 1.5, LONGEST_PAUSE)
        return ALONE, b""

    async def _asked(self, lock: bytes, key: bytes, word: bytes, waited: bytes) -> tuple[bytes, bytes]:
        """What TAKE says; SharedUnavailable also for what it cannot say, from a Redis that answers with anything."""
        names, most = [lock, self._store.name(b"e", key)], self._store.value_limit
        match await self._store.shared.run(TAKE, names, [word, int(LEASE * 1000), waited, most]):
            case [bytes(state), bytes(value)] if _STATE.fullmatch(state):
                return state, value
        raise SharedUnavailable("garbage")

    def end(
        self,
        key: bytes,
        flight: Flight,
        outcome: object = None,
        *,
        settled: bool = False,
        passing: float = PASS_SECONDS,
    ) -> None:
        """Ends a fetch: wakes those who wait, and lets go of the lock unless storing did. `passing`: for how long other
        instances hear that this answer may not be shared."""
        if self._open.get(key) is flight:
            del self._open[key]
        if flight.renewal is not None:
            flight.renewal.cancel()
        if not flight.ended.done():
            flight.ended.set_result(outcome)
        if flight.word and not settled:
            word, flight.word = flight.word, b""
            state, seconds = b"", 0.0
            if isinstance(outcome, Problem):
                state, seconds = b"F" + word + outcome.code.encode("ascii"), FAILURE_SECONDS
            elif outcome is PASSED:
                state, seconds = b"P" + word, passing
            self._run(lambda: self._settle(flight.lock, word, state, seconds))

    def _renew_later(self, flight: Flight) -> None:
        loop = asyncio.get_running_loop()
        flight.renewal = loop.call_later(LEASE / 3, lambda: self._run(lambda: self._renew(flight)))

    async def _renew(self, flight: Flight) -> None:
        if flight.ended.done():
            return
        with contextlib.suppress(SharedUnavailable):
            await self._store.shared.run(RENEW, [flight.lock], [flight.word, int(LEASE * 1000)])
        if not flight.ended.done():
            self._renew_later(flight)

    async def _settle(self, lock: bytes, word: bytes, state: bytes, seconds: float, until: float = 0.0) -> None:
        try:
            await self._store.shared.run(SETTLE, [lock], [word, state, max(1, int(seconds * 1000))])
        except SharedUnavailable:
            self._leave(lock, word, until or time.monotonic() + LEASE)
        else:
            self._let_go()

    def _leave(self, lock: bytes, word: bytes, until: float) -> None:
        if len(self._left) >= LEFT:
            del self._left[next(iter(self._left))]  # its lease ends by itself
        self._left[lock, word] = until
        if self._retry is None and self._store.shared.mode == "ok":  # else it is told when it is back
            self._retry = asyncio.get_running_loop().call_later(AGAIN, self._try_again)

    def _try_again(self) -> None:
        """Lets go of one; of the others once Redis has taken that. It may refuse every command for hours."""
        self._retry, now = None, time.monotonic()
        self._left = {each: until for each, until in self._left.items() if until > now}
        if self._left:
            lock, word = next(iter(self._left))
            until = self._left.pop((lock, word))
            self._run(partial(self._settle, lock, word, b"", 0.0, until))

    def _let_go(self) -> None:
        """Redis takes commands: lets go of all that is left."""
        if not self._left:
            return
        now = time.monotonic()
        left, self._left = self._left, {}
        for (lock, word), until in left.items():
            if until > now:
                self._run(partial(self._settle, lock, word, b"", 0.0, until))

    def _run(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        task = asyncio.get_running_loop().create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
