"""The settings of the runtime: read once from the environment, checked before anything listens.

Every row of `TABLE` is one environment variable; `docs/reference/gateway-settings.md` is generated from it. Defaults
are the hardened values, so that an unset variable never opens anything (plan 1.7, 1.8: an unset NODE_ENV must not mean
development). An empty variable counts as unset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway_runtime.auth import settings as auth
from gateway_runtime.cache import settings as cache
from gateway_runtime.cache.policy import Policies
from gateway_runtime.contacts import settings as contacts
from gateway_runtime.contacts.settings import PageBound
from gateway_runtime.masking import MASK, of_refused, of_valid
from gateway_runtime.origins import OriginPolicy
from gateway_runtime.server.hosts import HostPolicy
from gateway_runtime.setting_types import (
    Setting,
    UpstreamUrl,
    ipv4,
    listed,
    name,
    number,
    one_of,
    parse_url,
    project,
    whole,
)
from gateway_runtime.shared import settings as shared
from gateway_runtime.shared.settings import Rate
from gateway_runtime.stream import settings as stream
from gateway_runtime.upstream import settings as upstream
from gateway_runtime.upstream.settings import ROUTES, RouteTable

ROLES = ("gateway", "crm", "slack", "gmail")
LEVELS = ("debug", "info", "warning", "error")


class SettingsFault(Exception):
    """A setting that cannot be used; the message is one line that names the variable."""


@dataclass(frozen=True)
class Settings:
    """Everything the process was told, checked. One field per row of `TABLE`."""

    port: int = 8080
    listen_address: str = "0.0.0.0"  # noqa: S104  Cloud Run's container contract
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
    routes: RouteTable = field(default_factory=lambda: RouteTable.parse(ROUTES))
    upstream_timeout: float = 30.0
    upstream_timeout_long: float = 120.0
    upstream_long_segments: str = "ai,generate"
    upstream_stream_idle: float = 60.0
    upstream_connect_timeout: float = 5.0
    upstream_ca_file: str = ""
    upstream_max_in_flight: int = 100
    upstream_queue: int = 100
    upstream_queue_timeout: float = 1.0
    upstream_retries: int = 1
    upstream_retry_budget: float = 0.1
    upstream_retry_pause: float = 0.05
    breaker: str = "on"
    breaker_failure_share: float = 0.5
    breaker_slow_share: float = 0.5
    breaker_slow_after: float = 0.5
    breaker_window: int = 50
    breaker_min_calls: int = 20
    breaker_half_open_calls: int = 3
    breaker_open_seconds: float = 30.0
    breaker_half_open_seconds: float = 150.0
    operator_token: str = ""
    diagnostics: str = "off"
    contacts_store: str = ""
    contacts_page_default: int = 50
    contacts_page_max: PageBound = field(default_factory=lambda: PageBound(100))
    contacts_batch: str = "on"
    contacts_cursor_key: str = ""
    auth_firebase_project: str = ""
    auth_keys: str = ""
    auth_issuer: str = ""
    auth_audience: str = ""
    auth_tenant_claim: str = "tenant"
    auth_user_claim: str = "sub"
    auth_roles_claim: str = "roles"
    auth_leeway: float = 10.0
    auth_keys_refetch: float = 30.0
    auth_keys_stale: float = 86400.0
    auth_remembered: int = 10000
    firebase_auth_emulator_host: str = ""
    server_allowed_hosts: HostPolicy = field(default_factory=HostPolicy)
    server_head_bytes: int = 16384
    server_head_fields: int = 100
    server_url_bytes: int = 8192
    server_head_timeout: float = 10.0
    server_body_timeout: float = 10.0
    server_body_rate: int = 500
    server_write_timeout: float = 20.0
    server_write_rate: int = 2048
    server_idle_timeout: float = 75.0
    server_drain_timeout: float = 6.0
    server_max_connections: int = 2000
    cache: str = "on"
    cache_routes: Policies = field(default_factory=Policies)
    cache_memory: int = 32
    cache_entry_limit: int = 1024
    cache_longest: float = 3600.0
    cache_trust: float = 5.0
    compression: str = "on"
    compression_codings: str = "br,zstd,gzip"
    compression_min_bytes: int = 1024
    compression_brotli_quality: int = 4
    compression_zstd_level: int = 1
    compression_gzip_level: int = 1
    redis_url: str = ""
    redis_pool_max: int = 8
    redis_timeout: float = 0.05
    redis_shared_client: str = "on"
    rate_limit_address: Rate = field(default_factory=lambda: Rate(12000, 60))
    rate_limit_user: Rate = field(default_factory=lambda: Rate(1200, 60))
    rate_limit_trusted_hops: int = 0
    rate_limit_keys: int = 50000
    rate_limit_instances: int = 1
    ws: str = "on"
    ws_max_per_user: float = 5.0
    ws_max_total: float = 1000.0
    ws_lease: float = 30.0
    ws_connect_timeout: float = 10.0
    ws_idle_timeout: float = 300.0
    ws_max_age: float = 3300.0
    ws_ping_interval: float = 25.0
    ws_ping_timeout: float = 60.0
    ws_poll_gap: float = 10.0
    ws_message_bytes: int = 1_000_000
    ws_message_rate: int = 50
    ws_backlog_bytes: int = 1_048_576
    google_cloud_project: str = ""
    k_service: str = ""
    k_revision: str = ""
    k_configuration: str = ""


TABLE: tuple[Setting, ...] = (
    Setting("PORT", whole(1, 65535), "1..65535", "The port to listen on. Cloud Run sets it."),
    Setting("LISTEN_ADDRESS", ipv4, "an IPv4 address", "The address to listen on. Cloud Run needs the default."),
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
    *upstream.ROWS,
    *contacts.ROWS,
    *auth.ROWS,
    Setting(
        "SERVER_ALLOWED_HOSTS",
        HostPolicy.parse,
        "comma list",
        "Hosts a request may name: exact ones, or `*.suffix`; others get 421. Unset: any that is well formed.",
    ),
    Setting("SERVER_HEAD_BYTES", whole(1024, 65536), "1024..65536 B", "The head of a request, else 431."),
    Setting(
        "SERVER_HEAD_FIELDS", whole(8, 1000), "8..1000", "Fields of a request's head, and of its trailer, else 431."
    ),
    Setting("SERVER_URL_BYTES", whole(256, 8192), "256..8192 B", "Path and query of a request, else 414."),
    Setting(
        "SERVER_HEAD_TIMEOUT",
        number(0.1, 300),
        "0.1..300 s",
        "From a connection's start, or a later head's first byte, to the end of that head, else 408.",
    ),
    Setting(
        "SERVER_BODY_TIMEOUT",
        number(0.1, 300),
        "0.1..300 s",
        "The longest pause inside a request's body, else 408. Only while the client is what is waited for.",
    ),
    Setting(
        "SERVER_BODY_RATE",
        whole(0, 1000000),
        "0..1000000 B/s",
        "The slowest a body may arrive on average, after the first SERVER_BODY_TIMEOUT, else 408. 0: any.",
    ),
    Setting(
        "SERVER_WRITE_TIMEOUT",
        number(0.1, 600),
        "0.1..600 s",
        "How long a client may take nothing of an answer that waits for it; then it is cut off.",
    ),
    Setting(
        "SERVER_WRITE_RATE",
        whole(0, 1000000),
        "0..1000000 B/s",
        "The slowest it may take a waiting answer, over SERVER_WRITE_TIMEOUT; then it is cut off. 0: any.",
    ),
    Setting(
        "SERVER_IDLE_TIMEOUT",
        number(0.1, 3600),
        "0.1..3600 s",
        "How long a connection stays open between two requests. Longer than what stands in front keeps its own.",
    ),
    Setting(
        "SERVER_DRAIN_TIMEOUT",
        number(0, 600),
        "0..600 s",
        "How long requests in flight may take after SIGTERM, else 503. Cloud Run kills after 10 s.",
    ),
    Setting(
        "SERVER_MAX_CONNECTIONS",
        whole(1, 100000),
        "1..100000",
        "Open connections; one more gets 503. Never more than three quarters of the file descriptors allowed.",
    ),
    *cache.ROWS,
    Setting("COMPRESSION", one_of("on", "off"), "on off", "Whether answers are compressed for clients that want it."),
    Setting(
        "COMPRESSION_CODINGS",
        listed("br", "zstd", "gzip"),
        "comma list of br zstd gzip",
        "The codings on offer; the first wins among those a client likes equally.",
    ),
    Setting("COMPRESSION_MIN_BYTES", whole(1, 1048576), "1..1048576", "Bytes below which a body goes out as it is."),
    Setting("COMPRESSION_BROTLI_QUALITY", whole(0, 9), "0..9", "Effort for br; 5 takes twice the time of 4."),
    Setting("COMPRESSION_ZSTD_LEVEL", whole(1, 12), "1..12", "Effort for zstd."),
    Setting("COMPRESSION_GZIP_LEVEL", whole(0, 3), "0..3", "Effort for gzip, on isal's own scale."),
    *shared.ROWS,
    *stream.ROWS,
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
            shown = "the value" if setting.secret else ascii(of_refused(text)[:80])
            raise SettingsFault(f"{setting.env}: {shown} {fault}") from None
    try:
        settings = Settings(**auth.completed(values))
    except ValueError as fault:
        raise SettingsFault(str(fault)) from None
    if settings.role == "crm" and not settings.contacts_store:
        moved = "; CONTACTS_DATABASE=PATH is now CONTACTS_STORE=sqlite://PATH" if "CONTACTS_DATABASE" in env else ""
        raise SettingsFault(f"CONTACTS_STORE: required for ROLE=crm{moved}")
    return settings


def show(settings: Settings, table: tuple[Setting, ...] = TABLE) -> str:
    """The settings as `NAME=value` lines for `--show-settings`; secrets, passwords and queries of URLs masked."""
    lines = []
    for setting in table:
        value = getattr(settings, setting.attribute)
        text = "" if value is None else _shown(value) if isinstance(value, float) else of_valid(str(value))
        lines.append(f"{setting.env}={MASK if setting.secret and text else text}\n")
    return "".join(lines)


def _shown(value: float) -> str:
    return "off" if value == upstream.OFF else f"{value:g}"


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
process would run with. What a setting points to is looked for later: without the keys in AUTH_KEYS protected requests
get 503, and the log says why.

| variable | default | values | meaning |
|---|---|---|---|"""
