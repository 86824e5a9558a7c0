"""Start, find, stop and forget the local target. Blocking; what the commands call. Loads no grpc, httpx or google.

A daemon lives exactly while its lock is held (xgw.local.files): a ready file alone is never believed.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xgw.errors import Unreachable, XgwError
from xgw.local import files
from xgw.local.files import LocalEndpoint, log_path

__all__ = ["LocalEndpoint", "LocalStatus", "down", "ensure_up", "log_path", "reset", "status"]

POLL_S = 0.02
STOP_S = 20.0
"""Longer than the daemon takes to stop its instances (10 s) and itself."""
LOG_BYTES = 4 * 1024 * 1024
LAST_LINES = 8


@dataclass(frozen=True)
class LocalStatus:
    """What the control endpoint tells."""

    pid: int
    since: str
    grpc: str
    project: str
    region: str
    rpc_counts: Mapping[str, int]
    services: Sequence[Mapping[str, Any]]


def ensure_up(home: Path, *, timeout: float = 30) -> LocalEndpoint:
    """Where the local target answers, started if need be, with the baseline deployed. Idempotent; callers may race.

    Raises Unreachable when it is not ready within `timeout` seconds, and XgwError when it cannot be started.
    """
    found = _serving(home)
    if found is not None:
        return found
    deadline = time.monotonic() + timeout
    with _only_one(home, deadline):
        found = _serving(home)
        if found is not None:
            return found
        if files.is_locked(files.daemon_lock(home)):
            # Somebody runs it in the foreground and it is still starting, or it is on its way out.
            _wait(lambda: _serving(home) is not None or not files.is_locked(files.daemon_lock(home)), deadline)
            if (found := _serving(home)) is not None:
                return found
        with _explained(home):
            began = _size(log_path(home))
            daemon = _spawn(home)
        return _ready(home, daemon, deadline, timeout, began)


def status(home: Path) -> LocalStatus | None:
    """What runs, or None when the local target does not. Raises Unreachable when it lives but does not answer."""
    endpoint = _serving(home)
    if endpoint is None:
        return None
    import json
    import urllib.request

    try:
        with urllib.request.urlopen(f"{endpoint.control}/status", timeout=5) as answer:  # noqa: S310  our own loopback URL
            found = json.load(answer)
        return LocalStatus(**{name: found[name] for name in LocalStatus.__dataclass_fields__})
    except (OSError, ValueError, KeyError) as error:
        if _serving(home) is None:
            return None
        raise Unreachable(
            f"The local target (pid {endpoint.pid}) does not answer.",
            cause=str(error),
            fix="xgw local down, then run the same command again.",
        ) from error


def down(home: Path) -> bool:
    """Stop the daemon and every process it started, and verify that they are gone. True when something was stopped.

    Raises XgwError when a process could not be ended.
    """
    if not files.root(home).is_dir():
        return False
    with _only_one(home, time.monotonic() + 2 * STOP_S):
        return _down(home)


def reset(home: Path) -> None:
    """Stop it and forget its state. Removes `home`/local and nothing else."""
    if not files.root(home).is_dir():
        return
    import shutil

    with _only_one(home, time.monotonic() + 2 * STOP_S):
        _down(home)
        with _explained(home):
            shutil.rmtree(files.root(home))


def _serving(home: Path) -> LocalEndpoint | None:
    """The endpoint of a daemon that is alive and ready; a ready file of a dead or foreign process is not one."""
    endpoint = files.read_endpoint(home)
    if endpoint is None or not files.is_locked(files.daemon_lock(home)):
        return None
    return endpoint if files.read_owner(home) == (endpoint.pid, endpoint.created) else None


@contextmanager
def _only_one(home: Path, deadline: float) -> Iterator[None]:
    with _explained(home):
        home.mkdir(parents=True, exist_ok=True)
        held = files.try_lock(files.commands_lock(home))
        while held is None and time.monotonic() < deadline:
            time.sleep(POLL_S)
            held = files.try_lock(files.commands_lock(home))
    if held is None:
        raise Unreachable(
            "The local target is being started or stopped by another command.",
            cause=f"{files.commands_lock(home)} is held",
            fix="Wait for that command, then run this one again.",
        )
    try:
        yield
    finally:
        os.close(held)


@contextmanager
def _explained(home: Path) -> Iterator[None]:
    """Turn what the file system says into a fault that says what to do."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise XgwError(
            f"The local target cannot write to {home}.",
            cause=str(error),
            fix="Free some space." if full else "Set XGW_HOME to a directory that you may write to.",
        ) from error


