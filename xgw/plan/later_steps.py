"""Steps of later phases that can be carried out already; they join their phase when it is there.

Each needs a "current" state to be seen against: COMPRESSION=off and no CACHE_ROUTES in the baseline's gateway, and
CONTACTS_BATCH=off in its crm.
"""

from __future__ import annotations

from xgw.changes.service import ServiceSpec
from xgw.plan.model import CRM, GATEWAY, Claim, Step
from xgw.probes.batch import batches_beat_single_creation
from xgw.probes.cache import Tokens, equal_requests_hit_and_others_do_not
from xgw.probes.compression import answers_are_compressed

CACHE_ROUTES = (
    "/api/v2/crm/contacts ttl=30 scope=tenant stale=30 error=300, "
    "/api/v2/slack ttl=30 scope=user stale=30 error=300, "
    "/api/v2/gmail ttl=30 scope=user stale=30 error=300"
)
"""A contact is the tenant's; what Slack and Gmail show is the user's."""

COMPRESSION = Step(
    "2.2",
    "Response compression",
    changes=(ServiceSpec(GATEWAY, env={"COMPRESSION": "on"}),),
    probes=(answers_are_compressed(GATEWAY),),
    requirements=("FR-6",),
    claim=Claim("$20-30 a month at 60-80 % less; that needs 167-250 GiB a month to the internet to begin with"),
)

BATCH_CREATION = Step(
    "3.2",
    "Batch creation of contacts",
    changes=(ServiceSpec(CRM, env={"CONTACTS_BATCH": "on"}),),
    probes=(batches_beat_single_creation(CRM),),
    requirements=("PERF-2",),
    claim=Claim("10x as fast; fewer calls, though Firestore bills each write all the same"),
)


def cache_keys(tokens: Tokens) -> Step:
    """Step 3.3; `tokens` makes a token of a tenant for the target."""
    return Step(
        "3.3",
        "Cache keys",
        changes=(ServiceSpec(GATEWAY, env={"CACHE_ROUTES": CACHE_ROUTES}),),
        probes=(equal_requests_hit_and_others_do_not(GATEWAY, tokens),),
        requirements=("FR-7",),
        high_risk=True,
        why="a wrong key shows one tenant another's data",
    )
