"""`xgw rollback`: a service back to an earlier revision, a run put back, or a pinned service released."""

from __future__ import annotations

from typing import Any

import click

from xgw.cli.bench import Opened, opened, role_of
from xgw.cli.options import Invocation, confirm, leaf, show, talk
from xgw.errors import ExitCode, Missed, NotFound, UsageFault
from xgw.report import Report, When, safe, symbol
from xgw.words import duration


@leaf(
    "rollback",
    examples=(
        ("xgw rollback gateway", "Traffic to the revision that served before, at once."),
        ("xgw rollback gateway --to REVISION", "To a revision by name: xgw revisions gateway."),
        ("xgw rollback --run 3", "Put back everything run 3 changed."),
        ("xgw rollback gateway --release", "Traffic to the latest revision again."),
    ),
)
@click.argument("service", required=False)
@click.option("--to", default="", metavar="REVISION", help="The revision to go to.")
@click.option("--run", type=click.IntRange(1), help="Put back what this run changed, newest first.")
@click.option("--release", is_flag=True, help="Give the traffic back to the latest revision.")
@click.option("--force", is_flag=True, help="With --run: overwrite what somebody changed since.")
@click.option("--dry-run", is_flag=True, help="Show what would happen; nothing is changed.")
def rollback(
    invocation: Invocation, service: str | None, to: str, run: int | None, release: bool, force: bool, dry_run: bool
) -> int:
    """Move a service's traffic to an earlier revision and give it that revision's values. Says how to undo itself.

    The traffic stays pinned to that revision until it is released: later deployments would get none."""
    if (service is None) == (run is None) or (run and (to or release)) or (to and release):
        raise UsageFault(
            "say what to roll back: one SERVICE or one --run",
            cause="--to and --release go with a SERVICE, and not together",
            fix="xgw rollback gateway   or   xgw rollback --run 3",
        )
    named = f"rollback {service}{' --release' if release else ''}{f' --to {to}' if to else ''}"
    command = f"rollback --run {run}" if run else named
    with opened(invocation, writing="" if dry_run else command) as bench:
        if run:
            return _run(invocation, bench, run, command, force, dry_run)
        role = role_of(bench.target.settings, service or "")
        if release:
            return _release(invocation, bench, role, command, dry_run)
        return _service(invocation, bench, role, to, command, dry_run)


def _service(invocation: Invocation, bench: Opened, role: str, to: str, command: str, dry_run: bool) -> int:
    from xgw import rollback as verb

    planned = verb.previous(bench.target, bench.ledger, role, to)
    for name in planned.gone:
        talk(invocation, f"{name} served before, and cannot serve any more; the next older one is {planned.to.name}")
    if verb.done_already(bench.target, bench.ledger, planned):
        talk(invocation, f"{planned.to.name} serves already; nothing to do")
        data = {"from": planned.origin, "to": planned.to.name, "undoes": [], "done": False}
        show(invocation, Report("rollback", data=data))
        return ExitCode.OK
    rows = _rows(bench, planned, role)
    columns = ("traffic", "revision", "created", "memory", "made by")
    if dry_run:
        preview = ("", f"Would move 100% {planned.origin} -> {planned.to.name}.")
        data = {"from": planned.origin, "to": planned.to.name, "undoes": list(planned.undoes), "done": False}
        show(invocation, Report("rollback", columns, rows, foot=preview, data=data, flat=Report("rollback", data=data)))
        return ExitCode.OK
    if bench.careful:
        confirm(
            invocation, f"{bench.careful} Move 100% of {planned.service} from {planned.origin} to {planned.to.name}?"
        )
    done = verb.carry_out(bench.target, bench.ledger, planned, command=command)
    foot, data = _told(invocation, done), _data(done)
    show(invocation, Report("rollback", columns, rows, foot=foot, data=data, flat=Report("rollback", data=data)))
    talk(invocation, f"Undo: xgw rollback {role} --to {done.origin}")
    talk(invocation, f"New revisions get traffic again after: xgw rollback {role} --release")
    if done.faults:
        raise Missed(
            f"the traffic of {done.service} is on {done.to.name}, and it is not well",
            cause="; ".join(done.faults),
            fix=f"look at its log: xgw logs {role}; older revisions: xgw revisions {role}",
        )
    return ExitCode.OK


