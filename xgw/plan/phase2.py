"""Phase 2 of the plan document: infrastructure.

Where a value or a claim differs from the document, docs/explanation/plan-and-document.md says why.
"""

from __future__ import annotations

from xgw.changes.service import ServiceSpec
from xgw.plan.model import GATEWAY, Claim, Phase, Step
from xgw.probes.compression import answers_are_compressed
from xgw.probes.redis import redis_is_reached

PHASE2 = Phase(
    2,
    "Infrastructure",
    (
        Step(
            "2.1",
            "VPC access for Redis",
            changes=(ServiceSpec(GATEWAY, vpc="direct:default:default", vpc_egress="private-ranges-only"),),
            probes=(redis_is_reached(GATEWAY),),
            requirements=("FR-7", "DEP-2"),
            claim=Claim(
                "$50-100 a month of Firestore reads by caching, less $10 for a connector; direct egress has none"
            ),
        ),
        Step(
            "2.2",
            "Response compression",
            changes=(ServiceSpec(GATEWAY, env={"COMPRESSION": "on"}),),
            probes=(answers_are_compressed(GATEWAY),),
            requirements=("FR-6",),
            claim=Claim("$20-30 a month at 60-80 % less; that needs 167-250 GiB a month to the internet to begin with"),
        ),
    ),
    left_out=("2.3 Slim images",),
)
