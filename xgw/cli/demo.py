"""`xgw demo`: the main job on the embedded target, told in scenes. Every scene is the real command, run for real."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from xgw.cli.bench import opened
from xgw.cli.options import Invocation, leaf, progress, require_text, show
from xgw.cli.streams import write_out
from xgw.errors import ExitCode, UsageFault, XgwError
from xgw.report import paint
from xgw.words import duration

if TYPE_CHECKING:
    from xgw.load.generator import LoadResult
    from xgw.plan.model import Phase
    from xgw.runner import Run

LOAD_RATE, LOAD_SECONDS = 50.0, 6.0


@leaf("demo", examples=(("xgw demo", "Phase 1 on this machine, a bad change caught, a rollback."),))
def demo(invocation: Invocation) -> int:
    """Carry phase 1 of the plan out on the embedded target and show each part: the plan, the apply, the evidence, the
    record; then a release that leaks memory, caught before it gets traffic; then a rollback.

    Real processes on loopback; nothing outside xgw's state directory is touched. Run it again whenever you like."""
    if invocation.settings.project:
        raise UsageFault("the demo runs on the local target only", cause="a project is set", fix="leave --project out")
    require_text(invocation, "the demo")
    began = time.monotonic()
    _clean_stage(invocation)
    _scene(invocation, "What the deployment is like: the plan document's current state", "status", "-q")
    _scene(invocation, "Phase 1: what would change (reads only)", "phase1", "plan", "-q")
    _scene(invocation, "Carried out: each step measured without traffic, then live", "phase1", "apply")
    _scene(invocation, "Again: nothing to do", "phase1", "apply", "-q")
    _scene(invocation, "Measured again, on the live target", "phase1", "validate", "-q")
    _bad_release(invocation)
    _scene(
        invocation,
        "A rollback: at once to the revision that served before, by the record (never to the one just caught)",
        "rollback",
        "gateway",
    )
    _scene(invocation, "Traffic follows the latest revision again", "rollback", "gateway", "--release")
    _scene(invocation, "The record", "history", "-q")
    _say(
        invocation,
        f"\nDone in {duration(time.monotonic() - began)}. Everything above ran in real processes on this machine.",
    )
    _say(invocation, "Next:   xgw phase1 status           where each step stands, on what evidence")
    _say(invocation, "        xgw phase1 rollback         put phase 1 back as it was found")
    _say(invocation, "        xgw phase1 plan --project YOUR_PROJECT      the same on Google Cloud; reads only")
    _say(invocation, "Stop:   xgw local down              (from the clone: .venv/bin/xgw ...)")
    return ExitCode.OK


def _clean_stage(invocation: Invocation) -> None:
    """Start from the plan's current state, without losing anything: what an earlier visit left is put back by the ledger."""
    from xgw.plan import phases
    from xgw.planning import plan as make_plan

    with opened(invocation) as bench:
        pinned = [role for role in bench.target.names if bench.target.service(role).pinned]
        applied = {a.step for a in bench.ledger.latest(bench.target.id).values() if a.state != "reverted"}
        every = phases(bench.target.settings)
        planned = make_plan(bench.target, bench.ledger, every[0])
    for role in pinned:
        _scene(invocation, f"An earlier visit left {role} pinned: released first", "rollback", role, "--release")
    for phase in reversed([phase for phase in every if applied & {step.id for step in phase.steps}]):
        words = (f"phase{phase.number}", "rollback", "-q")
        _scene(invocation, "An earlier visit left steps applied: put back first", *words)
    if not applied and any(found.state not in ("change", "waits") for found in planned.steps):
        raise UsageFault(
            "the local target is not in the plan's current state",
            cause="it was changed in ways the ledger does not know",
            fix="start afresh: xgw local reset --yes",
        )


def _scene(invocation: Invocation, title: str, *words: str) -> None:
    """One command, shown as typed and run; a demo that does not go as it should stops there."""
    from xgw.cli.main import main

    _say(invocation, f"\n{paint('#', 'dim', invocation.out)} {paint(title, 'bold', invocation.out)}")
    _say(invocation, f"$ xgw {' '.join(word for word in words if word != '-q')}")
    code = main([*words])
    if code:
        raise XgwError(f"xgw {' '.join(words)} ended with {code}", cause="the demo expects 0", fix="xgw doctor")


def _bad_release(invocation: Invocation) -> None:
    """A gateway build that leaks memory, applied like any step, while users keep asking the live service."""
    from xgw import runner
    from xgw.cli import phase_screens
    from xgw.planning import plan as make_plan

    _say(invocation, f"\n{paint('#', 'dim', invocation.out)} ", end="")
    _say(
        invocation,
        paint(
            "A bad release: a gateway build that leaks memory, deployed through the same engine", "bold", invocation.out
        ),
    )
    with opened(invocation, writing="demo: a bad release") as bench:
        seen: list[LoadResult] = []
        users = threading.Thread(target=_users, args=(bench.target.service("gateway").uri, seen))
        users.start()
        phase = _leaking_build()
        with progress(invocation) as view:
            work = runner.Bench(bench.target, bench.ledger, view)
            run = runner.apply(work, make_plan(bench.target, bench.ledger, phase), command="demo: a bad release")
        show(invocation, phase_screens.run_report(run, bench.target, invocation.out))
        users.join()
    _require_caught(run, seen[0])
    _say(invocation, f"Caught before it got traffic. {_told(seen[0])}")


def _leaking_build() -> Phase:
    from xgw.changes.service import ServiceSpec
    from xgw.local.images import pinned
    from xgw.plan.model import GATEWAY, Phase, Step
    from xgw.probes.memory import memory_fits

    spec = ServiceSpec(GATEWAY, memory="512Mi", image=pinned("xgw.local/fault-memory-under-load"))
    return Phase(0, "Demo", (Step("demo", "A build that leaks", (spec,), (memory_fits(GATEWAY),), ("PERF-3",)),))


def _users(url: str, seen: list[LoadResult]) -> None:
    from xgw.load.generator import drive

    seen.append(drive([f"{url}/health"], rate=LOAD_RATE, seconds=LOAD_SECONDS))


def _told(load: LoadResult) -> str:
    told = f"Meanwhile {load.sent} requests to the live gateway: {load.failed} failed"
    busy = f"; {load.late} were sent late, so this machine was too busy to tell" if load.doubtful else ""
    return f"{told}{busy}."


def _require_caught(run: Run, load: LoadResult) -> None:
    if run.exit_code is not ExitCode.MISSED or (load.failed and not load.doubtful):
        raise XgwError(
            "the bad release was not handled as it should be",
            cause=f"exit {int(run.exit_code)}, {load.failed} of {load.sent} requests failed",
            fix=f"xgw history show {run.id}",
        )


def _say(invocation: Invocation, text: str, *, end: str = "\n") -> None:
    write_out(text + end)
