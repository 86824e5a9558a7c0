"""What `xgw` was told: flags, then XGW_* variables, then xgw.toml, then defaults; each value with its origin.

The schema is the table `SCALARS` plus one free table, `overrides`. A key that is in neither is refused with its line
and the nearest known name: a misspelt limit that is silently ignored would be a limit that does not hold.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from xgw.config_file import Entry, fault_at, read_entries
from xgw.errors import UsageFault

CONFIG_NAME = "xgw.toml"
ROLES = ("gateway", "slack", "gmail", "crm")
"""As in xgw.plan.model. Said again (and held equal by a test) so that reading settings loads no phase."""
ANY_ROLE = "*"
"""Stands in `Settings.overrides` for "every service of the step"."""


@dataclass(frozen=True)
class Limits:
    """What measured values are held against. Defaults: the plan document's performance targets."""

    p95_ms: int = 200
    error_share: float = 0.01
    memory_share: float = 0.8
    measure_seconds: int = 240
    """How long a probe waits for the platform's own samples and log lines before it is inconclusive."""


@dataclass(frozen=True)
class Settings:
    """The settings of one invocation. `project` None means the local target; `origins` says where each value came from.

    `overrides` maps a step to a role (or `ANY_ROLE`) to fields as `xgw.resources` spells them ("memory", "env.NAME").
    """

    home: Path
    project: str | None = None
    region: str = "us-central1"
    environment: str = "production"
    services: Mapping[str, str] = field(default_factory=dict)
    redis_address: str = "10.0.0.3:6379"
    limits: Limits = Limits()
    overrides: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    config: Path | None = None
    origins: Mapping[str, str] = field(default_factory=dict)


def override(settings: Settings, step: str, role: str) -> dict[str, str]:
    """The fields xgw.toml wishes for this service in this step; what is said for the role wins over the whole step."""
    found = settings.overrides.get(step, {})
    return {**found.get(ANY_ROLE, {}), **found.get(role, {})}


def value_of(settings: Settings, name: str) -> str | float | None:
    """The value in force for a key of `SCALARS`, as "limits.p95_ms"."""
    table, _, key = name.partition(".")
    if not key:
        value = getattr(settings, table)
    elif table == "services":
        value = settings.services[key]
    else:
        value = getattr(settings.limits, key) if table == "limits" else getattr(settings, f"{table}_{key}")
    return value  # type: ignore[no-any-return]


