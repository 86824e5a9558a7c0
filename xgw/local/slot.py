"""What the supervisor knows of one revision: its state, the moves between states, and the facts shown to others.

starting    the first process has not listened yet   -> serving | (gone: the start failed)
serving     listens; requests may be sent            -> restarting (it ended) | draining | stopping
restarting  it ended and is started again, later and
            later the sooner it ends                 -> serving | stopping
draining    told to stop; requests in flight end     -> stopping | serving (started again before it stopped)
stopping    SIGTERM, after the grace SIGKILL         -> (gone)
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from xgw.local.images import Program
from xgw.local.instances import RevisionSpec, StartResult
from xgw.local.process import Process


class State(StrEnum):
    """Where a revision's instance is."""

    STARTING = "starting"
    SERVING = "serving"
    RESTARTING = "restarting"
    DRAINING = "draining"
    STOPPING = "stopping"


MOVES: Mapping[State, frozenset[State]] = {
    State.STARTING: frozenset({State.SERVING, State.STOPPING}),
    State.SERVING: frozenset({State.RESTARTING, State.DRAINING, State.STOPPING}),
    State.RESTARTING: frozenset({State.SERVING, State.STOPPING}),
    State.DRAINING: frozenset({State.SERVING, State.STOPPING}),
    State.STOPPING: frozenset(),
}


@dataclass(frozen=True)
class Timing:
    """How long things may take, in seconds; `backoff` is the wait before each restart in a row, and a run of at least
    `steady` ends the row. Tests shorten them."""

    startup: float = 10.0
    grace: float = 10.0
    backoff: tuple[float, ...] = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0)
    steady: float = 10.0


def timing_from_environment() -> Timing:
    """The default, or with XGW_LOCAL_STARTUP_SECONDS as the startup deadline when that is a positive number."""
    try:
        startup = float(os.environ.get("XGW_LOCAL_STARTUP_SECONDS", ""))
    except ValueError:
        return Timing()
    return Timing(startup=startup) if startup > 0 else Timing()


@dataclass(frozen=True)
class Place:
    """Where requests for a revision go now: a loopback port, and how long one request may take."""

    port: int
    timeout_s: float


@dataclass(frozen=True)
class Running:
    """What is known of one revision's instance now. `pid`, `port` and `memory_bytes` are 0 while no process runs."""

    service: str
    state: State
    pid: int
    port: int
    memory_bytes: int
    restarts: int


@dataclass(eq=False)
class Slot:
    """One revision under supervision. Lives on the event loop; `started` and `stopped` say how that went."""

    spec: RevisionSpec
    program: Program
    state: State = State.STARTING
    process: Process | None = None
    restarts: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    started: asyncio.Future[StartResult] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    stopped: asyncio.Future[None] | None = None
    alive: asyncio.Task[None] | None = None
    draining: asyncio.Task[None] | None = None

    def move(self, to: State) -> None:
        """Change the state. A move that is not in the table is a mistake of the supervisor."""
        if to is not self.state:
            assert to in MOVES[self.state], f"{self.state} -> {to}"
            self.state = to

    def is_stopping(self) -> bool:
        """True from the request to stop on, unless it is called off."""
        return self.state in (State.DRAINING, State.STOPPING)

    def shown(self) -> Running:
        """The facts for others."""
        process = self.process
        pid, port, used = (process.pid, process.port, process.used) if process else (0, 0, 0)
        return Running(self.spec.service, self.state, pid, port, used, self.restarts)
