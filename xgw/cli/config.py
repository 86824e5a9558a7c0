"""`xgw config`: the settings in force, and where each came from."""

from __future__ import annotations

import click

from xgw.cli.group import Table, lazy_group
from xgw.cli.options import Invocation, leaf, show
from xgw.report import Report, Value, safe

COMMANDS: Table = {
    "Commands": {
        "show": ("xgw.cli.config:show_config", "The settings in force."),
        "path": ("xgw.cli.config:path", "Where xgw.toml, the state and the ledger are."),
    }
}

config = lazy_group(
    "config",
    COMMANDS,
    (("xgw config show --origin", "Each setting, and who said so."), ("xgw config path", "The files.")),
    "What xgw was told: flags, then XGW_* variables, then xgw.toml, then defaults.",
)


@leaf(
    "show",
    examples=(
        ("xgw config show", "The settings in force."),
        ("xgw config show --origin", "And who said so: flag, variable, line, default."),
        ("xgw config show -o json", "For a script; with origins."),
    ),
)
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
def show_config(invocation: Invocation, origin: bool) -> None:
    """The settings this directory, environment and command line lead to."""
    from xgw.settings import SCALARS, value_of

    settings = invocation.settings
    values: dict[str, Value] = {name: value_of(settings, name) for name in SCALARS}
    for step, roles in settings.overrides.items():
        for role, fields in roles.items():
            for name, value in fields.items():
                values[_override_key(step, role, name)] = value
    data = {key: {"value": value, "origin": settings.origins.get(key, "")} for key, value in values.items()}
    columns = ("setting", "value", "origin")
    rows = [(key, _shown(key, value), data[key]["origin"]) for key, value in values.items()]
    flat = Report("config", columns, [(key, value, data[key]["origin"]) for key, value in values.items()])
    wide = len(columns) if origin else 2
    show(invocation, Report("config", columns[:wide], [row[:wide] for row in rows], data=data, flat=flat))


def _override_key(step: str, role: str, name: str) -> str:
    from xgw.settings import ANY_ROLE

    return ".".join(part for part in ("overrides", step, "" if role == ANY_ROLE else role, name) if part)


def _shown(key: str, value: Value) -> Value:
    if key == "project" and value is None:
        return "(the local target)"
    return str(value)


@leaf("path", examples=(("xgw config path", "Where things are."), ("xgw config path -o json", "For a script.")))
def path(invocation: Invocation) -> None:
    """Where the configuration and the state are. Reads and checks neither."""
    import os
    from pathlib import Path

    from xgw.settings import config_path, state_home

    found, origin = config_path(invocation.flags.get("config"), os.environ, Path.cwd())
    home = state_home()
    told = "XGW_HOME" if os.environ.get("XGW_HOME") else "default"
    rows = (
        ("config", safe(str(found)) if found else None, origin or "no xgw.toml here"),
        ("state", str(home), told),
    )
    data = {"config": None if found is None else str(found), "state": str(home)}
    show(invocation, Report("paths", ("what", "path", "origin"), rows, data=data))
