"""Runs the application under uvicorn, which keeps the life cycle, the signals and the listening."""

from __future__ import annotations

import importlib.util
import logging
import sys

from gateway_runtime.app import build
from gateway_runtime.logs import Log
from gateway_runtime.settings import Settings


def run(settings: Settings, *, drain: int, keep_alive: int) -> int:
    """Serves until SIGTERM or SIGINT; 0 when it stopped as asked, 1 when it could not start."""
    _skip_uvicorns_command_line()
    from uvicorn.config import Config
    from uvicorn.server import Server

    sys.modules["uvicorn"].Config = Config  # type: ignore[attr-defined]  # uvicorn.lifespan.on asks for it here
    common = {"service": settings.k_service or settings.role, "revision": settings.k_revision}
    log = Log(settings.log_level, settings.log_format, common=common, project=settings.google_cloud_project)
    logging.basicConfig(handlers=[Bridge(log)], level=logging.WARNING)
    config = Config(
        build(settings, log),
        host="0.0.0.0",  # noqa: S104  the platform's contract
        port=settings.port,
        loop="asyncio",
        http="httptools",
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=keep_alive,
        timeout_graceful_shutdown=drain,
    )
    server = Server(config)
    try:
        server.run()
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code:
            return 1
    finally:
        log.close()
    return 0


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

    _CLOSED_BY_US = "ASGI callable returned without completing response."
    """uvicorn's way to close a connection after headers went out; the cause has been logged by then."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == self._CLOSED_BY_US:
            return
        level = "error" if record.levelno >= logging.ERROR else "warning"
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + logging.Formatter().formatException(record.exc_info)
        self._log.write(level, message, logger=record.name)
