"""The deadline at its real length: what takes 29.9 s passes, what takes 30.1 s is 504 between 30.0 and 30.5 s."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.helpers.gateway_process import Running, running
from tests.helpers.raw_upstream import RawUpstream, late
from tests.helpers.tokens import bearer

CASES = ((29.9, "/api/v2/slack/x", 200), (30.1, "/api/v2/slack/x", 504), (30.1, "/api/v2/slack/x?q=/ai/", 504),
         (30.1, "/api/v2/slack/ai/x", 200))  # fmt: skip
"""Seconds the upstream takes, the target, and the status that must come; the long deadline goes by the segment."""


def run() -> str:
    """All cases at once, each with an upstream and a gateway of its own."""
    bearer()  # makes the issuer's key, which all four share
    with ThreadPoolExecutor(len(CASES)) as pool:
        found = list(pool.map(_one, CASES))
    return "; ".join(found)


def _one(case: tuple[float, str, int]) -> str:
    seconds, target, status = case
    with (
        tempfile.TemporaryDirectory() as place,
        RawUpstream(late(seconds)) as upstream,
        running(Path(place), UPSTREAM_SLACK_URL=upstream.url) as gateway,
    ):
        took, found = _ask(gateway, target)
    told = f"{seconds:g} s {target} -> {found} after {took:.2f} s"
    assert found == status, told
    assert status != 504 or 30.0 <= took <= 30.5, told
    return told


def _ask(gateway: Running, target: str) -> tuple[float, int]:
    began = time.monotonic()
    answer = gateway.ask("GET", target, timeout=60)
    return time.monotonic() - began, answer.status
