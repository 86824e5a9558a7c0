"""`xgw local`: the embedded cloud on this machine."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from xgw.cli.group import Table, lazy_group
from xgw.cli.options import Invocation, confirm, leaf, require_text, show, talk
from xgw.cli.streams import write_out
from xgw.errors import Conflict, ExitCode, UsageFault
from xgw.report import Cell, Report, Value, dumps, safe
from xgw.words import relative, size

LOCAL_PROJECT, LOCAL_REGION = "xgw-local", "us-central1"

COMMANDS: Table = {
    "Commands": {
        "up": ("xgw.cli.local:up", "Start it, with the plan's present state deployed; no-op when it runs."),
        "status": ("xgw.cli.local:status", "What runs, where it answers, and how much memory it holds."),
        "logs": ("xgw.cli.local:logs", "The log of the embedded cloud itself."),
        "down": ("xgw.cli.local:down", "Stop every process it started; its state stays."),
        "reset": ("xgw.cli.local:reset", "Stop it and forget its state."),
    }
}

local = lazy_group(
    "local",
    COMMANDS,
    (("xgw local up", "Start it."), ("xgw local status", "See what runs."), ("xgw local down", "Stop it.")),
    "The embedded cloud on this machine: Cloud Run's APIs on loopback, with real processes behind them.",
)


@leaf(
    "up",
    examples=(
        ("xgw local up", "Start it; answers when the baseline is deployed."),
        ("xgw local up --timeout 90", "Wait longer, on a slow machine."),
        ("xgw local up -o json", "Its address, for a script."),
    ),
)
@click.option("--timeout", type=click.FloatRange(1, 600), default=30.0, show_default=True, help="Seconds to wait.")
def up(invocation: Invocation, timeout: float) -> None:
    """Start the embedded cloud and wait until the plan's present state is deployed on it. Starts nothing twice."""
    from xgw.local import lifecycle
    from xgw.settings import state_home

    home = state_home()
    talk(invocation, f"starting the local target, state in {safe(str(home))}")
    endpoint = lifecycle.ensure_up(home, timeout=timeout)
    columns = ("project", "region", "grpc", "control", "pid")
    row = tuple(getattr(endpoint, name) for name in columns)
    show(invocation, Report("local-endpoint", columns, (row,), data=dict(zip(columns, row, strict=True))))
    talk(invocation, "Next: xgw local status")


_force = click.option("--force", is_flag=True, help="Although somebody may be working on it.")


@contextmanager
def _alone(home: Path, doing: str, force: bool) -> Iterator[None]:
    """Hold the lock of the local target, if there is one. Raises Conflict while somebody works on it, by whatever name."""
    from xgw import lock
    from xgw.local import files

    if force or not files.root(home).is_dir():
        yield
        return
    here = (f"projects/{LOCAL_PROJECT}/", "@loopback")
    for holder in lock.working(home):
        if holder.target.startswith(here[0]) or holder.target.endswith(here[1]):
            raise Conflict(
                f"{holder.who} is working on the local target: {holder.doing}",
                cause=holder.told,
                fix=f"wait for it; if it is surely gone: xgw {doing} --force",
            )
    endpoint = files.read_endpoint(home)
    region = endpoint.region if endpoint else LOCAL_REGION
    with lock.held(home, f"{here[0]}locations/{region}", doing):
        yield


@leaf(
    "down",
    examples=(
        ("xgw local down", "Stop it; the state stays."),
        ("xgw local down --force", "Also under a command that is working on it."),
    ),
)
@_force
def down(invocation: Invocation, force: bool) -> None:
    """Stop the embedded cloud and every process it started. What is deployed on it is there again after `up`."""
    from xgw.local import lifecycle
    from xgw.settings import state_home

    home = state_home()
    with _alone(home, "local down", force):
        stopped = lifecycle.down(home)
    line = "stopped" if stopped else "was not running"
    show(invocation, Report("local-down", head=(f"local target {line}",), data={"stopped": stopped}))


