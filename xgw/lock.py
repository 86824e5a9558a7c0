"""One writer per target: a lock file with its holder, host, pid and age.

A lock whose process is gone (or whose pid now belongs to another process) on this machine is stale and is taken over. A
lock from another machine is never guessed about: `xgw unlock --force` breaks it, and the ledger says who did. A lock file that
cannot be understood is held by somebody unknown: it was written whole, by another version perhaps, or by hand.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
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
    def told(self) -> str:
        """Where it is, in words."""
        where = f"pid {self.pid} on {self.host}" if self.host else "its lock file cannot be read, so somebody unknown"
        return f"{where} holds the lock since {self.age:.0f} s ({self.since})"

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
                cause=previous.told,
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


def working(home: Path) -> list[Holder]:
    """Everybody who holds a lock in this home and is, or may be, alive."""
    found = (_read(path) for path in sorted((home / "locks").glob("*.json")))
    return [holder for holder in found if holder and not holder.stale]


def release(home: Path, target: str, *, force: bool = False) -> Holder | None:
    """Break the lock when it is stale (or by `force`); returns who held it. Raises Conflict for a living holder."""
    path = _path(home, target)
    with _guarded(path):
        found = _read(path)
        if found and not found.stale and not force:
            raise Conflict(
                f"{found.who} still holds the lock: {found.doing}",
                cause=f"{found.told}, and is alive or on another machine",
                fix="wait for it; if it is surely gone: xgw unlock --force",
            )
        path.unlink(missing_ok=True)
    return found


def _path(home: Path, target: str) -> Path:
    return home / "locks" / f"{hashlib.sha256(target.encode()).hexdigest()[:16]}.json"


def _read(path: Path) -> Holder | None:
    """Who holds it. What else a newer xgw may say of itself is left out."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        told = json.loads(raw)
        return _checked(Holder(**{part.name: told[part.name] for part in fields(Holder)}))
    except (ValueError, TypeError, LookupError):
        since = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="milliseconds")
        return Holder("", "somebody unknown", "", 0, 0.0, since, f"{path} cannot be read")


def _checked(told: Holder) -> Holder:
    """The holder, when every part is of its kind; raises ValueError or TypeError."""
    kinds = {"pid": int, "started": (int, float)}
    if not all(isinstance(value, kinds.get(name, str)) for name, value in asdict(told).items()):  # type: ignore[arg-type]
        raise ValueError("a part of it is of another kind")
    if told.pid <= 0:
        raise ValueError("no process has this pid")
    told.age  # noqa: B018  a `since` that is no moment raises here
    return told


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
