"""The plan: its phases as data."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xgw.plan.model import Phase, Step
    from xgw.settings import Settings


def phases(settings: Settings | None = None) -> tuple[Phase, ...]:
    """Every phase that can be carried out, in order, with what xgw.toml overrides for this deployment."""
    from xgw.plan.phase1 import PHASE1
    from xgw.plan.phase2 import PHASE2
    from xgw.plan.phase3 import PHASE3

    return tuple(_overridden(phase, settings) if settings else phase for phase in (PHASE1, PHASE2, PHASE3))


def steps(settings: Settings | None = None) -> dict[str, Step]:
    """Step id -> step, over all phases."""
    return {step.id: step for phase in phases(settings) for step in phase.steps}


def _overridden(phase: Phase, settings: Settings) -> Phase:
    from xgw.changes.service import ServiceSpec
    from xgw.settings import override

    return replace(
        phase,
        steps=tuple(
            replace(
                step,
                changes=tuple(
                    replace(change, overrides=override(settings, step.id, change.role))
                    if isinstance(change, ServiceSpec)
                    else change
                    for change in step.changes
                ),
            )
            for step in phase.steps
        ),
    )
