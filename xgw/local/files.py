"""Where the local target keeps what, and the small files by which the daemon and the commands know of each other.

    HOME/local.lock            held while somebody starts, stops or resets it
    HOME/local/daemon.lock     held by the daemon for as long as it lives; the kernel lets go of it however it dies
    HOME/local/endpoint.json   written when everything serves: where, and by which process
    HOME/local/failure.json    why the last start failed, in the words of an XgwError
    HOME/local/daemon.log      what the daemon itself has to say

Imported by the commands: nothing slow in here.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class LocalEndpoint:
    """Where a running local target answers. `created` is the daemon's creation time (xgw.local.leftovers.stamp):
    with it a pid that was given to another process is told apart. `redis` is the embedded Redis' "host:port"."""

    grpc: str
    control: str
    project: str
    region: str
    pid: int
    created: float = 0.0
    since: str = ""
    redis: str = ""


@dataclass(frozen=True)
class Failure:
    """Why a start failed."""

    message: str
    cause: str
    fix: str


def root(home: Path) -> Path:
    """All state of the local target: removing it is a reset."""
    return home / "local"


def commands_lock(home: Path) -> Path:
    """Outside the root, so that a reset does not remove the lock it holds."""
    return home / "local.lock"


def daemon_lock(home: Path) -> Path:
    """See above."""
    return root(home) / "daemon.lock"


def log_path(home: Path) -> Path:
    """The daemon's own log."""
    return root(home) / "daemon.log"


def data(home: Path) -> Path:
    """What the services keep, and the issuer of their tokens."""
    return root(home) / "data"


def instances(home: Path) -> Path:
    """Notes of the processes the daemon started; also their working directory."""
    return root(home) / "instances"


def try_lock(path: Path) -> int | None:
    """Take an exclusive lock; the descriptor to keep open, or None when somebody holds it. Raises OSError when the file
    cannot be made. Children do not inherit it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_locked(path: Path) -> bool:
    """True while somebody holds the lock. Takes it for no longer than a look."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def write_endpoint(home: Path, endpoint: LocalEndpoint) -> None:
    """Say that everything serves. All at once: nobody reads half a file."""
    _write(root(home) / "endpoint.json", asdict(endpoint))


def read_endpoint(home: Path) -> LocalEndpoint | None:
    """What the last daemon wrote, dead or alive; None when there is none, or it cannot be understood."""
    try:
        return LocalEndpoint(**json.loads((root(home) / "endpoint.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def drop_endpoint(home: Path) -> None:
    """Say that it does not serve (any more)."""
    with suppress(OSError):
        (root(home) / "endpoint.json").unlink()


def write_failure(home: Path, failure: Failure) -> None:
    """Leave word why the start failed."""
    with suppress(OSError):
        _write(root(home) / "failure.json", asdict(failure))


def take_failure(home: Path) -> Failure | None:
    """Why the last start failed, once."""
    path = root(home) / "failure.json"
    try:
        found = Failure(**json.loads(path.read_text()))
        path.unlink()
    except (OSError, ValueError, TypeError):
        return None
    return found


def write_owner(descriptor: int, pid: int, created: float) -> None:
    """Note in the daemon's lock file who holds it."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps({"pid": pid, "created": created}).encode(), 0)


def read_owner(home: Path) -> tuple[int, float] | None:
    """Pid and creation time of who holds, or last held, the daemon's lock."""
    try:
        found = json.loads(daemon_lock(home).read_text())
        return int(found["pid"]), float(found["created"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write(path: Path, content: dict[str, Any]) -> None:
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    with fresh.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
