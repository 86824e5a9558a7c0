"""The local target's daemon for tests: a home of its own, and the promise that nothing is left behind."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.helpers.waiting import PATIENCE
from xgw.local import files, leftovers, lifecycle


@contextmanager
def home_of_its_own(path: Path) -> Iterator[Path]:
    home = path / "home"
    try:
        yield home
    finally:
        noted = leftovers.noted(files.instances(home))
        lifecycle.down(home)
        assert not [process for process in noted if leftovers.is_alive(process)]


def instance_pids(home: Path) -> list[int]:
    found = lifecycle.status(home)
    return [revision["pid"] for service in found.services for revision in service["revisions"]]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(check: Callable[[], bool], timeout_s: float = PATIENCE) -> None:
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def ports_of(home: Path) -> dict[str, int]:
    return json.loads((files.root(home) / "ports.json").read_text())["open"]
