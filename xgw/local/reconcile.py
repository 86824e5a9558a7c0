"""Carrying out accepted operations: start what must run, move traffic, then say so.

One service's operations are carried out one after another, in the order they were accepted; different services do not
wait for each other. Every step may be repeated: after a crash the same operation is carried out again from its start.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable

from google.longrunning import operations_pb2

from xgw.local import conditions, traffic
from xgw.local.conditions import Fault
from xgw.local.instances import FrontDoor, Route
from xgw.local.messages import Message, Revision, Service, clone, now
from xgw.local.models import State, StoredOperation
from xgw.local.naming import short
from xgw.local.residents import Residents

log = logging.getLogger(__name__)


def operation_message(operation: StoredOperation, state: State) -> Message:
    """The operation as it stands: its result, or the progress told by the service as it is now."""
    if operation.result is not None:
        return operation.result
    message = operations_pb2.Operation(name=operation.name)
    told = None if operation.kind == "delete-revision" else state.service(operation.service)
    message.metadata.Pack(operation.wanted if told is None else told)
    return message


class Reconciler:
    """Call `submit` for every operation in the order of acceptance, and `restore` once after a restart."""

    def __init__(self, state: State, residents: Residents, front_door: FrontDoor) -> None:
        self._state = state
        self._residents = residents
        self._front_door = front_door
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._jobs: dict[str, asyncio.Task[None]] = {}

    def submit(self, operation: StoredOperation) -> None:
        """Carry it out when the operations of the same service before it are done."""
        task = asyncio.create_task(self._carry_out(operation))
        self._jobs[operation.name] = task
        task.add_done_callback(lambda _: self._jobs.pop(operation.name, None))

    async def wait(self, name: str, timeout_s: float | None = None) -> None:
        """Return when the named operation is done, or the time is up."""
        task = self._jobs.get(name)
        if task:
            await asyncio.wait({task}, timeout=timeout_s)

    async def restore(self) -> None:
        """Start what the stored traffic needs, set all routes, and take up the operations a crash interrupted. Returns
        when the routes are set; the operations go on."""
        restored = [
            asyncio.create_task(self._restore_service(service))
            for _, service in self._state.services(self._state.home.parent)
        ]
        await asyncio.sleep(0)  # Each of these has taken its service's turn before an operation asks for it.
        for operation in self._state.unfinished():
            if operation.name not in self._jobs:
                self.submit(operation)
        await asyncio.gather(*restored)

    async def close(self) -> None:
        """Let go. Operations in progress stay unfinished in the state, as after a crash."""
        tasks = list(self._jobs.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._residents.close()

    # --- one operation

    async def _carry_out(self, operation: StoredOperation) -> None:
        async with self._turns[operation.service]:
            try:
                if operation.kind == "delete":
                    await self._delete_service(operation)
                elif operation.kind == "delete-revision":
                    await self._residents.stop([operation.revision])
                    self._finish(operation, operation.wanted)
                else:
                    await self._bring_about(operation)
            except Exception as error:  # Whatever it is, the client must not poll for ever.
                log.exception("operation %s", operation.name)
                self._record(operation, configuration=conditions.internal_fault(error), routes=None)

    async def _bring_about(self, operation: StoredOperation) -> None:
        wanted = operation.wanted
        fault = await self._prove(operation.revision) if operation.revision else None
        if fault:
            self._record(operation, configuration=fault, routes=None)
            return
        ready = self._latest_ready(wanted)
        routes = traffic.resolve(self._servable(wanted), ready)
        fault = await self._open(short(wanted.name), routes)
        self._record(operation, configuration=self._standing_fault(wanted), routes=fault, latest_ready=ready)
        self._retire_unrouted(operation.service)

    async def _delete_service(self, operation: StoredOperation) -> None:
        await self._front_door.remove(short(operation.service))
        await self._residents.stop(operation.revision.split())
        self._finish(operation, operation.wanted)

    # --- its steps

    async def _prove(self, name: str) -> Fault | None:
        """Start a revision that has not proved itself yet, and remember how that went."""
        found = self._state.revision(name)
        if found is None:
            return Fault(f"Revision '{name}' does not exist or is deleted.")
        revision = found.body
        if conditions.readiness(revision) == "failed":
            return conditions.fault_of(revision)
        if conditions.readiness(revision) == "ready":
            return None
        fault = await self._start(revision)
        conditions.set_revision_outcome(revision, fault)
        self._state.update_revision(revision)
        return fault

    async def _start(self, revision: Message) -> Fault | None:
        if any(variable.HasField("value_source") for variable in revision.containers[0].env):
            return conditions.secret_fault(revision)
        if (unreachable := conditions.network_fault(revision)) is not None:
            return unreachable
        result = await self._residents.start(revision)
        return None if result.ready else conditions.start_fault(revision, result)

    async def _open(self, service: str, routes: list[Route]) -> Fault | None:
        """Start every routed revision, then move the traffic. On a fault the traffic stays where it is."""
        faults = await asyncio.gather(*(self._ready_to_serve(name) for name in {route.revision for route in routes}))
        fault = next((fault for fault in faults if fault), None)
        if fault is None:
            await self._front_door.set_routes(service, routes)
        return fault

    async def _ready_to_serve(self, name: str) -> Fault | None:
        return await self._prove(name) or await self._start(self._stored(name))

    def _servable(self, wanted: Message) -> list[Message]:
        """The wished targets but for tags on revisions that never became ready: those answer nowhere, and hold up
        nothing else."""
        return [
            target
            for target in wanted.traffic
            if target.percent or conditions.readiness(self._stored(target.revision)) != "failed"
        ]

    def _stored(self, name: str) -> Message:
        found = self._state.revision(name)
        return found.body if found else Revision(name=name)

    def _latest_ready(self, wanted: Message) -> str:
        """The latest created revision as of this operation if it is ready; else the one that was the latest ready."""
        created = short(wanted.latest_created_revision)
        if conditions.readiness(self._stored(created)) == "ready":
            return created
        current = self._state.service(wanted.name)
        return short(current.latest_ready_revision) if current is not None else ""

    def _standing_fault(self, wanted: Message) -> Fault | None:
        """Why the latest created revision is not ready. It fails the service even when the operation at hand, such as
        moving traffic away from it, is carried out."""
        revision = self._stored(short(wanted.latest_created_revision))
        return conditions.fault_of(revision) if conditions.readiness(revision) == "failed" else None

    def _retire_unrouted(self, service_name: str) -> None:
        service = self._state.service(service_name)
        if service is not None:
            routed = {route.revision for route in routes_in_force(service)}
            names = {short(stored.body.name) for stored in self._state.revisions(service_name)}
            self._residents.retire(names - routed)

    # --- its record

    def _record(
        self, operation: StoredOperation, *, configuration: Fault | None, routes: Fault | None, latest_ready: str = ""
    ) -> None:
        """Store what became of an operation and of its service, together. The operation fails when its own revision or
        its own traffic did; then the service keeps telling what served before."""
        service = self._state.service(operation.service)
        fault = routes or (None if latest_ready else configuration)
        if service is None or service.uid != operation.wanted.uid:
            self._finish(operation, operation.wanted, fault or Fault("The service was deleted meanwhile."))
            return
        if fault is None:
            self._put_in_force(service, operation.wanted, latest_ready)
        if service.generation == operation.wanted.generation:
            conditions.set_service_outcome(service, configuration, routes)
        with self._state.transaction():
            self._state.put_service(service)
            self._finish(operation, service, fault)

    def _put_in_force(self, service: Message, wanted: Message, latest_ready: str) -> None:
        name = short(wanted.name)
        service.observed_generation = wanted.generation
        if latest_ready:
            service.latest_ready_revision = f"{wanted.name}/revisions/{latest_ready}"
        del service.traffic_statuses[:]
        service.traffic_statuses.extend(
            traffic.statuses(self._servable(wanted), lambda tag: self._front_door.tag_url(name, tag))
        )

    def _finish(self, operation: StoredOperation, outcome: Message, fault: Fault | None = None) -> None:
        result = operations_pb2.Operation(name=operation.name, done=True)
        if operation.kind.startswith("delete"):
            outcome = clone(outcome)
            outcome.delete_time.FromDatetime(now())
        result.metadata.Pack(outcome)
        if fault:
            result.error.code, result.error.message = fault.code, fault.message
        else:
            result.response.Pack(outcome)
        self._state.finish_operation(operation.seq, result)

    # --- after a restart

    async def _restore_service(self, service: Message) -> None:
        async with self._turns[service.name]:
            name, routes = short(service.name), routes_in_force(service)
            faults = await asyncio.gather(*(self._start(self._stored(r)) for r in {route.revision for route in routes}))
            for fault in filter(None, faults):
                log.error("restoring %s: %s", name, fault.message)
            await self._front_door.set_routes(name, routes)
            self._refresh_urls(service.name)

    def _refresh_urls(self, service_name: str) -> None:
        """Tell the URLs the front door has now: a port somebody else took meanwhile is replaced."""
        service: Message = self._state.service(service_name) or Service()
        before, name = clone(service), short(service_name)
        set_urls(service, self._front_door.service_url(name))
        for status in service.traffic_statuses:
            status.uri = self._front_door.tag_url(name, status.tag) if status.tag else ""
        if service.name and service != before:
            self._state.put_service(service)


def routes_in_force(service: Message) -> list[Route]:
    """The routes that the stored traffic_statuses mean."""
    statuses: Iterable[Message] = service.traffic_statuses
    return traffic.resolve(statuses, short(service.latest_ready_revision))


def set_urls(service: Message, url: str) -> None:
    """Where the service answers."""
    service.uri = url
    del service.urls[:]
    service.urls.append(url)
