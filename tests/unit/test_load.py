"""What a load says of itself, and what is made of that."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from xgw.cli import demo
from xgw.errors import ExitCode, XgwError
from xgw.load.generator import LoadResult
from xgw.plan.model import GATEWAY, Subject, Verdict
from xgw.probes import memory
from xgw.settings import Limits

NOW = datetime.now(UTC)
CAUGHT: Any = SimpleNamespace(exit_code=ExitCode.MISSED, id=3)


def load(failed: int, late: int, refused: int = 0) -> LoadResult:
    """`refused` of those that failed were answered, with 5xx."""
    answered = (0.01,) * (300 - failed + refused)
    return LoadResult(sent=300, failed=failed, good=300 - failed, latencies=answered, late=late, began=NOW, ended=NOW)


@pytest.mark.parametrize(
    ("failed", "late", "doubtful"), [(0, 0, False), (0, 50, False), (14, 13, False), (14, 14, True), (14, 90, True)]
)
def test_failures_are_doubtful_when_as_many_requests_were_sent_late(failed: int, late: int, doubtful: bool) -> None:
    assert load(failed, late).doubtful is doubtful


def test_an_answer_that_is_a_failure_is_one_however_late_requests_were_sent() -> None:
    assert load(14, 90, refused=14).doubtful is False
    assert load(14, 90, refused=1).doubtful is False


def test_a_memory_reading_whose_load_is_doubtful_is_inconclusive_and_else_failed() -> None:
    logs = SimpleNamespace(lines=lambda *_, **__: [])
    target = SimpleNamespace(names={GATEWAY: "g"}, logs=logs, settings=SimpleNamespace(limits=Limits()))
    subject = cast(Subject, SimpleNamespace(target=target, revisions={GATEWAY: "g-1"}))
    told = memory._broken(subject, GATEWAY, load(14, 20), "")
    assert (told.verdict, "20 were sent late" in told.measured) == (Verdict.INCONCLUSIVE, True)
    assert memory._broken(subject, GATEWAY, load(14, 0), "").verdict is Verdict.FAILED


def test_the_demo_says_when_its_machine_was_too_busy_and_fails_when_requests_failed_without_that() -> None:
    assert demo._told(load(0, 40)) == "Meanwhile 300 requests to the live gateway: 0 failed."
    assert "14 failed; 20 were sent late, so this machine was too busy to tell." in demo._told(load(14, 20))
    demo._require_caught(CAUGHT, load(14, 20))
    with pytest.raises(XgwError):
        demo._require_caught(CAUGHT, load(14, 2))
