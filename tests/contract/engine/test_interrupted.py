"""A run that somebody stops for good while it measures."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from tests.helpers.engine import Engine
from xgw import runner
from xgw.changes.service import ServiceSpec
from xgw.errors import ExitCode
from xgw.plan.model import GATEWAY, Phase, Probe, Reading, Step, Subject, Verdict


def test_an_interrupt_does_not_wait_for_the_slowest_probe_and_the_ledger_says_so(engine: Engine):
    done = threading.Event()

    def slow(_: Subject) -> Reading:
        os.kill(os.getpid(), signal.SIGINT)
        done.wait(60)
        return Reading("x", "y", Verdict.PASSED)

    step = Step("1.1", "Slow", (ServiceSpec(GATEWAY, env={"MODE": "strict"}),), (Probe("slow", slow),), ())
    alone = Engine(engine.target, engine.home, Phase(1, "Test", (step,)))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell had it ignored
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        alone.apply()
    assert time.monotonic() - began < 40
    signal.signal(signal.SIGINT, before)
    done.set()
    assert alone.states() == {"1.1": "applied"}
    ends = alone.ledger().records(target=alone.target.id, kind="run-end")
    assert [end.body["exit"] for end in ends] == [130]


def test_a_stop_that_leaves_no_step_out_interrupts_nothing(engine: Engine):
    engine.apply(only=["1.2"])
    planned = engine.plan(only=["1.1", "1.2"])  # 1.1 is to do, and 1.2 holds already
    done = runner.apply(engine.bench(), planned, command="apply", stop=lambda: "1.1" in engine.states())
    assert done.exit_code is ExitCode.OK
    assert [step.reason for step in done.steps] == ["", "holds already"]


def test_a_stop_that_leaves_a_step_out_is_an_interruption(engine: Engine):
    done = runner.apply(engine.bench(), engine.plan(), command="apply", stop=lambda: "1.1" in engine.states())
    assert done.exit_code is ExitCode.INTERRUPTED
    assert [step.reason for step in done.steps] == ["", "interrupted"]
