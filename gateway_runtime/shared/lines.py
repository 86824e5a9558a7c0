"""The connections of one client: a small pool, a breaker, and the task in the background that closes the breaker again.

    degraded --a ping answered within `wait`--> ok --a call not answered within `wait`, or a broken connection--> degraded

An exchange has a connection for itself; while all are busy, calls collect and leave together with the next free one.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Literal

from gateway_runtime.shared import wire as wires
from gateway_runtime.shared.limit import Limit
from gateway_runtime.shared.script import BEAT
from gateway_runtime.shared.wire import Command, Refused, Wire, WireBroken

Mode = Literal["off", "ok", "degraded"]
OPEN_SECONDS = 0.4
"""How long opening a connection may take in the background."""
PAUSE_SECONDS = 0.15
"""Between two attempts to return, about."""
CALM_SECONDS = 5.0
"""Losing Redis again within this time after a return makes the next return slower, up to LONGEST_PAUSE."""
LONGEST_PAUSE = 0.4
BEAT_SECONDS = 2.0
LIVE_SECONDS = 10
"""How long an instance that says nothing more is still counted as live."""
SICK = frozenset(("LOADING", "BUSY", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "NOAUTH", "NOPERM", "UNBLOCKED"))
"""Error answers that say that Redis as a whole cannot serve now, not that one command was wrong."""

Call = tuple[Command, "asyncio.Future[Any]"]


class SharedUnavailable(Exception):
    """Redis gave no usable answer, or is known not to. Go on without it."""


class Lines:
    """The state behind `gateway_runtime.shared.client.Shared`, which says what its parameters mean."""

    def __init__(
        self,
        url: str,
        *,
        pool: int,
        wait: float,
        service: str,
        name: str,
        instance: str,
        changed: Callable[[Mode, str], None] | None,
    ) -> None:
        self._url, self._wait, self._name = url, wait, name
        self._pool = max(1, pool)
        self._changed = changed
        self.instance = instance or secrets.token_hex(6)
        self.prefix = f"xgw:{service or 'gateway'}:".encode()
        self.instances = 0
        self.mode: Mode = "degraded" if url else "off"
        self.reason = "connecting" if url else ""
        self.changed_at = time.monotonic()
        self.lost_at: float | None = None
        self.returned: list[Callable[[], None]] = []
        self.heard: dict[bytes, list[Callable[[bytes | None], None]]] = {}
        self.counts = {"calls": 0, "unavailable": 0, "lost": 0, "opened": 0}
        self._idle: list[Wire] = []
        self._open: set[Wire] = set()
        self._opening = 0
        self._queue: list[Call] = []
        self._scheduled = False
        self._overdue: Limit | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lost = asyncio.Event()
        self._usable = asyncio.Event()
        self._ear: Wire | None = None
        self._losses = 0

    async def start(self) -> None:
        if self._url:
            self._spawn(self._keep())
            if self.heard:
                self._pool = max(1, self._pool - 1)  # listening takes a connection, too
                self._spawn(self._listen())

    async def close(self) -> None:
        if self.mode == "ok":
            with contextlib.suppress(SharedUnavailable):
                await self.call(("ZREM", self.prefix + b"live", self.instance))
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._lose("closed")

    # -- calls --------------------------------------------------------------------------------------------------------
    async def call(self, command: Command, *, otherwise: Mapping[str, Any] | None = None) -> Any:
        """The answer to a command; for an error answer what `otherwise` holds under its code, or SharedUnavailable."""
        self.counts["calls"] += 1
        if self.mode != "ok":
            self.counts["unavailable"] += 1
            raise SharedUnavailable(self.mode)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._queue.append((command, future))
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._flush)
        answer = await future
        if not isinstance(answer, Refused):
            return answer
        code = str(answer)
        if otherwise is not None and code in otherwise:
            return otherwise[code]
        self.counts["unavailable"] += 1
        raise SharedUnavailable(code)

    def _flush(self) -> None:
        """Puts everything that waits onto one free connection; opens another when none is free."""
        self._scheduled = False
        self._queue = [call for call in self._queue if not call[1].done()]
        if not self._queue:
            return
        wire = self._free()
        if wire is None:
            if len(self._open) + self._opening < self._pool:
                self._opening += 1
                self._spawn(self._grow())
            if self._overdue is None:
                self._overdue = Limit(self._wait, self._lose, "no connection in time")
            return
        batch, self._queue = self._queue, []
        self._on_time()
        self._spawn(self._exchange(wire, batch))

    def _free(self) -> Wire | None:
        while self._idle:
            wire = self._idle.pop()
            if wire.alive:
                return wire
            self._drop(wire)
        return None

    def _on_time(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    async def _grow(self) -> None:
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                wire = await Wire.open(self._url, self._client_name)
        except (WireBroken, TimeoutError) as fault:
            if not self._open:
                self._lose(str(fault) or "no connection in time")
            return
        finally:
            self._opening -= 1
        if self.mode != "ok":
            wire.close()
            return
        self._add(wire)
        self._flush()

    async def _exchange(self, wire: Wire, batch: list[Call]) -> None:
        limit = Limit(self._wait, self._late, wire, batch)
        try:
            answers = await wire.exchange([command for command, _ in batch])
        except WireBroken as fault:
            _fail(batch, str(fault))
            if wire in self._open:
                self._drop(wire)
                self._lose(str(fault))
            return
        except asyncio.CancelledError:
            _fail(batch, "closed")
            raise
        finally:
            limit.cancel()
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)
        if wire not in self._open:  # given up while the answers were on their way
            wire.close()
            return
        sick = next((str(a) for a in answers if isinstance(a, Refused) and str(a) in SICK), None)
        if sick is not None:
            self._lose(sick)
            return
        self._idle.append(wire)
        if self._queue:
            self._flush()

    def _late(self, wire: Wire, batch: list[Call]) -> None:
        _fail(batch, "slow")
        if wire in self._open:
            self._drop(wire)
            self._lose("slow")

    # -- states -------------------------------------------------------------------------------------------------------
    def _lose(self, reason: str) -> None:
        """Redis cannot be used: everybody who waits is told at once."""
        self._on_time()
        if self.mode == "ok":
            self._losses = self._losses + 1 if time.monotonic() - self.changed_at < CALM_SECONDS else 0
            self.counts["lost"] += 1
            self.lost_at = time.monotonic()
            self._become("degraded", reason)
        elif self.mode == "degraded":
            self.reason = reason
        queue, self._queue = self._queue, []
        _fail(queue, reason)
        for wire in list(self._open):
            self._drop(wire)
        if self._ear is not None:
            self._ear.close()
        self._usable.clear()
        self._lost.set()

    def _become(self, mode: Mode, reason: str) -> None:
        self.mode, self.reason, self.changed_at = mode, reason, time.monotonic()
        if self._changed is not None:
            self._changed(mode, reason)

    def _add(self, wire: Wire) -> None:
        self.counts["opened"] += 1
        self._open.add(wire)
        self._idle.append(wire)

    def _drop(self, wire: Wire) -> None:
        self._open.discard(wire)
        if wire in self._idle:
            self._idle.remove(wire)
        wire.close()

    # -- in the background --------------------------------------------------------------------------------------------
    async def _keep(self) -> None:
        """Signs of life while Redis is there; attempts to return while it is not."""
        await asyncio.to_thread(wires.load)
        while True:
            if self.mode == "ok":
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(BEAT_SECONDS):
                        await self._lost.wait()
                if self._usable.is_set():
                    with contextlib.suppress(SharedUnavailable):
                        self._count(await self.call(self._beat("")), "")
                elif self._losses:
                    await asyncio.sleep(min(LONGEST_PAUSE, 0.02 * 2**self._losses))
            elif not await self._return():
                await asyncio.sleep(PAUSE_SECONDS * random.uniform(0.7, 1.3))  # noqa: S311  not all instances at once

    async def _return(self) -> bool:
        """Whether a new connection answered a ping with the ping's own word, as fast as calls are expected to be."""
        word = secrets.token_hex(8)
        wire = None
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                wire = await Wire.open(self._url, self._client_name)
            async with asyncio.timeout(self._wait):
                answers = await wire.exchange([self._beat(word)])
        except (WireBroken, TimeoutError) as fault:
            self.reason = str(fault) or "slow"
            return False
        if not self._count(answers[0], word):
            self.reason = str(answers[0])[:40] if isinstance(answers[0], Refused) else "garbage"
            wire.close()
            return False
        self._lost.clear()
        self._add(wire)
        self._become("ok", "")
        self._usable.set()
        for then in self.returned:
            then()
        return True

    def _beat(self, word: str) -> Command:
        return ("EVAL", BEAT.source, 1, self.prefix + b"live", self.instance, LIVE_SECONDS, word)

    def _count(self, answer: Any, word: str) -> bool:
        """Takes the number of live instances out of an answer to `_beat`; whether it was one."""
        if not (isinstance(answer, list) and len(answer) == 2 and answer[0] == word.encode()):
            return False
        if not isinstance(answer[1], int):
            return False
        self.instances = max(1, answer[1])
        return True

    async def _listen(self) -> None:
        """Hears what is published, whenever Redis is there."""
        while True:
            await self._usable.wait()
            with contextlib.suppress(WireBroken, TimeoutError):
                async with asyncio.timeout(OPEN_SECONDS):
                    ear = await Wire.open(self._url, self._client_name)
                    self._ear = ear
                    await ear.exchange([("SUBSCRIBE", channel) for channel in self.heard])
                self._tell(self.heard, None)
                await self._hear(ear)
            self._ear = None
            await asyncio.sleep(PAUSE_SECONDS)

    async def _hear(self, ear: Wire) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:  # a connection that died without a word is found by asking
                ping = loop.call_later(BEAT_SECONDS, ear.say, "PING")
                silent = Limit(2 * BEAT_SECONDS, ear.close)
                try:
                    said = await ear.listen()
                finally:
                    ping.cancel()
                    silent.cancel()
                if isinstance(said, list) and len(said) == 3 and said[0] == b"message":
                    self._tell([said[1]], said[2])
        finally:
            ear.close()

    def _tell(self, channels: Iterable[bytes], message: bytes | None) -> None:
        for channel in channels:
            for heard in self.heard.get(channel, ()):
                heard(message)

    @property
    def _client_name(self) -> str:
        return f"{self._name}/{self.instance}"

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _fail(calls: Iterable[Call], reason: str) -> None:
    for _, future in calls:
        if not future.done():
            future.set_exception(SharedUnavailable(reason))
