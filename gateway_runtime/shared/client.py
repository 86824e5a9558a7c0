"""The one Redis client of the process: cache, limiter and leases share it (plan 1.3).

What holds for every call:
- It waits `wait` seconds at most (50 ms). The first one that waited in vain opens a breaker, and from then on every call
  is answered at once with SharedUnavailable, until a ping in the background was answered in time again. No other
  exception leaves a call.
- Commands issued in the same turn of the event loop go out as one write, on a connection nobody else reads from
  meanwhile. A caller that is cancelled leaves its answer to nobody: the exchange goes on to its end without it.
- Redis is optional at run time: nothing here fails a request, and losing Redis is a state (`mode`), not an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gateway_runtime.shared.lines import Lines, Mode, SharedUnavailable
from gateway_runtime.shared.script import ADD, Script

__all__ = ["VALUE_LIMIT", "Mode", "Script", "Shared", "SharedUnavailable"]

VALUE_LIMIT = 4 * 1024 * 1024
"""Bytes of a value that `get` brings back; a larger one is a miss."""


class Shared:
    """One per process. Without a URL its mode is "off" and every call raises SharedUnavailable."""

    def __init__(
        self,
        url: str,
        *,
        pool: int = 8,
        wait: float = 0.05,
        service: str = "",
        name: str = "gateway",
        instance: str = "",
        changed: Callable[[Mode, str], None] | None = None,
    ) -> None:
        self._lines = Lines(url, pool=pool, wait=wait, service=service, name=name, instance=instance, changed=changed)
        self._known: set[str] = set()
        self.prefix = self._lines.prefix
        """What the keys of this service start with, as bytes."""

    # -- state --------------------------------------------------------------------------------------------------------
    @property
    def mode(self) -> Mode:
        """ "off" (no REDIS_URL), "ok", or "degraded" (calls are refused at once)."""
        return self._lines.mode

    @property
    def reason(self) -> str:
        """Why it is degraded, in one word; names no address."""
        return self._lines.reason

    @property
    def changed_at(self) -> float:
        """When `mode` last changed (time.monotonic)."""
        return self._lines.changed_at

    @property
    def lost_at(self) -> float | None:
        """When Redis was last lost after it had been there (time.monotonic); None: never."""
        return self._lines.lost_at

    @property
    def instance(self) -> str:
        """This process among all that use the same Redis."""
        return self._lines.instance

    @property
    def instances(self) -> int:
        """Live instances of this service as last known, this one included; 0 before Redis has told."""
        return self._lines.instances

    @property
    def counts(self) -> dict[str, int]:
        """Totals for metrics: calls, unavailable, lost, opened."""
        return self._lines.counts

    def on_return(self, then: Callable[[], None]) -> None:
        """Calls `then` each time Redis is usable (again): what was heard from it before may be out of date."""
        self._lines.returned.append(then)

    # -- life ---------------------------------------------------------------------------------------------------------
    async def start(self) -> None:
        """Begins connecting, in the background: a start never waits for Redis."""
        await self._lines.start()

    async def close(self) -> None:
        """Says good-bye and drops every connection. Bounded by `wait`."""
        await self._lines.close()

    # -- calls --------------------------------------------------------------------------------------------------------
    async def get(self, key: bytes) -> bytes | None:
        """The value, or None: absent, empty, of another type, or larger than VALUE_LIMIT."""
        # GETRANGE, so that a huge value is cut there and not here.
        found = await self._lines.call(("GETRANGE", key, 0, VALUE_LIMIT), otherwise={"WRONGTYPE": b""})
        return found if isinstance(found, bytes) and 0 < len(found) <= VALUE_LIMIT else None

    async def set(self, key: bytes, value: bytes, *, ttl_ms: int, only_if_absent: bool = False) -> bool:
        """Stores a value for `ttl_ms`; whether it was stored. There is no way to store one for ever."""
        extra = ("NX",) if only_if_absent else ()
        return await self._lines.call(("SET", key, value, "PX", max(1, ttl_ms), *extra)) is not None

    async def delete(self, *keys: bytes) -> None:
        """Forgets the keys."""
        if keys:
            await self._lines.call(("UNLINK", *keys))

    async def incr(self, key: bytes, amount: int = 1, *, ttl_ms: int) -> int:
        """Adds to a counter that lives `ttl_ms` from its first addition; the sum. Anything else in its place is 0."""
        return int(await self.run(ADD, [key], [amount, max(1, ttl_ms)]))

    async def run(self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | str | int] = ()) -> Any:
        """What a script returns. It is sent by its name once Redis has shown that it knows it."""
        tail = (len(keys), *keys, *args)
        if script.sha in self._known:
            answer = await self._lines.call(("EVALSHA", script.sha, *tail), otherwise={"NOSCRIPT": NotImplemented})
            if answer is not NotImplemented:
                return answer
        answer = await self._lines.call(("EVAL", script.source, *tail))
        self._known.add(script.sha)
        return answer

    async def publish(self, channel: bytes, message: bytes) -> None:
        """Tells every process that listens, this one included. Nobody is asked whether they heard."""
        await self._lines.call(("PUBLISH", channel, message))

    def subscribe(self, channel: bytes, heard: Callable[[bytes | None], None]) -> None:
        """Calls `heard` with every message; with None each time listening (re)starts, as some may have been missed.

        Listens on one connection for all channels, from `start` on. Subscribe before `start`.
        """
        self._lines.heard.setdefault(channel, []).append(heard)
