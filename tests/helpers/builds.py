"""A build of the gateway released through the real engine, while users keep asking the live service."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from tests.helpers.engine import Seen
from tests.helpers.place import Place
from xgw import runner
from xgw.changes.service import ServiceSpec
from xgw.ledger import Ledger
from xgw.load.generator import LoadResult, drive
from xgw.local.images import pinned
from xgw.plan.model import GATEWAY, Phase, Step
from xgw.planning import plan
from xgw.probes.memory import memory_fits

RATE = 100.0


def release(place: Place, image: str, *, memory: str = "512Mi") -> runner.Run:
    """One step of its own: the gateway with another image, its memory measured under load before it gets traffic."""
    spec = ServiceSpec(GATEWAY, memory=memory, image=pinned(f"xgw.local/{image}"))
    phase = Phase(0, "Build", (Step("build", image, (spec,), (memory_fits(GATEWAY),), ("PERF-3",)),))
    target = place.target(writable=True)
    with contextlib.closing(Ledger(place.home / "ledger.db")) as ledger:
        bench = runner.Bench(target, ledger, Seen())
        return runner.apply(bench, plan(target, ledger, phase), command=f"release {image}")


@contextlib.contextmanager
def users(place: Place, *, seconds: float) -> Iterator[list[LoadResult]]:
    """100 requests a second at the gateway's live address for `seconds`, which must outlast the block; what they saw stands
    in the list afterwards."""
    url, seen = place.target().service(GATEWAY).uri, list[LoadResult]()
    thread = threading.Thread(target=lambda: seen.append(drive([f"{url}/health"], rate=RATE, seconds=seconds)))
    thread.start()
    try:
        yield seen
        assert thread.is_alive(), "the load ended before what it was to watch"
    finally:
        thread.join()
    assert seen[0].sent == RATE * seconds
