"""The embedded cloud's real gRPC server on loopback, over instances and a front door that exist in memory only."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc
from google.cloud import run_v2
from google.longrunning import operations_pb2, operations_pb2_grpc

from tests.helpers.waiting import PATIENCE
from xgw.local.instances import CONTAINER_MISSING, HEALTH_CHECK_CONTAINER_ERROR, RevisionSpec, Route, StartResult
from xgw.local.log_store import FileLogStore
from xgw.local.metric_store import FileMetricStore
from xgw.local.models import State
from xgw.local.server import ApiServer, restore, serve_apis

PARENT = "projects/xgw-local/locations/us-central1"
LATEST = run_v2.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST
REVISION = run_v2.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
SUCCEEDED = run_v2.Condition.State.CONDITION_SUCCEEDED
FAILED = run_v2.Condition.State.CONDITION_FAILED
RECONCILING = run_v2.Condition.State.CONDITION_RECONCILING


class InstancesInMemory:
    """Starts at once, unless the image's name says otherwise: crash, missing, broken (raises), gated (waits)."""

    def __init__(self, journal: list[tuple]) -> None:
        self.up: dict[str, RevisionSpec] = {}
        self.journal = journal
        self.gate = asyncio.Event()
        self.refuse: set[str] = set()
        self.fail_all = False

    async def start(self, revision: RevisionSpec) -> StartResult:
        self.journal.append(("start", revision.name))
        if "broken" in revision.image:
            raise RuntimeError("the supervisor itself broke")
        if "gated" in revision.image:
            await self.gate.wait()
        if "missing" in revision.image:
            return StartResult(False, CONTAINER_MISSING)
        if self.fail_all or "crash" in revision.image or revision.name in self.refuse:
            return StartResult(False, HEALTH_CHECK_CONTAINER_ERROR)
        self.up[revision.name] = revision
        return StartResult(True)

    async def stop(self, revision: str) -> None:
        self.journal.append(("stop", revision))
        self.up.pop(revision, None)

    def running(self) -> dict[str, RevisionSpec]:
        return self.up


class FrontDoorInMemory:
    """Remembers routes; its URLs have nothing of the names in them."""

    def __init__(self, journal: list[tuple], first_port: int = 20000) -> None:
        self.routes: dict[str, list[Route]] = {}
        self.journal = journal
        self.ports: dict[tuple[str, str], int] = {}
        self.first_port = first_port

    async def set_routes(self, service: str, routes: Sequence[Route]) -> None:
        self.routes[service] = list(routes)
        self.journal.append(("routes", service, tuple(routes)))

    async def remove(self, service: str) -> None:
        self.routes.pop(service, None)

    def service_url(self, service: str) -> str:
        return self.tag_url(service, "")

    def tag_url(self, service: str, tag: str) -> str:
        return f"http://127.0.0.1:{self.ports.setdefault((service, tag), self.first_port + len(self.ports))}"


class LocalCloud:
    """One server on one state file. `kill` leaves everything as a crash would; a new LocalCloud takes it up."""

    def __init__(
        self, home: Path, *, linger_s: float = 0.0, first_port: int = 20000, refuse: Sequence[str] = ()
    ) -> None:
        self.home, self._linger_s, self._first_port = home, linger_s, first_port
        self._refuse = refuse
        self.journal: list[tuple] = []
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.server: ApiServer = self.run(self._serve())
        self.channel = grpc.insecure_channel(self.target)
        self.services = self.client(run_v2.ServicesClient)
        self.revisions = self.client(run_v2.RevisionsClient)
        self.operations = self.services.transport.operations_client

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    def call(self, function: Callable[[], object]) -> None:
        """Call something on the server's own thread."""

        async def once() -> None:
            function()

        self.run(once())

    def client(self, kind):
        return kind(transport=kind.get_transport_class("grpc")(channel=self.channel))

    async def _serve(self) -> ApiServer:
        self.state = State(self.home / "cloud.sqlite")
        self.instances = InstancesInMemory(self.journal)
        self.instances.refuse.update(self._refuse)
        self.door = FrontDoorInMemory(self.journal, self._first_port)
        self.logs, self.metrics = FileLogStore(self.home / "logs"), FileMetricStore(self.home / "metrics")
        server = await serve_apis(
            state=self.state,
            instances=self.instances,
            front_door=self.door,
            logs=self.logs,
            metrics=self.metrics,
            linger_s=self._linger_s,
        )
        await restore(server)
        return server

    def kill(self) -> None:
        self.channel.close()
        self.run(self.server.stop())
        self.state.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()

    # --- what most tests do

    def create(self, image: str = "app@sha256:1", name: str = "shop", **template) -> run_v2.Service:
        return self.begin_create(image, name, **template).result(timeout=PATIENCE)

    def begin_create(self, image: str = "app@sha256:1", name: str = "shop", **template):
        service = run_v2.Service(
            template=run_v2.RevisionTemplate(containers=[run_v2.Container(image=image)], **template)
        )
        return self.services.create_service(parent=PARENT, service_id=name, service=service)

    def get(self, name: str = "shop") -> run_v2.Service:
        return self.services.get_service(name=f"{PARENT}/services/{name}")

    def update(self, service: run_v2.Service, *paths: str, **request) -> run_v2.Service:
        return self.begin_update(service, *paths, **request).result(timeout=PATIENCE)

    def begin_update(self, service: run_v2.Service, *paths: str, **request):
        mask = {"paths": list(paths)} if paths else None
        return self.services.update_service(
            request=run_v2.UpdateServiceRequest(service=service, update_mask=mask, **request)
        )

    def deploy(self, image: str, name: str = "shop", traffic=None) -> run_v2.Service:
        """Change the image as a careful client does."""
        service = self.get(name)
        service.template.containers[0].image = image
        service.template.revision = ""
        if traffic is not None:
            service.traffic = traffic
        return self.update(service)

    def wait(self, operation: str, **timeout: int) -> operations_pb2.Operation:
        """WaitOperation by its plain stub: run_v2's own `wait_operation` returns undecoded bytes (0.16.2)."""
        request = operations_pb2.WaitOperationRequest(name=operation, timeout=timeout or {"seconds": 30})
        return operations_pb2_grpc.OperationsStub(self.channel).WaitOperation(request, timeout=PATIENCE)

    def revision_names(self, name: str = "shop") -> list[str]:
        """Short names, oldest first."""
        found = self.revisions.list_revisions(parent=f"{PARENT}/services/{name}")
        return [short(revision.name) for revision in found][::-1]

    def revision(self, revision: str, name: str = "shop") -> run_v2.Revision:
        return self.revisions.get_revision(name=f"{PARENT}/services/{name}/revisions/{revision}")

    def shares(self, name: str = "shop") -> list[tuple[str, int, str]]:
        return [(route.revision, route.percent, route.tag) for route in self.door.routes.get(name, [])]


def short(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def to(revision: str, percent: int, tag: str = "") -> run_v2.TrafficTarget:
    return run_v2.TrafficTarget(type_=REVISION, revision=revision, percent=percent, tag=tag)


def latest(percent: int = 100, tag: str = "") -> run_v2.TrafficTarget:
    return run_v2.TrafficTarget(type_=LATEST, percent=percent, tag=tag)


def condition(message, type_: str) -> run_v2.Condition:
    return next(condition for condition in message.conditions if condition.type_ == type_)


def eventually(check: Callable[[], bool]) -> None:
    """Wait until something holds, however busy the machine is."""
    end = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.01)
