"""Every point of a run is broken in every way, and the same command is given again: the end is that of an unbroken run."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.helpers.engine import Engine, close_ledgers, deploy, target_on
from tests.helpers.local_cloud import LocalCloud
from xgw import faults, rollback
from xgw.plan.model import GATEWAY

ROOT = Path(__file__).resolve().parents[3]


class Stage:
    """One cloud and one engine, thrown away after one broken run."""

    def __init__(self, home: Path) -> None:
        (home / "cloud").mkdir(parents=True)
        self.cloud = LocalCloud(home / "cloud")
        deploy(self.cloud)
        self.engine = Engine(target_on(self.cloud.target, home), home)

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        faults.arm("")
        faults.watch(None)
        close_ledgers()
        self.cloud.kill()


def roll_gateway_back(engine: Engine):
    ledger = engine.ledger()
    planned = rollback.previous(engine.target, ledger, GATEWAY)
    return rollback.carry_out(engine.target, ledger, planned, command="rollback gateway")


VERBS = {
    "apply": (lambda engine: None, lambda engine: engine.apply()),
    "revert": (lambda engine: engine.apply(), lambda engine: engine.revert()),
    "rollback": (lambda engine: engine.apply(), roll_gateway_back),
}
"""Verb -> (how the stage is set, the command that is broken)."""


def unbroken(home: Path, verb: str) -> tuple[list[str], tuple]:
    """The points a verb passes, with their occurrence, and the picture at its end."""
    setting, act = VERBS[verb]
    passed: list[str] = []
    with Stage(home) as stage:
        setting(stage.engine)
        faults.watch(passed.append)
        act(stage.engine)
        faults.watch(None)
        return [f"{point}#{passed[: n + 1].count(point)}" for n, point in enumerate(passed)], comparable(stage, verb)


def comparable(stage: Stage, verb: str) -> tuple:
    """The picture; a rollback's traffic names revisions, which differ from run to run."""
    fields, traffic, states, serving, counts = stage.engine.picture()
    if verb == "rollback":
        traffic = {role: [(bool(name), percent) for name, percent, _ in shares] for role, shares in traffic.items()}
    return fields, traffic, states, serving, counts


@pytest.mark.parametrize("kind", ["exception", "lost-answer"])
@pytest.mark.parametrize("verb", VERBS)
def test_broken_anywhere_the_same_command_ends_as_if_unbroken(tmp_path, verb, kind):
    points, wanted = unbroken(tmp_path / "unbroken", verb)
    setting, act = VERBS[verb]
    assert len(points) >= 6
    for place in points:
        with Stage(tmp_path / place.replace("#", "-")) as stage:
            setting(stage.engine)
            faults.arm(f"{place}:{kind}")
            with suppress(Exception):
                act(stage.engine)
            faults.arm("")
            finish(stage.engine, act)
            assert comparable(stage, verb) == wanted, place
            assert stage.engine.ledger().check() > 0


def finish(engine: Engine, act) -> None:
    """The same command again, unless the broken one had in fact ended."""
    if act is roll_gateway_back and not engine.target.service(GATEWAY).pinned:
        act(engine)
    elif act is roll_gateway_back:
        planned = rollback.previous(engine.target, engine.ledger(), GATEWAY)
        if rollback.unfinished(engine.ledger(), engine.target, GATEWAY):
            rollback.carry_out(engine.target, engine.ledger(), planned, command="rollback gateway")
    else:
        act(engine)


@pytest.mark.parametrize("verb", ["apply", "revert"])
def test_killed_anywhere_the_same_command_ends_as_if_unbroken(tmp_path, verb):
    points, wanted = unbroken(tmp_path / "unbroken", verb)
    setting, act = VERBS[verb]
    for place in points:
        home = tmp_path / place.replace("#", "-")
        with Stage(home) as stage:
            setting(stage.engine)
            killed = subprocess.run(
                [sys.executable, "-m", "tests.helpers.engine", verb, stage.cloud.target, str(home)],
                env={**os.environ, "XGW_FAULT": f"{place}:crash"},
                cwd=ROOT,
                timeout=240,
                check=False,
            )
            assert killed.returncode == -9, place
            act(stage.engine)
            assert comparable(stage, verb) == wanted, place
            assert stage.engine.ledger().check() > 0


def test_every_named_point_is_passed_by_some_verb(tmp_path):
    passed = {place.split("#")[0] for verb in VERBS for place in unbroken(tmp_path / verb, verb)[0]}
    assert passed == set(faults.POINTS)
