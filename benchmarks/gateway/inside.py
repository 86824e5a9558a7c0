"""`python -m benchmarks.gateway.inside [CASE ...]`: how many calls a request makes inside the process, and which take the time.

The gateway runs in this process with everything on, upstream and Valkey are real; only the client's side of its connections
goes nowhere. CONNECTIONS requests are under way at once, as in the bench. cProfile counts calls, C functions included: a figure
that no busy machine can blur. Its times make small functions look larger than they are; compare them within one table only.
"""

from __future__ import annotations

import asyncio
import cProfile
import os
import pstats
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from benchmarks.gateway import build
from benchmarks.gateway.cases import CASES, Case, by_name
from benchmarks.gateway.closed_loop import CONNECTIONS
from benchmarks.gateway.faults import BenchmarkFault
from benchmarks.gateway.stage import Stage, stage
from benchmarks.gateway.targets import TARGETS
from gateway_runtime.app import build as application
from gateway_runtime.logs import Log
from gateway_runtime.server.connection import Connection
from gateway_runtime.server.run import front
from gateway_runtime.settings import read

WARM, ROUNDS, SHOWN = 20, 60, 15
ROOT = f"{Path(__file__).resolve().parents[2]}/"


class Answers:
    """Waits for one write from each of so many transports."""

    def __init__(self, wanted: int) -> None:
        self.left = wanted
        self.last: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()


class Nowhere(asyncio.Transport):
    """A client that has sent a request and reads nothing."""

    max_size = 0
    answers: Answers
    """Of all of them together."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 8080)})

    def write(self, data: Any) -> None:
        self.answers.left -= 1
        if not self.answers.left:
            self.answers.last.set_result(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


@asynccontextmanager
async def gateway(on: Stage) -> AsyncIterator[list[Connection]]:
    """The gateway with as many connections as the bench has."""
    launch, _ = on.launch(TARGETS["gateway"], "plain", "inside")
    settings = read(dict(launch.environment))
    sink = os.open(os.devnull, os.O_WRONLY)
    log = Log(settings.log_level, settings.log_format, fd=sink)
    app = application(settings, log)
    config = Config(app, interface="asgi3", log_config=None, proxy_headers=False)
    edge, state = front(settings, log), ServerState()
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    said: asyncio.Queue[Any] = asyncio.Queue()
    life = asyncio.ensure_future(app({"type": "lifespan"}, told.get, said.put))
    told.put_nowait({"type": "lifespan.startup"})
    await said.get()
    await asyncio.sleep(0.5)  # Redis is connected to in the background
    yield [edge(config, state, {}) for _ in range(CONNECTIONS)]
    told.put_nowait({"type": "lifespan.shutdown"})
    await life
    log.close()
    os.close(sink)


async def profiled(on: Stage, cases: Sequence[Case]) -> None:
    """A table for each case, on stdout."""
    async with gateway(on) as connections:
        for connection in connections:
            connection.connection_made(Nowhere())
        for case in cases:
            request = on.request(case)

            async def once(request: bytes = request) -> bytes:
                answers = Nowhere.answers = Answers(len(connections))
                for connection in connections:
                    connection.data_received(request)
                return await answers.last

            for _ in range(WARM):
                last = await once()
            if last.split(b" ", 2)[1] != b"%d" % case.status:
                raise BenchmarkFault(f"{case.about}: {last[:200]!r}")
            profile = cProfile.Profile()
            profile.enable()
            for _ in range(ROUNDS):
                await once()
            profile.disable()
            _tell(case, pstats.Stats(profile), ROUNDS * len(connections))


def _tell(case: Case, stats: Any, requests: int) -> None:
    total = sum(row[2] for row in stats.stats.values())
    sys.stdout.write(f"{case.about}: {stats.total_calls / requests:.0f} calls a request\n")
    rows = sorted(stats.stats.items(), key=lambda item: item[1][2], reverse=True)[:SHOWN]
    for (name, line, function), (_, calls, own, _, _) in rows:
        where = function if name == "~" else f"{name.removeprefix(ROOT)}:{line} {function}"
        sys.stdout.write(f"  {own / total:5.1%}  {calls / requests:5.2f} x  {where}\n")


def main(names: Sequence[str]) -> int:
    """0: measured."""
    cases = [by_name(name) for name in names] or [case for case in CASES if case.name != "compressed-1"]
    with stage(build.tools()) as on:
        asyncio.run(profiled(on, cases))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
