"""The plan document's "current" state of the four services, as data.

The embedded target deploys this first, so that each step is a visible change with a real before and after.
Sources: plan document, "Critical Findings" (memory), 1.3 (a second Redis client), 1.4 (all contacts in one answer), 1.5 (no
timeouts, no breaker), 1.6 (sockets without limits), 1.7 (stack traces), 1.8 (localhost origins), 1.9 (debug, plain text), 2.2
(nothing is compressed), 3.2 (contacts one by one). That nothing is cached (3.3) needs no value: no route is named to be.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from xgw.plan.model import CRM, GATEWAY, GMAIL, SLACK

DEFAULT_NAMES: Mapping[str, str] = MappingProxyType(
    {
        GATEWAY: "xynergyos-intelligence-gateway",
        SLACK: "slack-intelligence-service",
        GMAIL: "gmail-intelligence-service",
        CRM: "crm-engine",
    }
)
"""The services of the plan document by role; `xgw.toml` may name others."""

REDIS_ADDRESS = "10.0.0.3:6379"
"""The plan's Memorystore instance (2.1): an address inside the VPC, reachable only from there."""

_LOGGING_NOW = {"env.LOG_LEVEL": "debug", "env.LOG_FORMAT": "text", "env.LOG_SAMPLE_RATE": "1"}
_LATE_PATHS = {"env.DIAGNOSTICS": "on"}
"""No state of the plan's: what the probe of step 1.5 measures deadlines with, on the embedded target."""

BASELINE: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        GATEWAY: {
            "memory": "1Gi",
            "cpu": "1",
            "env.ERROR_DETAIL": "full",
            "env.CORS_ALLOWED_ORIGINS": (
                "http://localhost:3000,http://localhost:5173,https://*.xynergy.com,https://xynergy-platform.com"
            ),
            "env.REDIS_URL": f"redis://{REDIS_ADDRESS}",
            "env.REDIS_SHARED_CLIENT": "off",
            "env.RATE_LIMIT_TRUSTED_HOPS": "1",
            "env.UPSTREAM_TIMEOUT": "off",
            "env.BREAKER": "off",
            "env.WS_MAX_PER_USER": "off",
            "env.WS_MAX_TOTAL": "off",
            "env.COMPRESSION": "off",
            **_LATE_PATHS,
            **_LOGGING_NOW,
        },
        SLACK: {"memory": "512Mi", "cpu": "1", **_LATE_PATHS, **_LOGGING_NOW},
        GMAIL: {"memory": "512Mi", "cpu": "1", **_LATE_PATHS, **_LOGGING_NOW},
        CRM: {
            "memory": "512Mi",
            "cpu": "1",
            "env.CONTACTS_PAGE_MAX": "off",
            "env.CONTACTS_BATCH": "off",
            **_LOGGING_NOW,
        },
    }
)
"""Role -> the fields (xgw.resources) its service has before the plan starts."""
