"""`xgw logs`: what a service's revisions wrote."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from xgw.cli.bench import opened, role_of
from xgw.cli.options import Invocation, leaf, show, talk
from xgw.errors import ExitCode
from xgw.report import Cell, Report, Sign, When, iso
from xgw.words import counted

if TYPE_CHECKING:
    from xgw.resources import LogLine

_SIGNS: dict[str, Sign] = {"ERROR": "fail", "CRITICAL": "fail", "WARNING": "warn"}


@leaf(
    "logs",
    examples=(
        ("xgw logs gateway", "The newest lines of a service."),
        ("xgw logs gateway --revision REVISION", "Of one revision: why did it not start?"),
        ("xgw logs crm --minutes 60 --contains 'Memory limit' -o jsonl", "For a machine."),
    ),
)
@click.argument("service")
@click.option("--revision", default="", metavar="REVISION", help="Only this revision.")
@click.option(
    "--minutes", type=click.FloatRange(0, 43200, min_open=True), default=10.0, show_default=True, help="How far back."
)
@click.option("--contains", default="", metavar="TEXT", help="Only plain lines that hold this text.")
@click.option(
    "-n", "--lines", type=click.IntRange(1, 5000), default=50, show_default=True, help="How many, the newest."
)
def logs(invocation: Invocation, service: str, revision: str, minutes: float, contains: str, lines: int) -> int:
    """The newest log lines of a service (a role, or the service's name), oldest first. Reads only."""
    with opened(invocation) as bench:
        role = role_of(bench.target.settings, service)
        since = datetime.now(UTC) - timedelta(minutes=minutes)
        name = bench.target.names[role]
        wanted = {"revision": revision, "contains": contains}
        found = bench.target.logs.lines(name, since=since, limit=lines, newest=True, **wanted)
    rows = [
        (When(line.at, clock=True), Cell(line.severity, _SIGNS.get(line.severity, "")), line.revision, _text(line))
        for line in found
    ]
    data = [
        {"at": iso(line.at), "severity": line.severity, "revision": line.revision, "payload": line.payload}
        for line in found
    ]
    show(invocation, Report("logs", ("at", "severity", "revision", "text"), rows, data=data))
    if not found:
        talk(invocation, f"No lines of {name} in the last {counted(minutes, 'minute')}.")
    return ExitCode.OK


def _text(line: LogLine) -> str:
    return line.payload if isinstance(line.payload, str) else str(line.payload.get("message", line.payload))
