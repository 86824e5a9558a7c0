"""The settings of the runtime: read once from the environment, checked before anything listens.

Every row of `TABLE` is one environment variable; `docs/reference/gateway-settings.md` is generated from it. Defaults
are the hardened values, so that an unset variable never opens anything (plan 1.7, 1.8: an unset NODE_ENV must not mean
development). An empty variable counts as unset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway_runtime.origins import OriginPolicy
from gateway_runtime.setting_types import (
    Setting,
    UpstreamUrl,
    database,
    name,
    number,
    one_of,
    parse_url,
    project,
    whole,
)

ROLES = ("gateway", "crm", "slack", "gmail")
LEVELS = ("debug", "info", "warning", "error")


class SettingsFault(Exception):
    """A setting that cannot be used; the message is one line that names the variable."""


@dataclass(frozen=True)
class Settings:
    """Everything the process was told, checked. One field per row of `TABLE`."""

    port: int = 8080
    role: str = "gateway"
    environment: str = "production"
    error_detail: str = "none"
    cors_allowed_origins: OriginPolicy = field(default_factory=OriginPolicy)
    cors_max_age: int = 7200
    log_level: str = "info"
    log_format: str = "json"
    log_sample_rate: float = 1.0
    upstream_crm_url: UpstreamUrl | None = None
    upstream_slack_url: UpstreamUrl | None = None
    upstream_gmail_url: UpstreamUrl | None = None
    upstream_timeout: float = 30.0
    contacts_database: str = ""
    contacts_tenant: str = ""
    google_cloud_project: str = ""
    k_service: str = ""
    k_revision: str = ""
    k_configuration: str = ""


TABLE: tuple[Setting, ...] = (
    Setting("PORT", whole(1, 65535), "1..65535", "The port to listen on, at 0.0.0.0. Cloud Run sets it."),
    Setting("ROLE", one_of(*ROLES), " ".join(ROLES), "Which service this process is."),
    Setting(
        "ENVIRONMENT", name, "a name", "A name for humans and logs. It opens nothing: every switch is its own setting."
    ),
    Setting(
        "ERROR_DETAIL",
        one_of("none", "full"),
        "none full",
        "`full` puts the stack and the details of a fault into its answer. For development only.",
    ),
    Setting(
        "CORS_ALLOWED_ORIGINS",
        OriginPolicy.parse,
        "comma list",
        "Origins whose pages may call: exact ones, or `https://*.suffix` for every host below a suffix. Unset: none.",
    ),
    Setting("CORS_MAX_AGE", whole(0, 86400), "0..86400 s", "How long a browser may keep the answer to a preflight."),
    Setting("LOG_LEVEL", one_of(*LEVELS), " ".join(LEVELS), "The least severe line that is written."),
    Setting(
        "LOG_FORMAT",
        one_of("json", "text"),
        "json text",
        "`text` writes plain lines, which Cloud Logging cannot sort.",
    ),
    Setting(
        "LOG_SAMPLE_RATE",
        number(0, 1),
        "0..1",
        "Share of the requests answered below 400 whose lines are kept, by whole requests. Errors are always kept.",
    ),
    Setting("UPSTREAM_CRM_URL", parse_url, "a base URL", "Where the CRM engine listens. Unset: its routes answer 503."),
    Setting(
        "UPSTREAM_SLACK_URL", parse_url, "a base URL", "Where the Slack service listens. Unset: its routes answer 503."
    ),
    Setting(
        "UPSTREAM_GMAIL_URL", parse_url, "a base URL", "Where the Gmail service listens. Unset: its routes answer 503."
    ),
    Setting(
        "UPSTREAM_TIMEOUT",
        number(0.05, 3600),
        "0.05..3600 s",
        "The whole time an upstream may take, connecting included.",
    ),
    Setting("CONTACTS_DATABASE", database, "a path", "The SQLite file of the contacts. Required for the role `crm`."),
    Setting("CONTACTS_TENANT", name, "a name", "The one tenant this process serves. Required for the role `crm`."),
    Setting("GOOGLE_CLOUD_PROJECT", project, "a project id", "Makes the trace in a log line a full resource name."),
    Setting("K_SERVICE", name, "a name", "The service's name in log lines. Cloud Run sets it."),
    Setting("K_REVISION", name, "a name", "The revision's name in log lines. Cloud Run sets it."),
    Setting("K_CONFIGURATION", name, "a name", "The configuration's name. Cloud Run sets it."),
)
"""Every environment variable the runtime reads, in the order it is checked."""


def read(env: Mapping[str, str]) -> Settings:
    """The settings in an environment; SettingsFault names the first that is wrong."""
    values: dict[str, Any] = {}
    for setting in TABLE:
        text = env.get(setting.env, "")
        if not text:
            continue
        try:
            values[setting.attribute] = setting.parse(text)
        except ValueError as fault:
            shown = "the value" if setting.secret else ascii(text[:80])
            raise SettingsFault(f"{setting.env}: {shown} {fault}") from None
    settings = Settings(**values)
    if settings.role == "crm":
        for needed in ("contacts_database", "contacts_tenant"):
            if not getattr(settings, needed):
                raise SettingsFault(f"{needed.upper()}: required for ROLE=crm")
    return settings


def show(settings: Settings, table: tuple[Setting, ...] = TABLE) -> str:
    """The settings as `NAME=value` lines, secrets masked, for `--show-settings`."""
    lines = []
    for setting in table:
        value = getattr(settings, setting.attribute)
        text = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
        lines.append(f"{setting.env}={'********' if setting.secret and text else text}\n")
    return "".join(lines)


def reference() -> str:
    """docs/reference/gateway-settings.md."""
    default = {line.partition("=")[0]: line.partition("=")[2] for line in show(Settings()).splitlines()}
    rows = [
        f"| `{s.env}` | {f'`{default[s.env]}`' if default[s.env] else 'unset'} | {s.values} | {s.meaning} |"
        for s in TABLE
    ]
    return "\n".join((_HEAD, *rows, ""))


_HEAD = """\
# Settings of the gateway runtime

Generated from the table in `gateway_runtime/settings.py` by `python -m gateway_runtime --settings-reference`;
a test compares. They are read once, at start, from the environment. The first one that is wrong is named on stderr and
the process ends with 2. An empty variable counts as unset. `python -m gateway_runtime --show-settings` prints what a
process would run with.

| variable | default | values | meaning |
|---|---|---|---|"""
