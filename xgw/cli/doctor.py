"""`xgw doctor`: is this machine ready, are these settings good; every FAIL with the command that mends it."""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from xgw.cli.aim import aimed
from xgw.cli.options import Invocation, leaf, show
from xgw.errors import ExitCode, XgwError
from xgw.report import Cell, Report, Sign, Value, safe
from xgw.widths import Whole
from xgw.words import size

OLDEST_PYTHON = (3, 11)
DISK_NEEDED = 512 << 20
"""Bytes: the local target keeps a log and a database for each service."""
PORTS_NEEDED = 8
"""The local target listens for its APIs, its control, and four services with their tags."""
RELEASED = datetime(2026, 11, 1, tzinfo=UTC)
LARGEST_SKEW_S = 60.0


@dataclass(frozen=True)
class Check:
    """One finding. `fix` is a command to type, or what to change; empty when all is well."""

    name: str
    sign: Sign
    found: str
    fix: str = ""


def python_version(invocation: Invocation) -> Check:
    """Python is new enough."""
    found = f"{sys.version_info[0]}.{sys.version_info[1]}.{sys.version_info[2]} at {sys.executable}"
    if sys.version_info[:2] >= OLDEST_PYTHON:
        return Check("python", "ok", found)
    return Check("python", "fail", found, "make demo PYTHON=python3.11")


def state_directory(invocation: Invocation) -> Check:
    """The state directory can be made and written."""
    from xgw.settings import state_home

    home = state_home()
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=home) as probe:
            probe.write(b"xgw")
    except OSError as error:
        return Check("state directory", "fail", f"{home}: {error.strerror}", "export XGW_HOME=DIR, one you can write")
    return Check("state directory", "ok", f"{home} can be written")


def free_disk(invocation: Invocation) -> Check:
    """There is room for the state."""
    from xgw.settings import state_home

    home = state_home()
    there = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free >= DISK_NEEDED:
        return Check("free disk", "ok", f"{size(free)} at {there}")
    return Check("free disk", "fail", f"{size(free)} at {there}, {size(DISK_NEEDED)} needed", "export XGW_HOME=DIR")


def loopback(invocation: Invocation) -> Check:
    """Processes can listen on 127.0.0.1 and reach each other there."""
    held: list[socket.socket] = []
    try:
        for _ in range(PORTS_NEEDED):
            listener = socket.create_server(("127.0.0.1", 0))
            held.append(listener)
        with socket.create_connection(held[0].getsockname(), timeout=2):
            return Check("loopback", "ok", f"{PORTS_NEEDED} ports on 127.0.0.1 can be used")
    except OSError as error:
        return Check("loopback", "fail", f"127.0.0.1: {error.strerror or error}", "ip link set lo up")
    finally:
        for listener in held:
            listener.close()


def configuration(invocation: Invocation) -> Check:
    """xgw.toml, the variables and the flags can be used."""
    try:
        settings = invocation.settings
    except XgwError as fault:
        return Check("settings", "fail", fault.message, fault.fix)
    found = str(settings.config) if settings.config else "no xgw.toml here; defaults"
    return Check("settings", "ok", found)


def local_target(invocation: Invocation) -> Check:
    """The embedded cloud, when it runs, answers."""
    from xgw.local import lifecycle
    from xgw.settings import state_home

    try:
        found = lifecycle.status(state_home())
    except XgwError as fault:
        return Check("local target", "fail", fault.message, fault.fix or "xgw local down, then xgw local up")
    if found is None:
        return Check("local target", "ok", "not running; it starts when it is needed")
    return Check("local target", "ok", f"running, pid {found.pid}")


def clock(invocation: Invocation) -> Check:
    """The clock is plausible; with a project, within a minute of Google's."""
    at = datetime.now(UTC)
    fix = "timedatectl set-ntp true"
    if at < RELEASED:
        return Check("clock", "fail", f"{at.isoformat(timespec='seconds')} is before this release", fix)
    if not _project(invocation):
        return Check("clock", "ok", at.isoformat(timespec="seconds"))
    try:
        skew = _skew()
    except (OSError, ValueError) as error:
        return Check("clock", "fail", f"run.googleapis.com did not answer: {error}", "check the network or the proxy")
    if abs(skew) > LARGEST_SKEW_S:
        return Check("clock", "fail", f"{skew:+.0f}s off Google's clock", fix)
    return Check("clock", "ok", f"{skew:+.0f}s off Google's clock")


def _skew() -> float:
    """Seconds this clock is ahead of Google's. Only asked for with a project."""
    import urllib.error
    import urllib.request
    from email.utils import parsedate_to_datetime

    request = urllib.request.Request("https://run.googleapis.com/", method="HEAD")
    before = time.time()
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            told = answer.headers["Date"]
    except urllib.error.HTTPError as error:
        told = error.headers["Date"]
    return (before + time.time()) / 2 - parsedate_to_datetime(told).timestamp()


def credentials(invocation: Invocation) -> Check:
    """With a project: there are credentials to use. Nothing is called with them."""
    project = _project(invocation)
    if not project:
        return Check("credentials", "skip", "not needed on the local target")
    from xgw.target import connect

    try:
        connect(invocation.settings, project=project, label=project)
    except XgwError as fault:
        fix = fault.fix or "gcloud auth application-default login"
        return Check("credentials", "fail", fault.message, fix)
    return Check("credentials", "ok", f"found, for {project}")


def _project(invocation: Invocation) -> str | None:
    try:
        return invocation.settings.project
    except XgwError:
        return invocation.flags.get("project")


CHECKS: tuple[Callable[[Invocation], Check], ...] = (
    python_version,
    state_directory,
    free_disk,
    loopback,
    configuration,
    local_target,
    clock,
    credentials,
)


def examine(invocation: Invocation) -> Iterator[Check]:
    """Every check, in order. One that breaks is a finding, not the end of the others."""
    for check in CHECKS:
        try:
            yield check(invocation)
        except Exception as error:  # noqa: BLE001  doctor reports what is broken, whatever it is
            name = check.__name__.replace("_", " ")
            yield Check(name, "fail", f"could not be checked: {type(error).__name__}: {error}", "xgw doctor --debug")


@leaf(
    "doctor",
    examples=(
        ("xgw doctor", "This machine and the local target."),
        ("xgw doctor --project my-project-1", "And Google Cloud: credentials, clock."),
        ("xgw doctor -o json", "For a script; ends with 1 when something fails."),
    ),
)
def doctor(invocation: Invocation) -> ExitCode:
    """Check this machine and these settings. Changes nothing; ends with 1 when something fails."""
    checks = [replace(check, fix=aimed(check.fix, invocation.aim)) for check in examine(invocation)]
    failed = [check for check in checks if check.sign == "fail"]
    rows: list[tuple[Value, ...]] = [(Cell(check.name, check.sign), check.found) for check in checks]
    columns: tuple[str, ...] = ("check", "found")
    fixes = [Whole(f"fix {check.name}:  {safe(check.fix)}") for check in failed]
    foot: list[str] = ["", *fixes] if failed else ["", "all is well"]
    if invocation.output != "table":
        columns, foot = ("check", "result", "found", "fix"), []
        rows = [(check.name, check.sign, check.found, check.fix) for check in checks]
    data = [{"check": c.name, "result": c.sign, "found": c.found, "fix": c.fix} for c in checks]
    show(invocation, Report("doctor", columns, rows, foot=foot, data=data))
    return ExitCode.FAILED if failed else ExitCode.OK
