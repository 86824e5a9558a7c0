"""One gRPC server with every API of the embedded cloud.

    server = await serve_apis(state=State(home / "cloud.sqlite"), instances=…, front_door=…, logs=…, metrics=…)
    await restore(server)
    await deploy_baseline(server, home=home)        # xgw.local.baseline
    …
    await server.stop()

`stop` leaves operations in progress unfinished, as a crash does; the next `restore` takes them up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from xgw.local.cloud_run import LINGER_S, CloudRun
from xgw.local.instances import FrontDoor, Instances
from xgw.local.logging_api import logging_handlers
from xgw.local.models import State
from xgw.local.monitoring_api import monitoring_handlers
from xgw.local.operations_api import operations_handlers
from xgw.local.run_api import run_handlers
from xgw.local.stores import LogStore, MetricStore

GRACE_S = 1.0


class _Counting(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc carries no types
    """Counts every RPC by its full method name, unknown ones too."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        self._counts[details.method.lstrip("/")] += 1
        return await continuation(details)


class ApiServer:
    """A running server. `rpc_counts` maps "google.cloud.run.v2.Services/UpdateService" and the like to how many came
    in; `cloud` is what the daemon may ask for services and revisions without a wire."""

    def __init__(self, server: Any, port: int, counts: Counter[str], cloud: CloudRun) -> None:
        self._server = server
        self.port = port
        self.rpc_counts: dict[str, int] = counts
        self.cloud = cloud

    async def stop(self) -> None:
        """Stop listening and let go of the state; instances keep running, and are the supervisor's to stop."""
        await self._server.stop(GRACE_S)
        await self.cloud.reconciler.close()


async def serve_apis(
    *,
    state: State,
    instances: Instances,
    front_door: FrontDoor,
    logs: LogStore,
    metrics: MetricStore,
    host: str = "127.0.0.1",
    port: int = 0,
    linger_s: float = LINGER_S,
) -> ApiServer:
    """Serve the APIs on `host`:`port` (0: any free port). Raises OSError when the port is taken."""
    counts: Counter[str] = Counter()
    cloud = CloudRun(state, instances, front_door, linger_s=linger_s)
    server = grpc.aio.server(interceptors=[_Counting(counts)], options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(
        [
            *run_handlers(cloud),
            *operations_handlers(cloud),
            *logging_handlers(logs, state.home),
            *monitoring_handlers(metrics, state.home),
        ]
    )
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise OSError(f"cannot listen on {host}:{port}: {error}") from error
    await server.start()
    return ApiServer(server, bound, counts, cloud)


async def restore(server: ApiServer) -> None:
    """After a restart: start every revision with traffic or a tag, set the front door's routes, take up unfinished
    operations. Returns when the routes are set. On an empty state it does nothing."""
    await server.cloud.reconciler.restore()
