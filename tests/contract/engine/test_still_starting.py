"""A command that comes while the revision that an earlier one sent for is still starting."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.helpers.engine import Engine
from tests.helpers.local_cloud import LocalCloud
from xgw import faults, rollback
from xgw.errors import ExitCode, XgwError
from xgw.plan.model import GATEWAY

LATEST_FORM = [(None, 100, "")]


@pytest.fixture
def gated(engine: Engine, cloud: LocalCloud) -> Engine:
    """A gateway whose revisions start when the gate is open; it is."""
    cloud.call(cloud.instances.gate.set)
    cloud.deploy("gated@sha256:1", "gateway")
    return engine


@contextmanager
def broken_off_at_once(cloud: LocalCloud, nth: int) -> Iterator[None]:
    """The block ends as soon as its nth change was sent for; what that makes starts a while after the block."""
    sent: list[str] = []

    def watch(point: str) -> None:
        sent.append(point)
        if point == "update-sending" and sent.count(point) == nth:
            cloud.call(cloud.instances.gate.clear)

    faults.watch(watch)
    faults.arm(f"update-sent#{nth}:exception")
    with pytest.raises(XgwError):
        yield
    faults.watch(None)
    faults.arm("")
    threading.Timer(0.5, lambda: cloud.call(cloud.instances.gate.set)).start()


def test_a_revert_that_is_given_again_waits_for_the_revision_it_made(gated: Engine, cloud: LocalCloud):
    gated.apply(only=["1.1"])
    with broken_off_at_once(cloud, 2):
        gated.revert()
    run = gated.revert()
    assert [step.left for step in run.steps] == [""]
    assert gated.traffic()[GATEWAY] == LATEST_FORM
    assert gated.states() == {"1.1": "reverted"}


def test_a_step_of_a_service_whose_candidate_is_starting_is_not_blocked_by_it(gated: Engine, cloud: LocalCloud):
    with broken_off_at_once(cloud, 1):
        gated.apply()
    run = gated.apply()
    assert [step.reason for step in run.steps] == ["", ""]
    assert run.exit_code is ExitCode.OK


def test_a_release_waits_for_the_revision_that_a_rollback_made(gated: Engine, cloud: LocalCloud):
    gated.apply()
    planned = rollback.previous(gated.target, gated.ledger(), GATEWAY)
    with broken_off_at_once(cloud, 2):
        rollback.carry_out(gated.target, gated.ledger(), planned, command="rollback gateway")
    made = rollback.release(gated.target, gated.ledger(), GATEWAY, command="release").latest_ready
    assert gated.ledger().makers(gated.target.id)[made].endswith("rollback")
    assert gated.traffic()[GATEWAY] == LATEST_FORM