def _spawn(home: Path) -> subprocess.Popen[bytes]:
    files.root(home).mkdir(parents=True, exist_ok=True)
    files.drop_endpoint(home)
    files.take_failure(home)
    path = log_path(home)
    if path.exists() and path.stat().st_size > LOG_BYTES:
        os.replace(path, path.with_suffix(".log.1"))
    with path.open("ab") as log:
        return subprocess.Popen(  # noqa: S603  our own module
            [sys.executable, "-P", "-m", "xgw.local", "--home", str(home.resolve())],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _ready(home: Path, daemon: subprocess.Popen[bytes], deadline: float, timeout: float, began: int) -> LocalEndpoint:
    while time.monotonic() < deadline:
        endpoint = _serving(home)
        if endpoint is not None:
            # It outlives this process on purpose; subprocess would warn about that.
            daemon.returncode = 0
            return endpoint
        if daemon.poll() is not None:
            raise _failed(home, daemon.returncode, began)
        time.sleep(POLL_S)
    daemon.terminate()
    with suppress(subprocess.TimeoutExpired):
        daemon.wait(timeout=STOP_S)
    raise Unreachable(
        f"The local target was not ready within {timeout:g} seconds.",
        cause=_last_lines(home, began) or "It has said nothing yet.",
        fix=f"Wait longer with --timeout, or see {log_path(home)}.",
    )


def _failed(home: Path, code: int, began: int) -> XgwError:
    told = files.take_failure(home)
    if told is not None:
        return XgwError(told.message, cause=told.cause, fix=told.fix)
    return XgwError(
        f"The local target ended with {code} before it was ready.",
        cause=_last_lines(home, began),
        fix=f"See {log_path(home)}; `xgw local reset` starts afresh.",
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _last_lines(home: Path, began: int) -> str:
    """The end of what the daemon has written since `began`."""
    try:
        with log_path(home).open("rb") as log:
            # A log that was set aside at the start is smaller than it was: then all of it is new.
            began = began if began <= _size(log_path(home)) else 0
            log.seek(max(began, _size(log_path(home)) - 16_384))
            lines = log.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-LAST_LINES:])


def _down(home: Path) -> bool:
    from xgw.local import leftovers

    directory = files.instances(home)
    noted = leftovers.noted(directory)
    ran = files.is_locked(files.daemon_lock(home))
    owner = files.read_owner(home)
    if ran and owner is not None:
        _end(leftovers.Noted(*owner), lambda: files.is_locked(files.daemon_lock(home)))
    swept = leftovers.sweep(directory)
    files.drop_endpoint(home)

    def left() -> list[str]:
        daemon = [f"daemon {owner}"] if files.is_locked(files.daemon_lock(home)) else []
        return daemon + [f"instance {process.pid}" for process in noted if leftovers.is_alive(process)]

    # What a dying daemon leaves to the kernel is gone a moment later.
    _wait(lambda: not left(), time.monotonic() + 3.0)
    if left():
        raise XgwError(
            "The local target could not be stopped.",
            cause=f"Still running: {', '.join(left())}",
            fix="End these processes yourself, then run the same command again.",
        )
    return ran or swept > 0


def _end(daemon: Any, is_there: Callable[[], bool]) -> None:
    """SIGTERM; SIGKILL when it has not ended in time. Signals nobody but the process that was noted."""
    from xgw.local import leftovers

    for sign, patience in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, 5.0)):
        if not leftovers.is_alive(daemon):
            break
        with suppress(ProcessLookupError):
            os.kill(daemon.pid, sign)
        _wait(lambda: not leftovers.is_alive(daemon) and not is_there(), time.monotonic() + patience)
    with suppress(ChildProcessError):
        os.waitpid(daemon.pid, os.WNOHANG)  # when it was this very process that started it


def _wait(until: Callable[[], bool], deadline: float) -> None:
    while not until() and time.monotonic() < deadline:
        time.sleep(POLL_S)
