"""Revisions as real processes: started, watched, restarted, limited and stopped as Cloud Run does it.

One instance a revision; its states are in xgw.local.slot. Memory is watched by resident size, which needs no root.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from xgw.local import leftovers
from xgw.local.images import Resolve, resolve
from xgw.local.in_flight import InFlight
from xgw.local.instances import CONTAINER_MISSING, HEALTH_CHECK_CONTAINER_ERROR, RevisionSpec, StartResult
from xgw.local.launch import Heard, end_now, launch, no_room, why_not_ready
from xgw.local.log_lines import Line
from xgw.local.network import Network, with_redis
from xgw.local.process import Process, process_groups
from xgw.local.slot import Place, Running, Slot, State, Timing, timing_from_environment
from xgw.local.stores import LogStore, MetricStore

MIB = 1024 * 1024
LOOK_S = 0.05
"""How often memory and exits are looked at: about 30 microseconds an instance (psutil)."""
REGROUP_EVERY = 4
STOP_POLL_S = 0.02
LAST_OUTPUT_S = 0.5

_log = logging.getLogger("xgw.local")


class Supervisor:
    """Implements xgw.local.instances.Instances with processes of this machine. Lives on one event loop."""

    def __init__(
        self,
        directory: Path,
        logs: LogStore,
        metrics: MetricStore,
        in_flight: InFlight,
        *,
        timing: Timing | None = None,
        resolve_image: Resolve = resolve,
        network: Network = with_redis(""),  # noqa: B008  a function, and always the same
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._logs = logs
        self._metrics = metrics
        self._in_flight = in_flight
        self._timing = timing or timing_from_environment()
        self._resolve = resolve_image
        self._network = network
        self._slots: dict[str, Slot] = {}
        self._ports: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None

    async def start(self, revision: RevisionSpec) -> StartResult:
        """See the protocol. One that is draining is kept; one that is already being stopped is stopped, then started."""
        while (slot := self._slots.get(revision.name)) is not None and slot.is_stopping():
            if slot.draining is not None and slot.alive is not None and not slot.alive.done():
                slot.draining.cancel()
                slot.draining = None
                slot.move(State.SERVING)
            else:
                await self._end(slot)
        if slot is None:
            program = self._resolve(revision.image)
            if program is None:
                return StartResult(False, CONTAINER_MISSING, f"Image '{revision.image}' not found.")
            slot = self._slots[revision.name] = Slot(revision, program)
            slot.alive = self._task(self._keep_alive(slot))
            slot.alive.add_done_callback(partial(_answered, slot))
        if self._looking is None:
            self._looking = self._task(self._look())
        return await asyncio.shield(slot.started)

    async def stop(self, revision: str) -> None:
        """See the protocol. No new request is sent to the revision from now on. When it still answers some, this returns
        at once and the instance is stopped when they have ended, or after the revision's request timeout; until then
        `start` keeps it. When it answers none, this returns when the instance is gone."""
        slot = self._slots.get(revision)
        if slot is None or slot.state is State.DRAINING:
            return
        if slot.state is State.SERVING and self._in_flight.count(revision):
            slot.move(State.DRAINING)
            slot.draining = self._task(self._drain(slot))
            return
        await self._end(slot)

    def running(self) -> Mapping[str, Running]:
        """Every revision that has an instance or is about to have one."""
        return {name: slot.shown() for name, slot in self._slots.items()}

    def place(self, revision: str) -> Place | None:
        """Where to send a request for the revision now; None when no instance serves."""
        slot = self._slots.get(revision)
        if slot is None or slot.state is not State.SERVING or slot.process is None:
            return None
        if slot.process.exited() is not None:
            # Noticed here first: a request sooner than the next look.
            slot.ended.set()
            return None
        return Place(slot.process.port, slot.spec.timeout_s)

    async def close(self) -> None:
        """Stop everything in parallel, without waiting for requests: takes the grace and a moment at most."""
        await asyncio.gather(*(self._end(slot) for slot in list(self._slots.values())))
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
            self._looking = None

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- one revision from start to end ---------------------------------------------------------------------------

    async def _keep_alive(self, slot: Slot) -> None:
        row = 0
        while not slot.is_stopping():
            began = time.monotonic()
            problem = await self._launch(slot)
            if problem and slot.state is State.STARTING:
                del self._slots[slot.spec.name]
                slot.started.set_result(StartResult(False, HEALTH_CHECK_CONTAINER_ERROR, problem))
                return
            if not problem and not slot.is_stopping():
                slot.move(State.SERVING)
                if not slot.started.done():
                    slot.started.set_result(StartResult(True))
                await slot.ended.wait()
                await self._buried(slot)
            if slot.is_stopping():
                return
            slot.move(State.RESTARTING)
            row = 0 if time.monotonic() - began >= self._timing.steady else row
            await asyncio.sleep(self._timing.backoff[min(row, len(self._timing.backoff) - 1)])
            row += 1
            slot.restarts += 1

    async def _launch(self, slot: Slot) -> str:
        """Start a process for the slot; "" when it listens, else why not, with nothing left running."""
        try:
            env = self._network(slot.spec)
            heard = await launch(slot, env, self._directory, self._ports, self._timing.startup, self._storing(slot))
        except OSError as error:
            return no_room(slot.spec, error)
        assert slot.process is not None
        if heard is Heard.LISTENS:
            return ""
        await end_now(slot.process)
        return why_not_ready(slot.spec, heard, await self._buried(slot))

    async def _buried(self, slot: Slot) -> str:
        """Take leave of a process that has ended: its last output, its note, its last words (also logged)."""
        process = slot.process
        if process is None:
            return ""
        await process.output_read(LAST_OUTPUT_S)
        slot.process = None
        leftovers.forget(self._directory, slot.spec.name)
        status = process.exited() or 0
        if process.over_limit:
            return process.over_limit
        words = f"Container called exit({status})." if status >= 0 else f"Uncaught signal: {-status}, pid={process.pid}"
        if not slot.is_stopping():
            self._say(slot, "WARNING" if status >= 0 else "ERROR", words)
        return words

    async def _drain(self, slot: Slot) -> None:
        await self._in_flight.drained(slot.spec.name, slot.spec.timeout_s)
        slot.draining = None
        await self._end(slot)

    async def _end(self, slot: Slot) -> None:
        """Stop the slot's instance and forget the slot; returns when that is done, whoever asked first."""
        if slot.stopped is None:
            slot.stopped = asyncio.get_running_loop().create_future()
            slot.move(State.STOPPING)
            if slot.draining is not None:
                slot.draining.cancel()
            self._task(self._bring_to_end(slot))
        await asyncio.shield(slot.stopped)

    async def _bring_to_end(self, slot: Slot) -> None:
        name = slot.spec.name
        if slot.alive is not None:
            slot.alive.cancel()
            await asyncio.wait([slot.alive])
        if slot.process is not None:
            await self._terminate(slot.process)
            await self._buried(slot)
        del self._slots[name]
        if not slot.started.done():
            slot.started.set_result(StartResult(False, HEALTH_CHECK_CONTAINER_ERROR, f"Revision '{name}' was stopped."))
        assert slot.stopped is not None
        slot.stopped.set_result(None)

    async def _terminate(self, process: Process) -> None:
        process.terminate()
        deadline = time.monotonic() + self._timing.grace
        while process.exited() is None:
            if time.monotonic() >= deadline:
                process.kill()
            await asyncio.sleep(STOP_POLL_S)

    # -- looking after all of them --------------------------------------------------------------------------------

    async def _look(self) -> None:
        looks = 0
        while True:
            await asyncio.sleep(LOOK_S)
            groups = process_groups() if looks % REGROUP_EVERY == 0 else {}
            looks += 1
            for slot in list(self._slots.values()):
                try:
                    self._look_at(slot, groups)
                except Exception:  # noqa: BLE001
                    # One look that fails must not end all looking.
                    _log.exception("could not look after %s", slot.spec.name)

    def _look_at(self, slot: Slot, groups: Mapping[int, list[int]]) -> None:
        process, spec = slot.process, slot.spec
        if process is None:
            return
        if process.exited() is not None:
            slot.ended.set()
            return
        process.regroup(groups)
        used = process.resident()
        if not used:
            return
        self._metrics.add_memory_sample(spec.service, spec.name, used / spec.memory_bytes)
        if used > spec.memory_bytes and not process.over_limit:
            process.over_limit = (
                f"Memory limit of {spec.memory_bytes // MIB} MiB exceeded with {used // MIB} MiB used. Consider "
                "increasing the memory limit, see https://cloud.google.com/run/docs/configuring/memory-limits"
            )
            process.kill()
            self._say(slot, "ERROR", process.over_limit)

    def _say(self, slot: Slot, severity: str, text: str) -> None:
        self._logs.append(slot.spec.service, slot.spec.name, severity, text, datetime.now(UTC))

    def _storing(self, slot: Slot) -> Callable[[Line], None]:
        service, name = slot.spec.service, slot.spec.name
        return lambda line: self._logs.append(service, name, line.severity, line.payload, line.at)


def _answered(slot: Slot, task: asyncio.Task[None]) -> None:
    """Whoever waits for a start gets an answer, even when this file has a mistake in it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("looking after %s failed", slot.spec.name, exc_info=error)
        if not slot.started.done():
            slot.started.set_result(StartResult(False, HEALTH_CHECK_CONTAINER_ERROR, f"xgw.local failed: {error!r}"))