def _matching(pattern: str, wanted: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value
        raise ValueError(wanted)

    return check


def _number(kind: type[int] | type[float], low: float, high: float, wanted: str) -> Callable[[object], float]:
    def check(value: object) -> float:
        try:
            number = kind(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError(wanted) from None
        allowed = (int,) if kind is int else (int, float)
        if isinstance(number, allowed) and not isinstance(number, bool) and low < number <= high:
            return kind(number)
        raise ValueError(wanted)

    return check


@dataclass(frozen=True)
class Scalar:
    """One setting: its check (raises ValueError saying what is wanted), its variable and its flag where it has them."""

    check: Callable[[object], str | float]
    default: str | float | None
    variable: str = ""
    flag: str = ""


_service_name = _matching(r"[a-z]([a-z0-9-]{0,47}[a-z0-9])?", "a Cloud Run service name: a-z, 0-9 and -, at most 49")

SCALARS: Mapping[str, Scalar] = MappingProxyType(
    {
        "project": Scalar(
            _matching(r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]", "a Google Cloud project id, as in my-project-1"),
            None,
            "XGW_PROJECT",
            "--project",
        ),
        "region": Scalar(
            _matching(r"[a-z]+(-[a-z]+)+[0-9]+", "a Google Cloud region, as in us-central1"),
            Settings.region,
            "XGW_REGION",
            "--region",
        ),
        "environment": Scalar(
            _matching(r"[a-z][a-z0-9-]{0,30}", "a short lower-case name, as in production"),
            Settings.environment,
            "XGW_ENVIRONMENT",
        ),
        "services.gateway": Scalar(_service_name, "xynergyos-intelligence-gateway"),
        "services.slack": Scalar(_service_name, "slack-intelligence-service"),
        "services.gmail": Scalar(_service_name, "gmail-intelligence-service"),
        "services.crm": Scalar(_service_name, "crm-engine"),
        "redis.address": Scalar(
            _matching(r"[A-Za-z0-9._-]+:[0-9]{1,5}", "HOST:PORT, as in 10.0.0.3:6379"),
            Settings.redis_address,
            "XGW_REDIS_ADDRESS",
        ),
        "limits.p95_ms": Scalar(_number(int, 0, 600_000, "whole milliseconds above 0"), Limits.p95_ms),
        "limits.error_share": Scalar(_number(float, 0, 1, "a share: 0.01 is 1%"), Limits.error_share),
        "limits.memory_share": Scalar(_number(float, 0, 1, "a share: 0.8 is 80%"), Limits.memory_share),
        "limits.measure_seconds": Scalar(
            _number(int, 0, 3600, "whole seconds, at most 3600"), Limits.measure_seconds, "XGW_MEASURE_SECONDS"
        ),
    }
)

FIELDS: Mapping[str, Callable[[object], str]] = MappingProxyType(
    {
        "memory": _matching(r"[1-9][0-9]*(Mi|Gi|M|G)", "memory as Cloud Run spells it, as in 512Mi"),
        "cpu": _matching(r"[1-9][0-9]*|0\.[0-9]+|[1-9][0-9]*m", 'vCPU as a string, as in "1" or "0.5"'),
        "concurrency": _matching(r"[1-9][0-9]{0,3}", 'requests at a time, as a string: "80"'),
        "timeout": _matching(r"[1-9][0-9]*s", 'seconds, as in "300s"'),
        "execution_environment": _matching(r"gen1|gen2", "gen1 or gen2"),
        "vpc": _matching(
            r"direct:[^:\s]*:[^:\s]+(:[^:\s]+)?|direct:[^:\s]+:|connector:\S+",
            "direct:NETWORK:SUBNETWORK or connector:NAME",
        ),
        "vpc_egress": _matching(r"private-ranges-only|all-traffic", "private-ranges-only or all-traffic"),
    }
)
"""The fields of a service that an override may set, besides its `env` table."""

_step_id = re.compile(r"[1-4]\.[1-9][0-9]?")
_secret = re.compile(r"secret:((?:projects/[a-z0-9-]+/secrets/)?[A-Za-z0-9_-]{1,255})(?:/(latest|[1-9][0-9]*))?")
_env_name = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def state_home(environ: Mapping[str, str] | None = None) -> Path:
    """Where all state lives: XGW_HOME, else the platform's state directory. Nothing is created."""
    told = (os.environ if environ is None else environ).get("XGW_HOME")
    if told:
        return Path(told).expanduser().absolute()
    from platformdirs import user_state_dir

    return Path(user_state_dir("xgw", appauthor=False))


def config_path(flag: str | None, environ: Mapping[str, str], cwd: Path) -> tuple[Path | None, str]:
    """The file to read and who named it. A file that was named must exist; ./xgw.toml need not."""
    if flag == "":
        raise UsageFault(
            "--config names no file",
            cause="it is empty; in a script, a variable may not be set",
            fix="--config FILE, or leave it out",
        )
    for told, origin in ((flag, "--config"), (environ.get("XGW_CONFIG"), "XGW_CONFIG")):
        if told:
            path = cwd / Path(told).expanduser()
            if not path.is_file():
                raise UsageFault(
                    f"the configuration file {told} is not there",
                    cause=f"{origin} names it, and {path} is not a file",
                    fix="name another file, or write one: xgw init",
                )
            return path, origin
    path = cwd / CONFIG_NAME
    return (path, "found here") if path.is_file() else (None, "")


def load(
    flags: Mapping[str, str | None] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Settings:
    """The settings for these flags ("project", "region", "config"), this environment and this directory.

    UsageFault names the origin of the first value that cannot be used.
    """
    flags = flags or {}
    environ = os.environ if environ is None else environ
    path, _ = config_path(flags.get("config"), environ, cwd or Path.cwd())
    entries = read_entries(path) if path else {}
    overrides = {key: entry for key, entry in entries.items() if key[0] == "overrides"}
    scalars = {".".join(key): entry for key, entry in entries.items() if key not in overrides}
    for name, entry in scalars.items():
        if name not in SCALARS:
            raise fault_at(entry, f"unknown key {name}", near=(name, [*SCALARS, "overrides"]))
    values: dict[str, str | float | None] = {}
    origins: dict[str, str] = {}
    for name, scalar in SCALARS.items():
        values[name], origins[name] = _choose(name, scalar, flags, environ, scalars.get(name))
    _refuse_shared_services(values, origins)
    read = _overrides(overrides)
    origins.update({".".join(key): entry.where for key, entry in overrides.items()})
    return _frozen(values, read, home=state_home(environ), config=path, origins=origins)


def _choose(
    name: str,
    scalar: Scalar,
    flags: Mapping[str, str | None],
    environ: Mapping[str, str],
    entry: Entry | None,
) -> tuple[str | float | None, str]:
    """The value that wins, checked, and its origin. An empty variable counts as unset; an empty flag does not."""
    flag = flags.get(name)
    variable = environ.get(scalar.variable) if scalar.variable else None
    try:
        if flag is not None:
            return scalar.check(flag), f"flag {scalar.flag}"
        if variable:
            return scalar.check(variable), f"variable {scalar.variable}"
    except ValueError as wanted:
        told = scalar.flag if flag is not None else scalar.variable
        raise UsageFault(
            f"{told} is {_shown(flag if flag is not None else variable)}, which cannot be used",
            cause=f"{name} wants {wanted}",
            fix=f"correct {told}, or leave it out",
        ) from None
    if entry is None:
        return scalar.default, "default"
    try:
        return scalar.check(entry.value), entry.where
    except ValueError as wanted:
        raise fault_at(entry, f"{name} is {_shown(entry.value)}, and wants {wanted}") from None


def _refuse_shared_services(values: Mapping[str, str | float | None], origins: Mapping[str, str]) -> None:
    """Two roles on one service would write over each other's values, step by step."""
    named: dict[object, str] = {}
    for key in (f"services.{role}" for role in ROLES):
        other = named.setdefault(values[key], key)
        if other != key:
            told = key if origins[key] != "default" else other
            raise UsageFault(
                f"{origins[told]}: {other} and {key} are both {values[key]!r}",
                cause="each role is a service of its own: the plan writes different values to them",
                fix=f"name another service in {told}",
            )


def _overrides(entries: Mapping[tuple[str, ...], Entry]) -> dict[str, dict[str, dict[str, str]]]:
    """step -> role or ANY_ROLE -> field -> value, from [overrides."STEP"] and [overrides."STEP".ROLE]."""
    read: dict[str, dict[str, dict[str, str]]] = {}
    for key, entry in entries.items():
        if len(key) < 3 or not _step_id.fullmatch(key[1]):
            raise fault_at(entry, f"{'.'.join(key)} is not an override", fix='write [overrides."1.8"], then its fields')
        role, rest = (key[2], key[3:]) if key[2] in ROLES else (ANY_ROLE, key[2:])
        name, value = _override_field(entry, rest)
        read.setdefault(key[1], {}).setdefault(role, {})[name] = value
    return read


def _override_field(entry: Entry, key: tuple[str, ...]) -> tuple[str, str]:
    if len(key) == 2 and key[0] == "env":
        if not _env_name.fullmatch(key[1]):
            raise fault_at(entry, f"{key[1]!r} is not the name of an environment variable")
        return f"env.{key[1]}", _variable(entry, key[1])
    name = ".".join(key)
    check = FIELDS.get(name)
    if check is None:
        raise fault_at(entry, f"an override has no field {name!r}", near=(name, [*FIELDS, "env", *ROLES]))
    try:
        return name, check(entry.value)
    except ValueError as wanted:
        raise fault_at(entry, f"{name} is {_shown(entry.value)}, and wants {wanted}") from None


def _shown(value: object) -> str:
    """A value in a fault: what was typed, but for a password inside."""
    from xgw.masking import readable

    return readable(repr(value))


def _variable(entry: Entry, name: str) -> str:
    """A value of an override's `env`: a secret reference in full, or a literal that is no secret."""
    from xgw.masking import is_secret

    value = entry.value
    if isinstance(value, str) and value.startswith("secret:"):
        found = _secret.fullmatch(value)
        if not found:
            raise fault_at(
                entry, f"env.{name} is no reference to a secret", fix='"secret:NAME" or "secret:NAME/VERSION"'
            )
        return f"secret:{found[1]}/{found[2] or 'latest'}"
    if is_secret(name, str(value)):
        fix = f'refer to Secret Manager: {name} = "secret:NAME"'
        raise fault_at(entry, f"env.{name} looks like a secret in clear; it would be shown and recorded", fix=fix)
    if not isinstance(value, str):
        raise fault_at(entry, f"env.{name} is {value!r}, and wants a string", fix=f'"{value}"')
    return f"literal:{value}" if value.startswith(("literal:", "masked:")) else value


def _frozen(
    values: Mapping[str, str | float | None],
    overrides: Mapping[str, Mapping[str, Mapping[str, str]]],
    *,
    home: Path,
    config: Path | None,
    origins: Mapping[str, str],
) -> Settings:
    project = values["project"]
    return Settings(
        home=home,
        project=None if project is None else str(project),
        region=str(values["region"]),
        environment=str(values["environment"]),
        services=MappingProxyType({role: str(values[f"services.{role}"]) for role in ROLES}),
        redis_address=str(values["redis.address"]),
        limits=Limits(
            p95_ms=int(values["limits.p95_ms"] or 0),
            error_share=float(values["limits.error_share"] or 0),
            memory_share=float(values["limits.memory_share"] or 0),
            measure_seconds=int(values["limits.measure_seconds"] or 0),
        ),
        overrides=MappingProxyType(dict(overrides)),
        config=config,
        origins=MappingProxyType(dict(origins)),
    )
