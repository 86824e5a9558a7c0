"""A plan of two small steps on the embedded cloud's real gRPC server, for the tests of the engine."""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from google.cloud import run_v2

from tests.helpers.local_cloud import PARENT, LocalCloud
from tests.helpers.waiting import PATIENCE
from xgw import runner
from xgw.changes.service import ServiceSpec
from xgw.errors import ExitCode
from xgw.ledger import Ledger
from xgw.plan.model import CRM, GATEWAY, Phase, Probe, Reading, Step, Subject, Verdict
from xgw.planning import PhasePlan, plan
from xgw.settings import Limits, Settings
from xgw.target import Target, connect

IMAGE = "app@sha256:1"
NAMES = {GATEWAY: "gateway", CRM: "crm"}
START = {GATEWAY: {"MODE": "loose", "KEEP": "me"}, CRM: {"MODE": "loose"}}


@dataclass
class Seen:
    """A view that remembers."""

    notes: list[tuple] = field(default_factory=list)

    def step_started(self, step, title):
        self.notes.append(("started", step))

    def step_note(self, step, text):
        self.notes.append(("note", step, text))

    def evidence(self, step, text, ok):
        self.notes.append(("evidence", step, text, ok))

    def step_finished(self, step, outcome, text, seconds):
        self.notes.append(("finished", step, outcome))


def reads_mode(role: str, verdicts: dict[str, Verdict] | None = None) -> Probe:
    """Passes when the revision it is pointed at has the wished MODE; `verdicts` by where overrules it."""

    def measure(subject: Subject) -> Reading:
        found = {r.name: r for r in subject.target.revisions(role)}[subject.revisions[role]]
        mode, wanted = found.fields.get("env.MODE"), subject.wanted[role]["env.MODE"]
        verdict = Verdict.PASSED if mode == wanted else Verdict.FAILED
        return Reading(f"MODE {wanted}", f"MODE {mode}", (verdicts or {}).get(subject.where, verdict))

    return Probe(f"mode of {role}", measure)


def two_steps(verdicts: dict[str, Verdict] | None = None, *, high_risk: bool = False) -> Phase:
    both = tuple(ServiceSpec(role, env={"MODE": "strict"}) for role in (GATEWAY, CRM))
    return Phase(
        1,
        "Test",
        (
            Step("1.1", "Memory", (ServiceSpec(GATEWAY, memory="1Gi"),), (), ("PERF-3",)),
            Step(
                "1.2",
                "Mode",
                both,
                tuple(reads_mode(role, verdicts) for role in (GATEWAY, CRM)),
                ("ERR-1",),
                high_risk=high_risk,
            ),
        ),
    )


def deploy(cloud: LocalCloud) -> None:
    """The two services as they are before the plan."""
    for role, env in START.items():
        container = run_v2.Container(image=IMAGE, env=[run_v2.EnvVar(name=k, value=v) for k, v in env.items()])
        service = run_v2.Service(template=run_v2.RevisionTemplate(containers=[container]))
        cloud.services.create_service(parent=PARENT, service_id=NAMES[role], service=service).result(timeout=PATIENCE)


def target_on(address: str, home: Path, *, writable: bool = True) -> Target:
    settings = Settings(home=home, services=NAMES, limits=Limits(measure_seconds=1))
    return connect(settings, project="xgw-local", label="test", endpoint=address, writable=writable)


_LOOKED_INTO: list[Ledger] = []


def close_ledgers() -> None:
    """At the end of a test: every ledger that an Engine gave it."""
    while _LOOKED_INTO:
        _LOOKED_INTO.pop().close()


@dataclass
class Engine:
    """A target, its ledger, and the verbs as the commands call them."""

    target: Target
    home: Path
    phase: Phase = field(default_factory=two_steps)

    def ledger(self) -> Ledger:
        """For a look of the test's own; `close_ledgers` closes it. The verbs close theirs, as a command does."""
        _LOOKED_INTO.append(Ledger(self.home / "ledger.db"))
        return _LOOKED_INTO[-1]

    def bench(self, ledger: Ledger | None = None) -> runner.Bench:
        return runner.Bench(self.target, ledger or self.ledger(), Seen())

    def plan(self, **wishes) -> PhasePlan:
        with closing(Ledger(self.home / "ledger.db")) as ledger:
            return plan(self.target, ledger, self.phase, **wishes)

    def apply(self, **wishes) -> runner.Run:
        planned = self.plan(**wishes)
        with closing(Ledger(self.home / "ledger.db")) as ledger:
            return runner.apply(self.bench(ledger), planned, command="apply", force=wishes.get("force", False))

    def revert(self, *, force: bool = False) -> runner.Run:
        with closing(Ledger(self.home / "ledger.db")) as ledger:
            return runner.revert(self.bench(ledger), self.phase.steps, command="rollback", force=force)

    def states(self) -> dict[str, str]:
        with closing(Ledger(self.home / "ledger.db")) as ledger:
            return {step: attempt.state for step, attempt in ledger.latest(self.target.id).items()}

    def fields(self) -> dict[str, dict[str, str]]:
        return {role: dict(self.target.service(role).fields) for role in NAMES}

    def traffic(self) -> dict[str, list[tuple[str | None, int, str]]]:
        return {role: [(s.revision, s.percent, s.tag) for s in self.target.service(role).traffic] for role in NAMES}

    def picture(self) -> tuple:
        """Everything that two equal ends have in common: values, form of the traffic, states, count of revisions."""
        serving = {role: self.serving_mode(role) for role in NAMES}
        counts = {role: len(self.target.revisions(role)) for role in NAMES}
        return self.fields(), self.traffic(), self.states(), serving, counts

    def serving_mode(self, role: str) -> str | None:
        main = self.target.service(role).main
        return next(r.fields.get("env.MODE") for r in self.target.revisions(role) if r.name == main)

    def until_done(self, verb, *, tries: int = 4):
        """The same command again, as a person would after a fault, until it ends by itself."""
        for _ in range(tries):
            with suppress(Exception):
                return verb()
        return verb()


def main(argv: list[str]) -> int:
    """`python -m tests.helpers.engine apply|revert ADDRESS HOME`: one verb in a process that may be killed."""
    import os

    from xgw import faults

    verb, address, home = argv
    faults.arm(os.environ.get("XGW_FAULT", ""))
    engine = Engine(target_on(address, Path(home)), Path(home))
    run = engine.apply() if verb == "apply" else engine.revert()
    return int(run.exit_code or ExitCode.OK)


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
