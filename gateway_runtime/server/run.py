"""Runs the application under uvicorn, which keeps the life cycle, the signals and the listening."""

from __future__ import annotations

import importlib.util
import logging
import resource
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from gateway_runtime.app import build
from gateway_runtime.errors import Problem
from gateway_runtime.logs import Log
from gateway_runtime.metrics import Metrics
from gateway_runtime.server.front import Front
from gateway_runtime.server.limits import Limits
from gateway_runtime.settings import Settings
from gateway_runtime.stream.path import PATHS

ACCEPTS = 32
"""Connections accepted in one turn of the loop: few enough that the count of open ones is known before the next."""
BACKLOG = 1024
"""Connections the kernel holds for us."""


def run(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT; 0 when it stopped as asked, 1 when it could not start."""
    log = Log(
        settings.log_level,
        settings.log_format,
        common={"service": settings.k_service or settings.role, "revision": settings.k_revision},
        project=settings.google_cloud_project,
    )
    logging.basicConfig(handlers=[Bridge(log)], level=logging.WARNING)
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.listen_address, settings.port))
        metrics = Metrics()
        app = build(settings, log, metrics)
        serve(
            app,
            front(settings, log, metrics),
            listening,
            drain=settings.server_drain_timeout,
            first=app.drain,
            message=settings.ws_message_bytes,
        )
    except OSError as fault:
        log.write("error", f"cannot listen on port {settings.port}: {(fault.strerror or str(fault)).lower()}")
        return 1
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code:
            return 1
    finally:
        listening.close()
        log.close()
    return 0


def front(settings: Settings, log: Log, metrics: Metrics | None = None) -> Front:
    """The server edge of these settings; it logs what it refuses, and counts it in `metrics`."""
    count = (metrics or Metrics()).counter(
        "gateway_refused_total", "Refused at the edge, before there was a request.", "code"
    )

    def refused(problem: Problem, request_id: str, client: str) -> None:
        count.add(problem.code)
        log.write(
            "warning",
            f"{problem.code}: {problem}",
            requestId=request_id,
            httpRequest={"status": problem.status, "remoteIp": client},
            details=problem.details,
        )

    limits = Limits.of(settings)
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if descriptors != resource.RLIM_INFINITY:  # the rest is for upstreams, files, and clients being turned away
        limits = replace(limits, connections=min(limits.connections, descriptors * 3 // 4))
    sockets = PATHS if settings.role == "gateway" and settings.ws == "on" else ()
    return Front(limits, settings.server_allowed_hosts, refused, frozenset(path.encode() for path in sockets))


async def _nothing() -> None:
    return None


def serve(
    app: Any,
    edge: Front,
    listening: socket.socket,
    *,
    drain: float,
    ws: str = "none",
    first: Callable[[], Awaitable[None]] = _nothing,
    message: int = 1_000_000,
) -> None:
    """Serves an ASGI application on a bound socket until SIGTERM or SIGINT; SystemExit when it cannot start.

    `first` is what happens first when it is told to stop, while it still serves; `message` the longest of a WebSocket.
    """
    _skip_uvicorns_command_line()
    from uvicorn.config import Config
    from uvicorn.server import Server

    class Serving(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                listening.listen(BACKLOG)  # asyncio takes one figure for both; this one is the kernel's alone

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await first()
            await super().shutdown(sockets)

    sys.modules["uvicorn"].Config = Config  # type: ignore[attr-defined]  # uvicorn.lifespan.on asks for it here
    config = Config(
        app,
        loop="asyncio",
        http=edge,  # type: ignore[arg-type]  # called like the class it asks for
        ws=ws,
        ws_max_size=message,
        ws_per_message_deflate=False,
        ws_ping_interval=None,  # Engine.IO has its own heartbeat
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=ACCEPTS,
        timeout_graceful_shutdown=drain,  # type: ignore[arg-type]  # only ever given to asyncio.wait_for
    )
    Serving(config).run(sockets=[listening])


def _skip_uvicorns_command_line() -> None:
    """Lets `uvicorn.config` be imported without `uvicorn/__init__.py`.

    That file imports uvicorn's own command line: click, the reloaders, multiprocessing; a fifth of a cold start, and none
    of it is used here.
    """
    spec = importlib.util.find_spec("uvicorn")
    if "uvicorn" not in sys.modules and spec is not None:
        sys.modules["uvicorn"] = importlib.util.module_from_spec(spec)


class Bridge(logging.Handler):
    """Puts what libraries log into our one log, in its form."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + logging.Formatter().formatException(record.exc_info)
        self._log.write(level, message, logger=record.name)
