from __future__ import annotations

from itertools import takewhile

import pytest

from tests.helpers.place import Place
from xgw.plan.phase1 import PHASE1

pytestmark = pytest.mark.e2e

CARRIED_OUT = {step.id for step in PHASE1.steps if step.after is None}
SCENES = (
    "$ xgw phase1 plan",
    "$ xgw phase1 apply",
    f"No changes. {len(CARRIED_OUT)} of {len(PHASE1.steps)} steps already hold; 1.3 waits.",
    "$ xgw phase1 validate",
    "Caught before it got traffic. Meanwhile 300 requests to the live gateway: ",
    "$ xgw rollback gateway\n",
    "$ xgw rollback gateway --release",
    "$ xgw history",
    "Done in ",
    "xgw local down",
)

LEFT = "An earlier visit left steps applied: put back first"


def test_the_demo_ends_well_from_scratch_and_puts_back_first_what_a_visit_left(place: Place) -> None:
    done = place.run("demo", timeout=400)
    assert done.code == 0, done
    at = -1
    for scene in SCENES:
        at = done.out.find(scene, at + 1)
        assert at >= 0, (scene, done)
    assert "gateway: 0 failed." in done.out or "too busy to tell" in done.out, done
    assert LEFT not in done.out
    assert "Traceback" not in done.out + done.err
    assert place.look("history", "verify")["records"] == len(place.records())

    with place.popen("demo", env={"PYTHONUNBUFFERED": "1"}) as again:
        told = list(takewhile(lambda line: not line.startswith(SCENES[0]), again.stdout))
        again.kill()
    assert any(LEFT in line for line in told), told
    assert {place.step(step) for step in CARRIED_OUT} == {"reverted"}