def _told(invocation: Invocation, done: Any) -> list[str]:
    """What was done, line by line, and how it turned out."""
    ok, fail = symbol("ok", invocation.out), symbol("fail", invocation.out)
    values = "the service has that revision's values again; its traffic is pinned"
    if done.unready:
        values = (
            f"the service has that revision's values again, and no revision with them is ready: {safe(done.unready)}"
        )
    foot = [
        "",
        f"{ok} traffic 100% on {done.to.name}  {duration(done.traffic_seconds)}",
        f"{fail if done.answered < done.asked else ok} the service answers {done.answered} of {done.asked} requests",
        f"{fail if done.unready else ok} {values}  {duration(done.seconds)}",
    ]
    return foot + ([f"Undone with it: {', '.join(done.undoes)}"] if done.undoes else [])


def _data(done: Any) -> dict[str, Any]:
    return {
        "run": done.run,
        "service": done.service,
        "from": done.origin,
        "to": done.to.name,
        "undoes": list(done.undoes),
        "traffic_seconds": round(done.traffic_seconds, 3),
        "seconds": done.seconds,
        "answered": done.answered,
        "asked": done.asked,
        "unready": done.unready,
        "gone": list(done.gone),
        "done": True,
    }


def _rows(bench: Opened, planned: Any, role: str) -> list[tuple[Any, ...]]:
    made = bench.ledger.makers(bench.target.id)
    found = {revision.name: revision for revision in bench.target.revisions(role)}
    rows = []
    for sign, name in (("100%", planned.origin), ("-> 0%", planned.to.name)):
        revision = found.get(name)
        when = When(revision.created) if revision else ""
        memory = revision.fields.get("memory", "") if revision else ""
        rows.append((sign, name, when, memory, made.get(name, "deployed")))
    return rows


def _release(invocation: Invocation, bench: Opened, role: str, command: str, dry_run: bool) -> int:
    from xgw import rollback as verb

    service = bench.target.service(role)
    data = {"service": service.name, "latest": service.latest_ready, "done": False}
    if service.undivided:
        talk(invocation, f"{service.name} is not pinned; nothing to do")
        show(invocation, Report("release", data=data))
        return ExitCode.OK
    if dry_run:
        line = f"Would give 100% of {service.name} to {service.latest_ready}."
        show(invocation, Report("release", head=(line,), data=data))
        return ExitCode.OK
    if bench.careful:
        confirm(invocation, f"{bench.careful} Give 100% of {service.name} to {service.latest_ready}?")
    after = verb.release(bench.target, bench.ledger, role, command=command)
    line = f"{after.name}: traffic 100% on the latest revision, {after.latest_ready}"
    data = {"service": after.name, "latest": after.latest_ready, "done": True}
    show(invocation, Report("release", head=(line,), data=data))
    return ExitCode.OK


def _run(invocation: Invocation, bench: Opened, run: int, command: str, force: bool, dry_run: bool) -> int:
    from xgw.cli.phase import put_back

    steps = {a.step for a in bench.ledger.attempts(bench.target.id) if a.run == run}
    if not steps:
        raise NotFound(f"run {run} changed nothing here", cause="no step of it is in the ledger", fix="xgw history")
    # What was put back since, and perhaps applied again by another run, is not this run's any more.
    steps = {step for step in steps if any(a.run == run for a in bench.ledger.standing(bench.target.id, step))}
    if dry_run:
        line = f"Would put back: {', '.join(sorted(steps)) or 'nothing'}"
        show(invocation, Report("rollback", head=(line,), data={"run": run, "steps": sorted(steps), "done": False}))
        return ExitCode.OK
    return put_back(invocation, bench, steps, command, force)
