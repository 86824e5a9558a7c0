"""Faults on purpose: `XGW_FAULT=POINT[#N]:KIND` makes the N-th passing of a named point go wrong. Local target only.

    crash        the process is gone (SIGKILL), as after a power cut
    exception    the code after the point is not reached
    lost-answer  what was sent was done, but the answer never came
    delay        two seconds pass

The points stand where a crash could matter: before and after each durable record, and around each RPC that writes.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from xgw.errors import Unreachable, UsageFault, XgwError

POINTS = (
    "run-recorded",
    "intent-recorded",
    "update-sending",
    "update-sent",
    "change-made",
    "applied-recorded",
    "evidence-recorded",
    "promoting-recorded",
    "traffic-moved",
    "promoted-recorded",
    "outcome-recorded",
    "reverting-recorded",
    "put-back",
    "reverted-recorded",
)
IMPORT_POINTS = (
    "import-begun",
    "batch-intended",
    "batch-sent",
    "pictures-kept",
    "updates-sent",
    "batch-settled",
    "import-ended",
    "rejects-written",
    "undo-recorded",
    "undo-sent",
    "undo-settled",
)
"""Those of `xgw contacts import` and `undo`; of any store but a real Firestore."""
KINDS = ("crash", "exception", "lost-answer", "delay")


class InjectedFault(XgwError):
    """The fault that XGW_FAULT asked for."""


_armed: dict[str, tuple[int, str]] = {}
_passed: dict[str, int] = {}
_watch: list[Callable[[str], None]] = []


def arm(spec: str) -> None:
    """Take one `POINT[#N]:KIND`. An empty spec disarms. Raises UsageFault for an unknown point or kind."""
    _armed.clear()
    _passed.clear()
    if not spec:
        return
    place, _, kind = spec.partition(":")
    point, _, nth = place.partition("#")
    if point not in (*POINTS, *IMPORT_POINTS) or kind not in KINDS or not (nth or "1").isdigit():
        raise UsageFault(
            f"XGW_FAULT={spec!r} is not a fault",
            cause="the form is POINT[#N]:KIND",
            fix=f"points: {', '.join((*POINTS, *IMPORT_POINTS))}; kinds: {', '.join(KINDS)}",
        )
    _armed[point] = (int(nth or "1"), kind)


def watch(callback: Callable[[str], None] | None) -> None:
    """Tell `callback` every point passed (tests enumerate the points of a run with it); None stops."""
    _watch[:] = [callback] if callback else []


def reach(point: str) -> None:
    """Pass a named point."""
    for callback in _watch:
        callback(point)
    if point not in _armed:
        return
    _passed[point] = _passed.get(point, 0) + 1
    nth, kind = _armed[point]
    if _passed[point] != nth:
        return
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "delay":
        time.sleep(2)
    if kind == "lost-answer":
        raise Unreachable(
            f"the answer was lost at {point}", cause="XGW_FAULT asked for it", fix="run the same command again"
        )
    if kind == "exception":
        raise InjectedFault(
            f"the run broke at {point}", cause="XGW_FAULT asked for it", fix="run the same command again"
        )
