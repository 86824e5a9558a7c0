"""Phase 2 of the plan document: infrastructure.

Where a value or a claim differs from the document, docs/explanation/plan-and-document.md says why.
"""

from __future__ import annotations

from xgw.changes.service import ServiceSpec
from xgw.plan.model import GATEWAY, Claim, Phase, Step
from xgw.probes.compression import answers_are_compressed

PHASE2 = Phase(
    2,
    "Infrastructure",
    (
        Step(
            "2.2",
            "Response compression",
            changes=(ServiceSpec(GATEWAY, env={"COMPRESSION": "on"}),),
            probes=(answers_are_compressed(GATEWAY),),
            requirements=("FR-6",),
            claim=Claim("$20-30 a month at 60-80 % less; that needs 167-250 GiB a month to the internet to begin with"),
        ),
    ),
    left_out=("2.1 VPC access for Redis", "2.3 Slim images"),
)
