"""Notes about the processes a daemon started, so that its successor can end what it left behind.

On Linux the kernel ends instances together with the daemon (xgw.local.instance); elsewhere, and for whatever escaped,
these notes do. A process is only ended when its creation time is the noted one: pids are given out again. And only when the
note was written in this very directory: the notes in a copy of a home are about the processes of the original.
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

SAME_TIME_S = 1.0


@dataclass(frozen=True)
class Noted:
    """One process that was started; `created` is its `stamp`."""

    pid: int
    created: float


def stamp(pid: int) -> float:
    """When a process was created, in seconds: since the boot on Linux, where the time since the epoch moves whenever the
    clock is adjusted; since the epoch elsewhere. Raises psutil.Error when there is no such process."""
    created = psutil.Process(pid).create_time()
    return created - psutil.boot_time() if psutil.LINUX else created


def note(directory: Path, name: str, process: Noted) -> None:
    """Write the note of one process. A disk that is full is no reason not to run it."""
    with suppress(OSError):
        said = {"pid": process.pid, "created": process.created, "place": _place(directory)}
        (directory / f"{name}.pid").write_text(json.dumps(said))


def forget(directory: Path, name: str) -> None:
    """The process is gone."""
    with suppress(OSError):
        (directory / f"{name}.pid").unlink()


def noted(directory: Path) -> list[Noted]:
    """All notes that were written in this directory; those of a copy, and unreadable ones, are skipped."""
    found = []
    for path in directory.glob("*.pid"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            raw = json.loads(path.read_text())
            if raw["place"] == _place(directory):
                found.append(Noted(int(raw["pid"]), float(raw["created"])))
    return found


def _place(directory: Path) -> str:
    """What tells a directory from a copy of it, and stays when it is moved."""
    found = directory.stat()
    return f"{found.st_dev}:{found.st_ino}"


def is_alive(process: Noted) -> bool:
    """True when this very process runs; a zombie does not."""
    try:
        same = abs(stamp(process.pid) - process.created) < SAME_TIME_S
        return same and psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def sweep(directory: Path, timeout_s: float = 5.0) -> int:
    """SIGKILL every noted process that still runs, with its group, and wait until it is gone. How many there were."""
    found = noted(directory)
    alive = [process for process in found if is_alive(process)]
    for process in alive:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + timeout_s
    while any(is_alive(process) for process in alive) and time.monotonic() < deadline:
        time.sleep(0.02)
    for path in directory.glob("*.pid"):
        with suppress(OSError):
            path.unlink()
    return len(alive)
