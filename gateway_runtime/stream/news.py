"""Events on their way to all instances: delivered here at once, and told to the others through the shared Redis.

JSON, and nothing else, is ever read from there. Without Redis the local delivery goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

from gateway_runtime.shared.client import Shared, SharedUnavailable

EVENT_BYTES = 65536
"""The longest event between instances."""
Deliver = Callable[[str, str, str, Any], None]


class News:
    """`deliver` is called with tenant, room, event and data for everything published, here or elsewhere."""

    def __init__(self, shared: Shared, deliver: Deliver) -> None:
        self._shared = shared
        self._deliver = deliver
        self._channel = shared.prefix + b"stream:news"
        self._tasks: set[asyncio.Task[None]] = set()
        shared.subscribe(self._channel, self._heard)

    def publish(self, tenant: str, room: str, event: str, data: Any) -> None:
        """Delivers and tells. Never waits."""
        self._deliver(tenant, room, event, data)
        if self._shared.mode != "ok":
            return
        message = json.dumps([self._shared.instance, tenant, room, event, data], separators=(",", ":")).encode()
        if len(message) <= EVENT_BYTES:
            task = asyncio.ensure_future(self._tell(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _tell(self, message: bytes) -> None:
        with contextlib.suppress(SharedUnavailable):
            await self._shared.publish(self._channel, message)

    def _heard(self, message: bytes | None) -> None:
        if message is None or len(message) > EVENT_BYTES:
            return
        try:
            found = json.loads(message)
        except (ValueError, RecursionError):
            return
        if not isinstance(found, list) or len(found) != 5 or not all(isinstance(part, str) for part in found[:4]):
            return
        if found[0] != self._shared.instance:
            self._deliver(found[1], found[2], found[3], found[4])
