"""Events on their way to all instances: delivered here at once, and told to the others through the shared Redis.

JSON, and nothing else, is ever read from there. Without Redis the local delivery goes on, and what the others said meanwhile is
lost to this instance, as what it said is to them. Nobody keeps it: each says that there is a gap as soon as it can, and their
clients ask the API, which knows.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from gateway_runtime.shared.client import Shared, SharedUnavailable

EVENT_BYTES = 65536
"""The longest event between instances."""
GAP = "gap"
"""An event of no tenant: whoever hears it may have missed some of the instance that says it."""
Deliver = Callable[[str, str, str, Any], None]


class News:
    """`deliver` is called with tenant, room, event and data for everything published, here or elsewhere; `gap` when something
    published elsewhere may have been missed."""

    def __init__(self, shared: Shared, deliver: Deliver, gap: Callable[[], None]) -> None:
        self._shared = shared
        self._deliver = deliver
        self._gap = gap
        self._untold = False
        """Whether the others have not been told something."""
        self._channel = shared.prefix + b"stream:news"
        self._tasks: set[asyncio.Task[None]] = set()
        shared.subscribe(self._channel, self._heard)
        shared.on_return(self._back)

    def publish(self, tenant: str, room: str, event: str, data: Any) -> None:
        """Delivers and tells. Never waits."""
        self._deliver(tenant, room, event, data)
        self._say(tenant, room, event, data)

    def _say(self, *parts: Any) -> None:
        if self._shared.mode != "ok":
            self._untold = True
            return
        message = json.dumps([self._shared.instance, *parts], separators=(",", ":")).encode()
        if len(message) <= EVENT_BYTES:
            task = asyncio.ensure_future(self._tell(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _tell(self, message: bytes) -> None:
        try:
            await self._shared.publish(self._channel, message)
        except SharedUnavailable:
            self._untold = True

    def _back(self) -> None:
        """Redis can be told again. Who does not hear it, because it does not listen yet, finds a gap of its own."""
        if self._untold:
            self._untold = False
            self._say("", "", GAP, None)

    def _heard(self, message: bytes | None) -> None:
        if message is None:  # listening began, or began again
            self._gap()
            return
        if len(message) > EVENT_BYTES:
            return
        try:
            found = json.loads(message)
        except (ValueError, RecursionError):
            return
        if not isinstance(found, list) or len(found) != 5 or not all(isinstance(part, str) for part in found[:4]):
            return
        if found[0] == self._shared.instance:
            return
        if found[1:4] == ["", "", GAP]:
            self._gap()
        else:
            self._deliver(found[1], found[2], found[3], found[4])
