"""Which revisions have an instance: started before they are needed, stopped a while after they no longer are."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from xgw.local.instances import Instances, RevisionSpec, StartResult
from xgw.local.messages import Message
from xgw.local.naming import short
from xgw.local.quantities import memory_bytes


def spec_of(revision: Message) -> RevisionSpec:
    """What a process has to know, from a stored revision."""
    container = revision.containers[0]
    return RevisionSpec(
        name=short(revision.name),
        service=revision.service,
        image=container.image,
        env={variable.name: variable.value for variable in container.env},
        memory_bytes=memory_bytes(container.resources.limits["memory"]),
        timeout_s=revision.timeout.seconds + revision.timeout.nanos / 1e9,
        concurrency=revision.max_instance_request_concurrency,
        port=container.ports[0].container_port,
        private=bool(revision.vpc_access.connector or revision.vpc_access.network_interfaces),
    )


class Residents:
    """Starts and stops of one revision never overlap. `linger_s` is how long a revision that lost its last route keeps
    its instance: requests in flight finish, and a rollback right after finds it warm."""

    def __init__(self, instances: Instances, linger_s: float) -> None:
        self._instances = instances
        self._linger_s = linger_s
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def start(self, revision: Message) -> StartResult:
        """Make sure there is an instance, and call off a stop that was about to happen."""
        spec = spec_of(revision)
        leaving = self._leaving.pop(spec.name, None)
        if leaving:
            leaving.cancel()
        async with self._turns[spec.name]:
            return await self._instances.start(spec)

    def retire(self, names: Iterable[str]) -> None:
        """Stop those of these revisions that have an instance, later."""
        running = self._instances.running()
        for name in names:
            if name in running and name not in self._leaving:
                self._leaving[name] = asyncio.create_task(self._leave(name))

    async def stop(self, names: Iterable[str]) -> None:
        """Stop these now."""
        await asyncio.gather(*(self._stop(name) for name in names))

    async def close(self) -> None:
        """Forget the stops that are still to come. Instances are left as they are."""
        tasks = list(self._leaving.values())
        self._leaving.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _leave(self, name: str) -> None:
        await asyncio.sleep(self._linger_s)
        async with self._turns[name]:
            # From here on the stop cannot be called off: a start waits for it to end.
            self._leaving.pop(name, None)
            await self._instances.stop(name)

    async def _stop(self, name: str) -> None:
        async with self._turns[name]:
            await self._instances.stop(name)
