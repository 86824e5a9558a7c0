"""Phase 3 of the plan document: performance.

Where a value or a claim differs from the document, docs/explanation/plan-and-document.md says why.
"""

from __future__ import annotations

from xgw.changes.service import ServiceSpec
from xgw.plan.model import CRM, GATEWAY, Claim, Phase, Step
from xgw.probes.batch import batches_beat_single_creation
from xgw.probes.cache import equal_requests_hit_and_others_do_not

CACHE_ROUTES = (
    "/api/v2/crm/contacts ttl=30 scope=tenant stale=30 error=300, "
    "/api/v2/slack ttl=30 scope=user stale=30 error=300, "
    "/api/v2/gmail ttl=30 scope=user stale=30 error=300"
)
"""A contact is the tenant's; what Slack and Gmail show is the user's."""

PHASE3 = Phase(
    3,
    "Performance",
    (
        Step(
            "3.2",
            "Batch creation of contacts",
            changes=(ServiceSpec(CRM, env={"CONTACTS_BATCH": "on"}),),
            probes=(batches_beat_single_creation(CRM),),
            requirements=("PERF-2",),
            claim=Claim("10x as fast; fewer calls, though Firestore bills each write all the same"),
        ),
        Step(
            "3.3",
            "Cache keys",
            changes=(ServiceSpec(GATEWAY, env={"CACHE_ROUTES": CACHE_ROUTES}),),
            probes=(equal_requests_hit_and_others_do_not(GATEWAY),),
            requirements=("FR-7",),
            high_risk=True,
            why="a wrong key shows one tenant another's data",
        ),
    ),
    left_out=("3.1 Load test and CPU", "3.4 Custom metrics"),
)
