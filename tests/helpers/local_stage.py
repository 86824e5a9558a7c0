"""A supervisor and a front door over real processes, for the tests of the local target."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.helpers.waiting import PATIENCE
from xgw.local.front_door import FrontDoor
from xgw.local.images import Program, resolve
from xgw.local.in_flight import InFlight
from xgw.local.instances import RevisionSpec, Route
from xgw.local.log_store import FileLogStore
from xgw.local.metric_store import FileMetricStore
from xgw.local.slot import Timing
from xgw.local.supervisor import Supervisor

ROOT = Path(__file__).resolve().parents[2]
MIB = 1024 * 1024
WELL_BEHAVED = "tests/program"
QUICK = Timing(startup=PATIENCE, grace=1.0, backoff=(0.1, 0.3, 0.6), steady=5.0)


def resolve_for_tests(image: str) -> Program | None:
    if image == "tests/parent":
        return Program("tests.helpers.local_program", ("with-child",))
    return Program("tests.helpers.local_program") if image == WELL_BEHAVED else resolve(image)


def revision(name: str, image: str = WELL_BEHAVED, *, memory_mib: int = 256, timeout_s: float = 20.0) -> RevisionSpec:
    return RevisionSpec(
        name=name,
        service="shop",
        image=image,
        env={"COLOUR": "blue"},
        memory_bytes=memory_mib * MIB,
        timeout_s=timeout_s,
        concurrency=80,
        port=8080,
    )


class Stage:
    """What a test plays on."""

    def __init__(self, home: Path, timing: Timing) -> None:
        # The programs of the tests are found through it.
        os.environ["PYTHONPATH"] = str(ROOT)
        self.home = home
        self.logs = FileLogStore(home / "logs")
        self.metrics = FileMetricStore(home / "metrics")
        self.in_flight = InFlight()
        self.supervisor = Supervisor(
            home / "instances", self.logs, self.metrics, self.in_flight, timing=timing, resolve_image=resolve_for_tests
        )
        self.door = FrontDoor(home / "ports.json", self.supervisor.place, self.in_flight, self.metrics)

    async def serve(self, *names: str, **how) -> str:
        """Start the revisions at equal shares; the address of the service."""
        results = await asyncio.gather(*(self.supervisor.start(revision(name, **how)) for name in names))
        assert all(result.ready for result in results), results
        await self.door.set_routes("shop", [Route(name, 100 // len(names)) for name in names])
        return self.door.service_url("shop")

    def port(self) -> int:
        return int(self.door.service_url("shop").rpartition(":")[2])

    def lines(self, **terms: str) -> list:
        records = self.logs.query((), "asc", 10_000)
        return [r for r in records if all(getattr(r, name) == value for name, value in terms.items())]


@asynccontextmanager
async def stage(home: Path, timing: Timing = QUICK) -> AsyncIterator[Stage]:
    made = Stage(home, timing)
    try:
        yield made
    finally:
        await made.door.close()
        await made.supervisor.close()
        made.logs.close()
        made.metrics.close()


async def eventually(check, timeout_s: float = PATIENCE):
    """Wait until `check()` is true, and give its value."""
    async with asyncio.timeout(timeout_s):
        while not (value := check()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return value
