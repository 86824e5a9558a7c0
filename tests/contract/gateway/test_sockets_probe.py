"""Step 1.6 against real gateways: its probe fails on the plan's "current" state and passes after the step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.helpers.gateway_process import Running, running
from tests.helpers.stream_client import counted, raw, user_token
from xgw.errors import Unreachable
from xgw.plan.baseline import BASELINE
from xgw.plan.model import GATEWAY, Reading, Subject, Verdict
from xgw.plan.phase1 import PHASE1

STEP = next(step for step in PHASE1.steps if step.id == "1.6")
AFTER = {name.removeprefix("env."): value for name, value in STEP.changes[0].wanted().items()}


def measured(port: int, only: str = "") -> Reading:
    """What the probe reads; `only` is for a target where there is one user for everything."""

    def token(*, tenant: str = "", user: str = "") -> str:
        return user_token(only or user)

    (probe,) = STEP.probes
    subject = Subject(
        target=SimpleNamespace(token=token),  # type: ignore[arg-type]
        where="candidate",
        urls={GATEWAY: f"http://127.0.0.1:{port}"},
        revisions={},
        wanted={GATEWAY: STEP.changes[0].wanted()},
    )
    return probe.measure(subject)


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("after"), **AFTER) as gateway:
        yield gateway


def test_it_fails_before_the_step(tmp_path: Path) -> None:
    now = {name: BASELINE[GATEWAY][f"env.{name}"] for name in AFTER}
    assert set(now.values()) == {"off"}
    with running(tmp_path, **now) as gateway:
        found = measured(gateway.port)
    assert (found.verdict, found.measured) == (Verdict.FAILED, "6 of 6 sockets of one user let in")


def test_it_passes_after_the_step_and_again(after: Running) -> None:
    for _ in range(2):
        found = measured(after.port)
        assert found.verdict == Verdict.PASSED, found
        assert found.measured == "5 let in, the next refused: MAX_CONNECTIONS_EXCEEDED; 5 of 1000 stated"
        counted(after, 0)


def test_another_limit_fails(tmp_path: Path) -> None:
    with running(tmp_path, **{**AFTER, "WS_MAX_TOTAL": "999"}) as gateway:
        found = measured(gateway.port)
    assert (found.verdict, found.measured) == (Verdict.FAILED, "/health/deep states 5 a user and 999 in all")


def test_a_page_of_anybody_that_gets_a_socket_fails(tmp_path: Path) -> None:
    with running(tmp_path, **AFTER, CORS_ALLOWED_ORIGINS="https://evil.example") as gateway:
        found = measured(gateway.port)
    assert (found.verdict, found.measured) == (Verdict.FAILED, "a page of https://evil.example gets a socket")


def test_sockets_of_somebody_else_prove_nothing(after: Running) -> None:
    with raw(after) as other:
        other.connect(user_token("shared"))
        found = measured(after.port, "shared")
    assert found.verdict == Verdict.INCONCLUSIVE
    counted(after, 0)


def test_a_service_without_a_stream_is_not_measured(tmp_path: Path) -> None:
    with running(tmp_path, WS="off") as gateway, pytest.raises(Unreachable, match="does not answer"):
        measured(gateway.port)
