"""The settings of the runtime: read once from the environment, checked before anything listens.

Every row of `TABLE` is one environment variable; `docs/reference/gateway-settings.md` is generated from it. Defaults
are the hardened values, so that an unset variable never opens anything (plan 1.7, 1.8: an unset NODE_ENV must not mean
development). An empty variable counts as unset.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from gateway_runtime.origins import OriginPolicy

ROLES = ("gateway", "crm", "slack", "gmail")
LEVELS = ("debug", "info", "warning", "error")


class SettingsFault(Exception):
    """A setting that cannot be used; the message is one line that names the variable."""


@dataclass(frozen=True)
class UpstreamUrl:
    """Where an upstream listens: never taken from a request."""

    tls: bool
    host: str
    port: int
    path: str = ""

    @property
    def authority(self) -> str:
        """What goes into the Host field: the port only when it is not the scheme's own."""
        return self.host if self.port == (443 if self.tls else 80) else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.path}"


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


@dataclass(frozen=True)
class Setting:
    """One environment variable, how it is read and what it means. `parse` raises ValueError saying what would do."""

    env: str
    parse: Callable[[str], Any]
    values: str
    meaning: str
    secret: bool = False

    @property
    def attribute(self) -> str:
        """The field of `Settings` it fills."""
        return self.env.lower()


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return parse


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def _number(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,9})?", text) or not low <= float(text) <= high:
            raise ValueError(f"must be a number from {low:g} to {high:g}")
        return float(text)

    return parse


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", text):
        raise ValueError("must be letters, digits, dots, dashes and underscores, 128 at most")
    return text


def _project(text: str) -> str:
    if not re.fullmatch(r"([a-z0-9.-]{1,100}:)?[a-z][a-z0-9-]{0,62}", text):
        raise ValueError("must be a project id")
    return text


def _database(text: str) -> str:
    if text.startswith((":memory:", "file:")) or "\0" in text:
        raise ValueError("must be the path of a SQLite file that outlives the process")
    return text


def parse_url(text: str) -> UpstreamUrl:
    """The base URL of an upstream; ValueError unless it is plain http(s)://host[:port][/path]."""
    wanted = "must be a base URL like http://host:port, without user, query or fragment"
    if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?", text):
        raise ValueError(wanted)
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        raise ValueError(wanted) from None
    tls = parts.scheme == "https"
    path = parts.path.rstrip("/")
    if not parts.hostname or port == 0 or "//" in path or set(path.split("/")) & {".", ".."}:
        raise ValueError(wanted)
    return UpstreamUrl(tls, parts.hostname, port or (443 if tls else 80), path)


TABLE: tuple[Setting, ...] = (
    Setting("PORT", _whole(1, 65535), "1..65535", "The port to listen on, at 0.0.0.0. Cloud Run sets it."),
    Setting("ROLE", _one_of(*ROLES), " ".join(ROLES), "Which service this process is."),
    Setting(
        "ENVIRONMENT", _name, "a name", "A name for humans and logs. It opens nothing: every switch is its own setting."
    ),
    Setting(
        "ERROR_DETAIL",
        _one_of("none", "full"),
        "none full",
        "`full` puts the stack and the details of a fault into its answer. For development only.",
    ),
    Setting(
        "CORS_ALLOWED_ORIGINS",
        OriginPolicy.parse,
        "comma list",
        "Origins whose pages may call: exact ones, or `https://*.suffix` for every host below a suffix. Unset: none.",
    ),
    Setting("CORS_MAX_AGE", _whole(0, 86400), "0..86400 s", "How long a browser may keep the answer to a preflight."),
    Setting("LOG_LEVEL", _one_of(*LEVELS), " ".join(LEVELS), "The least severe line that is written."),
    Setting(
        "LOG_FORMAT",
        _one_of("json", "text"),
        "json text",
        "`text` writes plain lines, which Cloud Logging cannot sort.",
    ),
    Setting(
        "LOG_SAMPLE_RATE",
        _number(0, 1),
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
        _number(0.05, 3600),
        "0.05..3600 s",
        "The whole time an upstream may take, connecting included.",
    ),
    Setting("CONTACTS_DATABASE", _database, "a path", "The SQLite file of the contacts. Required for the role `crm`."),
    Setting("CONTACTS_TENANT", _name, "a name", "The one tenant this process serves. Required for the role `crm`."),
    Setting("GOOGLE_CLOUD_PROJECT", _project, "a project id", "Makes the trace in a log line a full resource name."),
    Setting("K_SERVICE", _name, "a name", "The service's name in log lines. Cloud Run sets it."),
    Setting("K_REVISION", _name, "a name", "The revision's name in log lines. Cloud Run sets it."),
    Setting("K_CONFIGURATION", _name, "a name", "The configuration's name. Cloud Run sets it."),
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
        for name in ("contacts_database", "contacts_tenant"):
            if not getattr(settings, name):
                raise SettingsFault(f"{name.upper()}: required for ROLE=crm")
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
