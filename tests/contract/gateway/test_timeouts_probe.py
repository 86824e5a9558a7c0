"""The probe of plan 1.5 against real gateways: what it can tell, and what it admits it cannot."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.helpers.gateway_process import Running, running
from tests.helpers.raw_upstream import OK, Play, RawUpstream, says, status
from tests.helpers.raw_upstream import late as late_answer
from xgw.plan.model import GATEWAY, Reading, Subject, Verdict
from xgw.probes.timeouts import requests_end_in_time

WANTED = {"env.UPSTREAM_TIMEOUT": "30", "env.UPSTREAM_TIMEOUT_LONG": "120", "env.BREAKER": "on"}


def read(url: str) -> Reading:
    subject = Subject(cast(Any, None), "live", {GATEWAY: url}, {GATEWAY: "r"}, {GATEWAY: WANTED})
    return requests_end_in_time(GATEWAY).measure(subject)


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("late"), ROLE="slack", DIAGNOSTICS="on") as process:
        yield process


CASES: dict[str, tuple[dict[str, str], Verdict, str]] = {
    "as planned": ({}, Verdict.PASSED, "ended a request after "),
    "as before": ({"UPSTREAM_TIMEOUT": "off", "BREAKER": "off"}, Verdict.FAILED, "states deadlines of none"),
    "no breaker": ({"BREAKER": "off"}, Verdict.FAILED, "no breaker for slack"),
    "the plan's 30 s abort": ({"UPSTREAM_TIMEOUT_LONG": "30"}, Verdict.FAILED, "30.0 s"),
    "another number": ({"UPSTREAM_TIMEOUT": "20"}, Verdict.FAILED, "20.0 s"),
    "a route of its own": ({"UPSTREAM_LONG_SEGMENTS": "delay"}, Verdict.FAILED, "went on with"),
    "nothing answers late": ({"DIAGNOSTICS": "off"}, Verdict.INCONCLUSIVE, "no route could be asked without a token"),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_gateway_is_judged_by_what_it_does(kind: str, late: Running, tmp_path: Path) -> None:
    env, verdict, words = CASES[kind]
    url = f"http://127.0.0.1:{late.port}"
    with running(tmp_path, **{"UPSTREAM_SLACK_URL": url, "DIAGNOSTICS": "on", **env}) as gateway:
        reading = read(f"http://127.0.0.1:{gateway.port}")
    assert (reading.verdict, words in reading.measured) == (verdict, True), reading


FOREIGN: dict[str, tuple[Play, Play, Verdict, str]] = {
    # when nobody is in a hurry       with a budget of 1 ms
    "keeps to it": (says(OK, then="keep"), status(504), Verdict.INCONCLUSIVE, "states no deadlines"),
    "ignores it": (says(OK, then="keep"), late_answer(0.1), Verdict.FAILED, "asked for 1 ms at most, got 200"),
    "always says 504": (status(504), status(504), Verdict.INCONCLUSIVE, "no route could be asked"),
    "wants a token": (status(401), status(401), Verdict.INCONCLUSIVE, "no route could be asked"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_gateway_that_states_nothing_never_passes(kind: str) -> None:
    patient, hurried, verdict, words = FOREIGN[kind]

    def play(wire: socket.socket, number: int) -> None:
        asked = foreign.requests[-1]
        if not asked.startswith(b"GET /api/"):
            status(404)(wire, number)
        else:
            (hurried if b"x-deadline-ms" in asked.lower() else patient)(wire, number)

    with RawUpstream(play) as foreign:
        reading = read(foreign.url)
    assert (reading.verdict, words in reading.measured) == (verdict, True), reading
