"""Phase 1 of the plan document: critical fixes.

Where a value or a claim differs from the document, docs/explanation/plan-and-document.md says why.
"""

from __future__ import annotations

from xgw.changes.service import ServiceSpec
from xgw.plan.model import CRM, GATEWAY, GMAIL, ROLES, SLACK, Claim, Need, Phase, Step
from xgw.probes.contacts import pages_are_bounded_and_whole
from xgw.probes.http import errors_say_nothing_inner, only_listed_origins
from xgw.probes.logs import logs_are_structured_and_sampled
from xgw.probes.memory import memory_fits
from xgw.probes.redis import one_redis_client
from xgw.probes.timeouts import requests_end_in_time
from xgw.probes.websocket import sockets_are_limited

PRODUCTION_ORIGINS = "https://xynergyos.clearforgetech.com,https://xynergy-platform.com,https://*.xynergy.com"

PHASE1 = Phase(
    1,
    "Critical fixes",
    (
        Step(
            "1.1",
            "Gateway memory 512Mi",
            changes=(ServiceSpec(GATEWAY, memory="512Mi"),),
            probes=(memory_fits(GATEWAY),),
            requirements=("PERF-3",),
            claim=Claim(
                "$10-15 a month in the step, $200-300 in the summary; the price list says $3.29 per always-on instance"
            ),
        ),
        Step(
            "1.2",
            "Service memory 256Mi",
            changes=tuple(ServiceSpec(role, memory="256Mi") for role in (GMAIL, SLACK, CRM)),
            probes=tuple(memory_fits(role) for role in (GMAIL, SLACK, CRM)),
            requirements=("DEP-1", "PERF-3"),
            claim=Claim("$50-100 a month per service; the price list says $1.64 per always-on instance"),
        ),
        Step(
            "1.3",
            "One Redis client",
            changes=(ServiceSpec(GATEWAY, env={"REDIS_SHARED_CLIENT": "on"}),),
            probes=(one_redis_client(GATEWAY),),
            requirements=("FR-5",),
            after=Need("2.1", GATEWAY, "vpc"),
            claim=Claim("about 50Mi of memory per gateway instance"),
        ),
        Step(
            "1.4",
            "CRM pagination",
            changes=(ServiceSpec(CRM, env={"CONTACTS_PAGE_DEFAULT": "50", "CONTACTS_PAGE_MAX": "100"}),),
            probes=(pages_are_bounded_and_whole(CRM),),
            requirements=("PERF-2",),
            claim=Claim("$50-75 a month of Firestore reads: 80-95 % of them, where lists are long"),
        ),
        Step(
            "1.5",
            "HTTP request timeouts and breaker",
            changes=(
                ServiceSpec(GATEWAY, env={"UPSTREAM_TIMEOUT": "30", "UPSTREAM_TIMEOUT_LONG": "120", "BREAKER": "on"}),
            ),
            probes=(requests_end_in_time(GATEWAY),),
            requirements=("SR-2",),
        ),
        Step(
            "1.6",
            "Socket limits",
            changes=(ServiceSpec(GATEWAY, env={"WS_MAX_PER_USER": "5", "WS_MAX_TOTAL": "1000"}),),
            probes=(sockets_are_limited(GATEWAY),),
            requirements=("WS-4",),
        ),
        Step(
            "1.7",
            "Production error responses",
            changes=(ServiceSpec(GATEWAY, env={"ERROR_DETAIL": "none"}),),
            probes=(errors_say_nothing_inner(GATEWAY),),
            requirements=("ERR-1",),
        ),
        Step(
            "1.8",
            "Origins by environment",
            changes=(ServiceSpec(GATEWAY, env={"CORS_ALLOWED_ORIGINS": PRODUCTION_ORIGINS}),),
            probes=(only_listed_origins(GATEWAY),),
            requirements=("SEC-4",),
        ),
        Step(
            "1.9",
            "Log level, sampling and JSON",
            changes=tuple(
                ServiceSpec(role, env={"LOG_LEVEL": "info", "LOG_FORMAT": "json", "LOG_SAMPLE_RATE": "0.1"})
                for role in ROLES
            ),
            probes=tuple(logs_are_structured_and_sampled(role) for role in ROLES),
            requirements=("MON-1",),
            claim=Claim("$15-25 a month, 30-40 % of the logging cost"),
        ),
    ),
)