@leaf(
    "status",
    examples=(
        ("xgw local status", "Services, revisions, traffic, memory."),
        ("xgw local status -o json", "The same, and how often each RPC was called."),
    ),
)
def status(invocation: Invocation) -> ExitCode:
    """What runs on the embedded cloud. Ends with 6 when it is not running."""
    from xgw.local import lifecycle
    from xgw.settings import state_home

    found = lifecycle.status(state_home())
    if found is None:
        document: dict[str, Any] = {"running": False}
        show(invocation, Report("local-status", head=("local target: not running",), data=document))
        talk(invocation, "Next: xgw local up")
        return ExitCode.UNREACHABLE
    document = {"running": True, **json.loads(dumps(found))}
    show(invocation, status_report(document))
    return ExitCode.OK


def status_report(document: Mapping[str, Any]) -> Report:
    """The report for what the control endpoint says (`GET /status`)."""
    rows: list[tuple[Value, ...]] = []
    for service in document["services"]:
        for revision in service["revisions"]:
            good = revision["state"] in ("ready", "running", "serving")
            rows.append(
                (
                    service["name"],
                    revision["name"],
                    f"{revision['percent']}%",
                    revision.get("tag") or "",
                    Cell(str(revision["state"]), "ok" if good else "warn"),
                    size(revision["memory_bytes"]) if revision.get("memory_bytes") else "",
                    revision.get("pid") or "",
                    revision.get("url") or service["url"],
                )
            )
    head = (
        f"local target  pid {document['pid']}  {_since(document['since'])}",
        f"project {safe(str(document['project']))}  region {safe(str(document['region']))}  "
        f"grpc {safe(str(document['grpc']))}",
        "",
    )
    columns = ("service", "revision", "traffic", "tag", "state", "memory", "pid", "url")
    return Report("local-status", columns, rows, head=head, data=dict(document))


def _since(told: str) -> str:
    from datetime import UTC, datetime

    try:
        then = datetime.fromisoformat(told)
    except (TypeError, ValueError):
        return f"since {safe(str(told))}"
    return f"started {relative(then if then.tzinfo else then.replace(tzinfo=UTC), datetime.now(UTC))}"


@leaf(
    "logs",
    examples=(
        ("xgw local logs", "The last 50 lines."),
        ("xgw local logs -n 500", "More of them."),
        ("xgw local logs -f", "And what comes, until Ctrl-C."),
    ),
)
@click.option("-n", "--lines", type=click.IntRange(0, 1_000_000), default=50, show_default=True, help="How many.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
def logs(invocation: Invocation, lines: int, follow: bool) -> None:
    """The log of the embedded cloud itself (not of the services on it)."""
    from xgw.local import lifecycle
    from xgw.settings import state_home

    require_text(invocation, "the log of the embedded cloud", "leave -o out; the services' own lines: xgw logs SERVICE")
    path = Path(lifecycle.log_path(state_home()))
    if not path.is_file():
        raise UsageFault("there is no log yet", cause=f"{path} is not there", fix="xgw local up")
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in deque(file, maxlen=lines):
            write_out(safe(line.rstrip("\n")) + "\n")
        if follow:
            for line in _following(file):
                write_out(safe(line.rstrip("\n")) + "\n")


def _following(file: TextIO, pause: float = 0.2) -> Iterator[str]:
    """Whole lines as they are written; never ends."""
    begun = ""
    while True:
        begun += file.readline()
        if begun.endswith("\n"):
            yield begun
            begun = ""
        else:
            time.sleep(pause)


@leaf(
    "reset",
    examples=(
        ("xgw local reset", "Stop it and forget its state, after a yes."),
        ("xgw local reset --yes", "In a script."),
    ),
)
@_force
def reset(invocation: Invocation, force: bool) -> None:
    """Stop the embedded cloud and remove everything deployed on it. The ledger of past runs stays, and says that what stood
    on the local target is gone."""
    from xgw.ledger import Ledger
    from xgw.local import lifecycle
    from xgw.rollback import forget
    from xgw.settings import state_home

    home = state_home()
    confirm(invocation, f"Remove what is deployed on the local target in {home}?")
    with _alone(home, "local reset", force):
        lifecycle.reset(home)
    if (home / "ledger.db").exists():
        with closing(Ledger(home / "ledger.db")) as ledger:
            for target in sorted({record.target for record in ledger.records(kind="run")}):
                if target.startswith(f"projects/{LOCAL_PROJECT}/"):
                    forget(ledger, target, "the local target was reset")
    show(
        invocation, Report("local-reset", head=("local target: stopped, and its state removed",), data={"reset": True})
    )
