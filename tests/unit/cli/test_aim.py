from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.unit.cli.commands import EVERY, EXAMPLES, parse
from xgw import runner
from xgw.cli import phase_apply
from xgw.cli.aim import NOWHERE, aim_of, aimed, aimed_plan
from xgw.cli.main import main
from xgw.cli.options import COMMON_NAMES, invocation_of
from xgw.cli.phase_ended import conclude
from xgw.cli.phase_screens import next_after_plan
from xgw.cli.phase_wishes import Asked
from xgw.errors import ExitCode, XgwError
from xgw.plan.model import Blocked, Evidence, Outcome, Verdict
from xgw.plan.phase1 import PHASE1
from xgw.planning import PhasePlan, StepPlan

TOLD = {"project": "my-project-1", "region": "europe-west1", "config": "my file.toml"}
OPTIONS = "--project my-project-1 --region europe-west1 --config 'my file.toml'"
ELSEWHERE = ("local", "demo", "token", "init", "config", "completion", "help", "version")
"""Commands that do not work on the target that was chosen."""


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("Next: xgw phase1 apply --only 1.6", f"Next: xgw phase1 apply {OPTIONS} --only 1.6"),
        ("(xgw rollback --run 3; see xgw history)", f"(xgw rollback {OPTIONS} --run 3; see xgw history {OPTIONS})"),
        ("xgw contacts undo RUN", f"xgw contacts undo {OPTIONS} RUN"),
        ("xgw local down, then xgw init", "xgw local down, then xgw init"),
        ("xgw phase1 apply --help", "xgw phase1 apply --help"),
        ("xgw plans nothing", "xgw plans nothing"),
    ],
)  # fmt: skip
def test_every_command_in_a_sentence_gets_the_options_that_chose_the_target(text: str, whole: str) -> None:
    assert aimed(text, aim_of(TOLD, {})) == whole
    assert aimed(whole, aim_of(TOLD, {})) == whole
    assert aimed(text, NOWHERE) == text


def test_variables_count_as_the_options_they_stand_for_and_an_endpoint_is_said_before() -> None:
    environ = {"XGW_PROJECT": "other-project", "XGW_CONFIG": "a.toml", "XGW_REGION": "", "XGW_ENDPOINT": "127.0.0.1:9"}
    aim = aim_of({"project": "my-project-1", "region": None, "config": None}, environ)
    once = aimed("Next: xgw status", aim)
    assert once == "Next: XGW_ENDPOINT=127.0.0.1:9 xgw status --project my-project-1 --config a.toml"
    assert aimed(once, aim) == once


def test_what_a_command_says_itself_is_not_said_twice() -> None:
    aim = aim_of({"project": "my-project-1"}, {})
    text = "xgw plan --project YOURS   or   xgw plan"
    assert aimed(text, aim) == "xgw plan --project YOURS   or   xgw plan --project my-project-1"


@pytest.mark.parametrize(
    "line", [line for line in EXAMPLES if line.split()[1] not in ELSEWHERE and "--project" not in line]
)
def test_every_example_of_a_command_with_a_target_can_be_aimed_and_typed(line: str) -> None:
    if len(line.split()) > 1 and line.split()[1].startswith("--"):
        return
    whole = aimed(line, aim_of(TOLD, {}))
    assert {name: parse(whole).params[name] for name in TOLD} == TOLD


def test_no_command_with_a_target_is_forgotten() -> None:
    for path, command in EVERY.items():
        leaf = " ".join(("xgw", *path))
        if (
            path
            and path[0] not in ELSEWHERE
            and not hasattr(command, "commands")
            and "project" in {p.name for p in command.params}
        ):
            assert aimed(leaf, aim_of(TOLD, {})) != leaf, leaf


def test_a_fault_tells_the_fix_for_the_target_that_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XGW_HOME", str(tmp_path))
    (tmp_path / "c.toml").touch()
    told = ["--project", "my-project-1", "--config", str(tmp_path / "c.toml")]
    monkeypatch.setenv("XGW_ENDPOINT", "127.0.0.1:9")
    assert main(["history", "shw", "3", "--region=europe-west1", *told]) == 2
    fix = f"XGW_ENDPOINT=127.0.0.1:9 xgw history --project my-project-1 --region europe-west1 --config {tmp_path}/c.toml show 3"
    assert f"fix:   {fix}\n" in capsys.readouterr().err


def test_a_fix_in_a_plan_is_aimed() -> None:
    held = Blocked("crm", "its latest revision is not ready", "xgw rollback crm --to crm-00001")
    planned = PhasePlan(PHASE1, "t", (StepPlan(PHASE1.steps[0], "blocked", blocked=(held,)),), {})
    found = aimed_plan(planned, aim_of({"project": "my-project-1"}, {})).steps[0].blocked[0].fix
    assert found == "xgw rollback --project my-project-1 crm --to crm-00001"


def test_advice_after_a_plan_stays_within_the_steps_that_were_asked_for() -> None:
    planned = PhasePlan(PHASE1, "t", (StepPlan(PHASE1.steps[0], "change"),), {})
    assert next_after_plan(planned, " --only 1.1 --force") == "Next: xgw phase1 apply --only 1.1 --force"


@pytest.mark.parametrize(("verdict", "code"), [(Verdict.INCONCLUSIVE, 8), (Verdict.FAILED, 3)])
def test_the_fix_of_a_run_stays_within_the_steps_that_were_asked_for(verdict: Verdict, code: int) -> None:
    seen = (Evidence("p", "e", "m", verdict, "live", "now"),)
    outcome = Outcome.REJECTED if code == 3 else Outcome.UNPROVEN
    run = runner.Run(1, "c", (runner.StepResult(PHASE1.steps[5], outcome, "", seen),), ExitCode(code), 0)
    with pytest.raises(XgwError) as fault:
        conclude(run, 1, " --only 1.6", applied=code == 8)
    assert "xgw phase1 apply --only 1.6" in fault.value.fix


def test_ctrl_c_twice_says_how_to_go_on_with_the_same_steps(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any, **__: Any) -> runner.Run:
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
        raise AssertionError("the second one ends it")

    monkeypatch.setattr(runner, "apply", interrupted)
    for name in ("XGW_PROJECT", "XGW_REGION", "XGW_CONFIG", "XGW_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    common = {**dict.fromkeys(COMMON_NAMES), "output": "table", "color": "never", "project": "my-project-1"}
    bench = cast(Any, SimpleNamespace(target=None, ledger=None))
    with pytest.raises(KeyboardInterrupt):
        phase_apply._run_apply(invocation_of(common), bench, cast(Any, None), Asked(1, only=("1.6",)))
    assert "to go on: xgw phase1 apply --project my-project-1 --only 1.6" in capfd.readouterr().err
