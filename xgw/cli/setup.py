"""`xgw init`: writes the commented xgw.toml that every key is explained in."""

from __future__ import annotations

import os
from pathlib import Path

import click

from xgw.cli.options import Invocation, ask, leaf, show, talk
from xgw.errors import UsageFault, XgwError
from xgw.report import Report, safe

TEMPLATE = """\
# xgw.toml: what `xgw` works on. Every key is optional; flags and XGW_* variables win over it.
# See what is in force, and why: xgw config show --origin

# Without a project, xgw works on the local target: an embedded cloud on this machine.
{project}
region = "{region}"
# What the gateway is told it runs as.
environment = "production"

# The names of your Cloud Run services, by their part in the plan.
[services]
gateway = "xynergyos-intelligence-gateway"
slack = "slack-intelligence-service"
gmail = "gmail-intelligence-service"
crm = "crm-engine"

[redis]
address = "10.0.0.3:6379"

# What measured values are held against.
[limits]
p95_ms = 200          # 95 of 100 answers are faster than this
error_share = 0.01    # at most 1% of answers are errors
memory_share = 0.8    # of the limit, under load
measure_seconds = 240 # how long to wait for the platform's samples and logs before a measurement is inconclusive

# Other values for one step of the plan: memory, cpu, concurrency, timeout, execution_environment, env.
# [overrides."1.8"]
# env = {{ CORS_ALLOWED_ORIGINS = "https://app.example.com" }}
# [overrides."1.2".crm]     # only this service of the step
# memory = "512Mi"
"""


@leaf(
    "init",
    examples=(
        ("xgw init", "Write xgw.toml here; asks for the project."),
        ("xgw init --no-input", "For the local target; asks nothing."),
        ("xgw init --project my-project-1 --region europe-west1", "For Google Cloud."),
    ),
)
@click.option("--force", is_flag=True, help="Overwrite an xgw.toml that is there.")
def init(invocation: Invocation, force: bool) -> None:
    """Write a commented xgw.toml into this directory (or to --config FILE). Overwrites nothing without --force."""
    from xgw.settings import CONFIG_NAME, load

    path = Path.cwd() / (invocation.flags.get("config") or CONFIG_NAME)
    if path.exists() and not force:
        raise UsageFault(f"{path.name} is there already", cause=str(path), fix="xgw init --force overwrites it")
    project, region = invocation.flags.get("project"), invocation.flags.get("region")
    if project is None and invocation.interactive and not invocation.yes:
        project = ask("Google Cloud project (empty: the local target): ") or None
    checked = load({"project": project, "region": region}, environ={}, cwd=Path(os.devnull))
    named = f'project = "{checked.project}"' if checked.project else '# project = "my-project"'
    _write(path, TEMPLATE.format(project=named, region=checked.region))
    head = (f"wrote {safe(str(path))}",)
    show(invocation, Report("init", head=head, data={"path": str(path), "project": checked.project}))
    talk(invocation, "Next: xgw doctor")


def _write(path: Path, text: str) -> None:
    """All of it or nothing: a half-written configuration is never left behind."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise XgwError(
            f"{path} could not be written", cause=error.strerror or str(error), fix="write it elsewhere: --config FILE"
        ) from error
