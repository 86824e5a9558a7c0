"""The local target's one process: everything is put together here, served, and stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import time
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from xgw.errors import XgwError
from xgw.local import files, leftovers
from xgw.local.baseline import deploy_baseline
from xgw.local.control import Control
from xgw.local.front_door import FrontDoor
from xgw.local.in_flight import InFlight
from xgw.local.log_store import FileLogStore
from xgw.local.metric_store import FileMetricStore
from xgw.local.models import State
from xgw.local.network import with_redis
from xgw.local.server import ApiServer, restore, serve_apis
from xgw.local.slot import Timing, timing_from_environment
from xgw.local.supervisor import Supervisor
from xgw.local.valkey import Valkey

log = logging.getLogger("xgw.local")
GRACE_S = 9.0
"""What instances get at a shutdown, so that the whole of it stays within the 10 s that Cloud Run gives."""
DESCRIPTORS = 65536
LOCK_S = 0.5


def run(home: Path) -> int:
    """Serve until SIGTERM or SIGINT; the exit status. A start that fails leaves word in failure.json."""
    root = files.root(home)
    root.mkdir(parents=True, exist_ok=True)
    held = _only_daemon(home)
    if held is None:
        log.error("another local target runs in %s", root)
        return 1
    created = leftovers.stamp(os.getpid())
    files.write_owner(held, os.getpid(), created)
    _raise_descriptors()
    try:
        asyncio.run(_serve(home, created))
    except XgwError as fault:
        log.exception("could not start")
        files.write_failure(home, files.Failure(fault.message, fault.cause, fault.fix))
        return 1
    finally:
        files.drop_endpoint(home)
    return 0


def _only_daemon(home: Path) -> int | None:
    """Take the daemon's lock; None when another daemon has it. Commands that look at it hold it for a moment."""
    deadline = time.monotonic() + LOCK_S
    while (held := files.try_lock(files.daemon_lock(home))) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return held


async def _serve(home: Path, created: float) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stop.set)
    async with AsyncExitStack() as stack:
        starting = asyncio.create_task(_start(home, created, stack))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait([starting])
            return
        files.write_endpoint(home, starting.result())
        log.info("ready")
        await stopping
        log.info("stopping")
        files.drop_endpoint(home)


async def _start(home: Path, created: float, stack: AsyncExitStack) -> files.LocalEndpoint:
    """Bring everything up, each thing registered to be closed; where it answers."""
    root = files.root(home)
    swept = leftovers.sweep(files.instances(home))
    if swept:
        log.warning("ended %d processes that an earlier local target left behind", swept)
    state = State(root / "cloud.sqlite")
    stack.callback(state.close)
    logs = FileLogStore(root / "logs")
    stack.callback(logs.close)
    metrics = FileMetricStore(root / "metrics")
    stack.callback(metrics.close)
    in_flight = InFlight()
    timing = timing_from_environment()
    valkey = Valkey(root / "valkey", files.instances(home))
    stack.push_async_callback(valkey.stop)
    await valkey.start()
    supervisor = Supervisor(
        files.instances(home),
        logs,
        metrics,
        in_flight,
        timing=Timing(timing.startup, min(timing.grace, GRACE_S)),
        network=with_redis(valkey.address),
    )
    stack.push_async_callback(supervisor.close)
    door = FrontDoor(root / "ports.json", supervisor.place, in_flight, metrics)
    stack.push_async_callback(door.close)
    door.claim()
    server = await serve_apis(state=state, instances=supervisor, front_door=door, logs=logs, metrics=metrics)
    stack.push_async_callback(server.stop)
    await restore(server)
    data = files.data(home)
    data.mkdir(exist_ok=True)
    await deploy_baseline(server, home=data)
    endpoint = _endpoint(state, server, created, valkey.address)
    control = Control(lambda: _told(endpoint, server, supervisor, door))
    await control.serve()
    stack.push_async_callback(control.close)
    return files.LocalEndpoint(**{**vars(endpoint), "control": control.url})


def _endpoint(state: State, server: ApiServer, created: float, redis: str) -> files.LocalEndpoint:
    return files.LocalEndpoint(
        grpc=f"127.0.0.1:{server.port}",
        control="",
        project=state.home.project,
        region=state.home.region,
        pid=os.getpid(),
        created=created,
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        redis=redis,
    )


def _told(endpoint: files.LocalEndpoint, server: ApiServer, supervisor: Supervisor, door: FrontDoor) -> dict[str, Any]:
    """What GET /status says."""
    running = supervisor.running()
    services = []
    for service, routes in sorted(door.routes().items()):
        revisions = []
        for route in routes:
            found = running.get(route.revision)
            revisions.append(
                {
                    "name": route.revision,
                    "percent": route.percent,
                    "tag": route.tag,
                    "url": door.tag_url(service, route.tag) if route.tag else "",
                    "pid": found.pid if found else 0,
                    "memory_bytes": found.memory_bytes if found else 0,
                    "state": str(found.state) if found else "stopped",
                }
            )
        services.append({"name": service, "url": door.service_url(service), "revisions": revisions})
    return {
        "pid": endpoint.pid,
        "since": endpoint.since,
        "grpc": endpoint.grpc,
        "project": endpoint.project,
        "region": endpoint.region,
        "rpc_counts": dict(server.rpc_counts),
        "services": services,
    }


def _raise_descriptors() -> None:
    """A WebSocket through the front door takes two descriptors; the usual soft limit of 1024 is soon reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
