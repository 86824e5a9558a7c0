"""The plan document's "current" state of the four services, as data.

The embedded target deploys this first, so that each step is a visible change with a real before and after.
Sources: plan document, "Critical Findings" (memory), 1.7 (stack traces), 1.8 (localhost origins), 1.9 (debug, plain text logs).
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

_LOGGING_NOW = {"env.LOG_LEVEL": "debug", "env.LOG_FORMAT": "text", "env.LOG_SAMPLE_RATE": "1"}

BASELINE: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        GATEWAY: {
            "memory": "1Gi",
            "cpu": "1",
            "env.ERROR_DETAIL": "full",
            "env.CORS_ALLOWED_ORIGINS": (
                "http://localhost:3000,http://localhost:5173,https://*.xynergy.com,https://xynergy-platform.com"
            ),
            **_LOGGING_NOW,
        },
        SLACK: {"memory": "512Mi", "cpu": "1", **_LOGGING_NOW},
        GMAIL: {"memory": "512Mi", "cpu": "1", **_LOGGING_NOW},
        CRM: {"memory": "512Mi", "cpu": "1", **_LOGGING_NOW},
    }
)
"""Role -> the fields (xgw.resources) its service has before the plan starts."""
