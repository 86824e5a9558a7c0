"""`xgw plan`, `status`, `state`, `revisions`, `unlock`: looking at the whole target."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import click

from xgw.cli.aim import Aim, aimed, aimed_plan
from xgw.cli.bench import Opened, opened, role_of
from xgw.cli.options import Invocation, leaf, show, talk
from xgw.errors import ExitCode
from xgw.report import Cell, Report, When, render, safe
from xgw.words import counted

if TYPE_CHECKING:
    from xgw.resources import Service


@leaf(
    "plan",
    examples=(
        ("xgw plan", "Every phase: what would change, and why."),
        ("xgw plan --detailed-exitcode", "Exit 10 when there is something to change."),
        ("xgw plan -o json", "The same for a machine."),
    ),
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit 10 when apply has or finds something to do.")
def plan(invocation: Invocation, detailed_exitcode: bool) -> int:
    """Show what every phase of the plan would change on the target. Reads only."""
    from xgw.cli import phase_screens
    from xgw.plan import phases
    from xgw.planning import in_order
    from xgw.planning import plan as make_plan

    with opened(invocation) as bench:
        looked = [make_plan(bench.target, bench.ledger, phase) for phase in phases(bench.target.settings)]
        plans = [aimed_plan(planned, invocation.aim) for planned in in_order(looked)]
        reports = [phase_screens.plan_report(planned, bench.target, invocation.out) for planned in plans]
    if invocation.output == "table":
        text = "\n\n".join(render(report, "table", invocation.out).rstrip("\n") for report in reports)
        show(invocation, Report("plan", head=text.split("\n")))
    else:
        columns, data = reports[0].columns, [report.data for report in reports]
        rows = [row for report in reports for row in report.rows]
        flats = [report.flat for report in reports if report.flat]
        flat = Report("plan", flats[0].columns, [row for report in flats for row in report.rows])
        show(invocation, Report("plan", columns, rows, data=data, flat=flat))
    return ExitCode.OK if not detailed_exitcode or all(planned.settled for planned in plans) else ExitCode.CHANGES


@leaf("status", examples=(("xgw status", "Services, traffic, pins, locks, and where each phase stands."),))
def status(invocation: Invocation) -> int:
    """What the target is like now, what is pinned or locked, and how far each phase has come. Reads only."""
    from xgw import lock
    from xgw.cli.phase_screens import next_after_status
    from xgw.plan import phases
    from xgw.planning import plan as make_plan
    from xgw.rollback import pins

    with opened(invocation) as bench:
        target = bench.target
        services = {role: target.service(role) for role in target.names}
        pinned = pins(bench.ledger, target)
        plans = [make_plan(target, bench.ledger, phase) for phase in phases(target.settings)]
        holder = lock.holder(target.settings.home, target.id)
    told = [_service(role, service, pinned.get(role, "")) for role, service in services.items()]
    foot = [""]
    for planned in plans:
        hold = sum(found.state == "holds" for found in planned.steps)
        unfinished = [found.step.id for found in planned.steps if found.state == "resume"]
        line = f"Phase {planned.phase.number}  {planned.phase.title}: {hold} of {counted(len(planned.steps), 'step')} validated"
        foot.append(line + (f"; unfinished: {', '.join(unfinished)}" if unfinished else ""))
    if holder:
        stale = " (stale: its process is gone)" if holder.stale else ""
        foot.append(
            f"Locked by {safe(holder.who)}, pid {holder.pid}, {holder.age:.0f}s ago: {safe(holder.doing)}{stale}"
        )
    columns = ("service", "name", "traffic", "memory", "ready", "url")
    data = {
        "target": target.id,
        "services": told,
        "pinned": pinned,
        "phases": [{"phase": p.phase.number, "steps": {s.step.id: s.state for s in p.steps}} for p in plans],
        "lock": {"who": holder.who, "pid": holder.pid, "stale": holder.stale, "since": holder.since}
        if holder
        else None,
    }
    head, rows = (f"Target {safe(target.label)}", ""), [_row(one, invocation.aim) for one in told]
    show(invocation, Report("status", columns, rows, head=head, foot=foot, data=data, flat=Report("status", data=told)))
    talk(invocation, next_after_status(plans))
    return ExitCode.OK


def _service(role: str, service: Service, pinned_to: str) -> dict[str, str]:
    """One service as data."""
    pinned = ("by a rollback" if pinned_to else "by hand") if service.pinned else ""
    traffic = " ".join(f"{share.revision or 'latest'}={share.percent}%" for share in service.traffic if share.percent)
    return {
        "service": role,
        "name": service.name,
        "traffic": traffic,
        "pinned": pinned,
        "memory": service.fields.get("memory", ""),
        "ready": "ready" if service.ready else f"not ready: {service.reason}",
        "url": service.uri,
    }


def _row(told: dict[str, str], aim: Aim) -> tuple[Any, ...]:
    """The same for people: what is wrong stands out, with the way out."""
    release = aimed(f"; xgw rollback {told['service']} --release", aim) if told["pinned"] == "by a rollback" else ""
    traffic = f"{told['traffic']} pinned {told['pinned']}{release}" if told["pinned"] else told["traffic"]
    shown = Cell(traffic, "warn") if told["pinned"] else traffic
    ready = Cell(told["ready"], "ok" if told["ready"] == "ready" else "fail")
    return told["service"], told["name"], shown, told["memory"], ready, told["url"]


@leaf(
    "state",
    examples=(
        ("xgw state --json", "The target as the plan sees it: same state, same bytes."),
        ("xgw state --json > before.json", "Keep it, apply, roll back, compare."),
    ),
)
@click.option("--json", "as_json", is_flag=True, help="The same as -o json.")
def state(invocation: Invocation, as_json: bool) -> int:
    """Everything the plan can change on the target, without what changes by itself (times, etags, revision names).

    The value of a variable that the plan does not name may be a secret: its digest stands for it."""
    from dataclasses import replace

    from xgw.plan import steps

    with opened(invocation) as bench:
        changes = [change for step in steps(bench.target.settings).values() for change in step.changes]
        known = {name for change in changes for name in change.wanted()}
        data = [_stable(role, bench, known) for role in bench.target.names]
    rows = [(item["service"], name, value) for item in data for name, value in item["fields"].items()]
    shown = replace(invocation, output="json") if as_json else invocation
    show(shown, Report("state", ("service", "field", "value"), rows, data={"services": data}))
    return ExitCode.OK


def _stable(role: str, bench: Opened, known: set[str]) -> dict[str, Any]:
    service = bench.target.service(role)
    traffic = [
        [("latest" if share.revision is None else "pinned"), share.percent]
        for share in service.traffic
        if share.percent
    ]
    return {
        "service": role,
        "name": service.name,
        "ready": service.ready,
        "traffic": traffic,
        "tags": sorted(share.tag for share in service.traffic if share.tag),
        "fields": {name: _told(name, value, known) for name, value in sorted(service.fields.items())},
    }


def _told(name: str, value: str, known: set[str]) -> str:
    if not name.startswith("env.") or name in known or value.startswith("secret:"):
        return value
    return f"sha256:{hashlib.sha256(f'{name}={value}'.encode()).hexdigest()[:16]}"


@leaf(
    "revisions",
    examples=(
        ("xgw revisions gateway", "The revisions of a service, newest first, and which of them serve."),
        ("xgw revisions crm -o json", "The same for a machine."),
    ),
)
@click.argument("service")
def revisions(invocation: Invocation, service: str) -> int:
    """The revisions of a service (a role, or the service's name), with traffic, memory, and which run made them."""
    with opened(invocation) as bench:
        role = role_of(bench.target.settings, service)
        found = bench.target.revisions(role)
        serving = {share.revision: share.percent for share in bench.target.service(role).holding}
        made = bench.ledger.makers(bench.target.id)
    rows = []
    for revision in found:
        rows.append(
            (
                f"{serving.get(revision.name, 0)}%",
                revision.name,
                When(revision.created),
                revision.fields.get("memory", ""),
                made.get(revision.name, "deployed"),
                Cell("ready", "ok") if revision.ready else Cell("not ready", "fail"),
            )
        )
    show(invocation, Report("revisions", ("traffic", "revision", "created", "memory", "made by", "state"), rows))
    talk(invocation, f"Next: xgw rollback {role}")
    return ExitCode.OK


@leaf(
    "unlock",
    examples=(
        ("xgw unlock", "Remove a lock whose process is gone."),
        ("xgw unlock --force", "Break a lock that is held: only when its holder surely stopped."),
    ),
)
@click.option("--force", is_flag=True, help="Break the lock although its holder may be alive.")
def unlock(invocation: Invocation, force: bool) -> int:
    """Remove the lock of the target. The ledger records who broke whose lock."""
    from xgw import lock
    from xgw.ledger import who

    with opened(invocation) as bench:
        held = lock.release(bench.target.settings.home, bench.target.id, force=force)
        if held:
            body = {"broken_by": who(), "taken_from": held.who, "pid": held.pid, "doing": held.doing}
            bench.ledger.append("lock", target=bench.target.id, body=body)
    line = f"lock of {safe(held.who)} removed" if held else "nobody held the lock"
    whose = {name: getattr(held, name, None) for name in ("who", "pid", "since", "doing")}
    show(invocation, Report("unlock", head=(line,), data={"removed": bool(held), **whose}))
    return ExitCode.OK
