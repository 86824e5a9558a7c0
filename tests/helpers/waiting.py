"""Waiting for what can be seen to happen, and ports for servers of tests.

The end of a wait is far away on purpose: where the thing comes it costs nothing, and a busy machine is no fault. A test whose
subject is time says so with the marker `alone` instead.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import TypeVar

import psutil

from xgw.local import ports

T = TypeVar("T")
PATIENCE = 60.0
_LOWEST, _WORKERS, _SHARE = 10_000, 10, 1000
_given = random.Random(os.getpid()).randrange(_SHARE)


def until(found: Callable[[], T], seconds: float = PATIENCE) -> T:
    """What `found` finds, once it is something."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, f"not in {seconds:g} s: {value!r}"
        time.sleep(0.02)
    return value


def free_port() -> int:
    """A port on which nobody listens and nobody will before its turn comes: it lies below what the system gives out by itself
    and what the local target picks from, each of pytest's workers has a thousand of its own, and none is given twice soon."""
    global _given
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw9").removeprefix("gw")) % _WORKERS
    for _ in range(_SHARE):
        _given = (_given + 1) % _SHARE
        port = _LOWEST + worker * _SHARE + _given
        if ports.is_free(port) and ports.is_free(port, "0.0.0.0"):
            return port
    raise AssertionError("every port of this worker is taken")


def connections(pid: int, port: int) -> int:
    """How many connections the process has with this port, at its own end or at the other."""
    found = psutil.Process(pid).net_connections("tcp")
    return sum(
        one.status == psutil.CONN_ESTABLISHED and port in (one.laddr.port, one.raddr.port if one.raddr else 0)
        for one in found
    )
