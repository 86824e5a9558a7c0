"""A build of the gateway released through the real engine, while users keep asking the live service."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.helpers.asking import PATIENCE_S
from tests.helpers.engine import Seen
from tests.helpers.place import Place
from xgw import runner
from xgw.changes.service import ServiceSpec
from xgw.ledger import Ledger
from xgw.local.images import pinned
from xgw.plan.model import GATEWAY, Phase, Step
from xgw.planning import plan
from xgw.probes.memory import memory_fits

RATE = 100.0
ROOT = Path(__file__).resolve().parents[2]


def release(place: Place, image: str, *, memory: str = "512Mi") -> runner.Run:
    """One step of its own: the gateway with another image, its memory measured under load before it gets traffic."""
    spec = ServiceSpec(GATEWAY, memory=memory, image=pinned(f"xgw.local/{image}"))
    phase = Phase(0, "Build", (Step("build", image, (spec,), (memory_fits(GATEWAY),), ("PERF-3",)),))
    target = place.target(writable=True)
    with contextlib.closing(Ledger(place.home / "ledger.db")) as ledger:
        bench = runner.Bench(target, ledger, Seen())
        return runner.apply(bench, plan(target, ledger, phase), command=f"release {image}")


@dataclass
class Answers:
    """What the users were told: status or fault -> how often."""

    said: dict[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> dict[str, int]:
        return {word: count for word, count in self.said.items() if not word.startswith("2")}


@contextlib.contextmanager
def users(place: Place) -> Iterator[Answers]:
    """100 requests a second at the gateway's live address from before the block until after it; what they were told stands in
    the answers then."""
    url, seen = f"{place.target().service(GATEWAY).uri}/health", Answers()
    command = [sys.executable, "-m", "tests.helpers.asking", url, str(RATE)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as asking:  # type: ignore[call-overload]
        try:
            assert asking.stdout.readline() == "asking\n"
            yield seen
            time.sleep(1)  # and a moment longer
            assert asking.poll() is None
            out, _ = asking.communicate(timeout=2 * PATIENCE_S)
        finally:
            asking.kill()
    seen.said = json.loads(out)
    assert sum(seen.said.values()) > RATE
