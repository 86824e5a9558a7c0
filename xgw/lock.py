"""One writer per target: a lock file with its holder, host, pid and age.

A lock whose process is gone (or whose pid now belongs to another process) on this machine is stale and is taken over. A
lock from another machine is never guessed about: `xgw unlock --force` breaks it, and the ledger says who did.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from xgw.errors import Conflict, LedgerFault
from xgw.ledger import who
from xgw.plan.model import now


@dataclass(frozen=True)
class Holder:
    """Who holds a lock. `started` tells a reused pid apart: the process's start in seconds since the boot on Linux, where the
    time since the epoch moves with every adjustment of the clock; since the epoch elsewhere."""

    target: str
    who: str
    host: str
    pid: int
    started: float
    since: str
    doing: str

    @property
    def stale(self) -> bool:
        """True when the process that took the lock is surely gone: only this machine's processes can be told."""
        if self.host != socket.gethostname():
            return False
        return abs(_started(self.pid) - self.started) > 1

    @property
    def age(self) -> float:
        """Seconds since the lock was taken."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.since)).total_seconds()


@contextmanager
def held(home: Path, target: str, doing: str) -> Iterator[Holder | None]:
    """Hold the lock of `target`; yields the stale holder it was taken over from, if any. Raises Conflict when held."""
    me = Holder(target, who(), socket.gethostname(), os.getpid(), _started(os.getpid()), now(), doing)
    path = _path(home, target)
    with _guarded(path):
        previous = _read(path)
        if previous and not previous.stale:
            raise Conflict(
                f"{previous.who} is working on this target: {previous.doing}",
                cause=f"pid {previous.pid} on {previous.host} holds the lock since {previous.age:.0f} s ({previous.since})",
                fix="wait for it; if it is surely gone: xgw unlock --force",
            )
        _write(path, me)
    try:
        yield previous
    finally:
        with _guarded(path):
            if _read(path) == me:
                path.unlink()


def holder(home: Path, target: str) -> Holder | None:
    """Who holds the lock of `target` now, stale or not."""
    return _read(_path(home, target))


def release(home: Path, target: str, *, force: bool = False) -> Holder | None:
    """Break the lock when it is stale (or by `force`); returns who held it. Raises Conflict for a living holder."""
    path = _path(home, target)
    with _guarded(path):
        found = _read(path)
        if found and not found.stale and not force:
            raise Conflict(
                f"{found.who} still holds the lock: {found.doing}",
                cause=f"pid {found.pid} on {found.host} is alive, or is on another machine",
                fix="wait for it; if it is surely gone: xgw unlock --force",
            )
        path.unlink(missing_ok=True)
    return found


def _path(home: Path, target: str) -> Path:
    return home / "locks" / f"{hashlib.sha256(target.encode()).hexdigest()[:16]}.json"


def _read(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):  # torn by a crash while writing: nobody can be holding what was never written
        return None


def _write(path: Path, me: Holder) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(me)))
    os.replace(fresh, path)


def _started(pid: int) -> float:
    import psutil

    with suppress(psutil.Error):
        created = float(psutil.Process(pid).create_time())
        return created - psutil.boot_time() if psutil.LINUX else created
    return -1e9


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    """The lock file is only read and written while holding its guard, so that two takers cannot both win."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(path.with_suffix(".guard"), "a") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise LedgerFault(
            f"the lock {path} cannot be written", cause=str(error), fix="set XGW_HOME to a directory you can write"
        ) from error
