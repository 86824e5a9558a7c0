from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.broken_command import KINDS
from tests.helpers.command import xgw
from xgw.cli.main import COMMANDS, main
from xgw.cli.topics import MEANINGS
from xgw.errors import ExitCode

MISUSES = [
    (["loca"], "did you mean: xgw local"),
    (["local", "statsu"], "did you mean: xgw local status"),
    (["zzzzzz"], "see what there is: xgw --help"),
    (["help", "exit-code"], "did you mean: xgw help exit-codes"),
    (["help", "lcal"], "did you mean: xgw local"),
    (["help", "local", "uo"], "did you mean: xgw local up"),
    (["help", "import"], "did you mean: xgw contacts import"),
    (["undo"], "did you mean: xgw contacts undo"),
    (["exprot"], "did you mean: xgw contacts export"),
    (["doctor", "--ouptut", "json"], "did you mean --output?"),
    (["aply"], "did you mean: xgw phase1 apply"),
    (["cost"], "see what there is: xgw --help"),
    (["resume"], "see what there is: xgw --help"),
    (["local", "start"], "see what there is: xgw local --help"),
    (["doctor", "-o", "yaml"], "xgw doctor --help"),
    (["local", "up", "--timeout", "x"], "xgw local up --help"),
    (["completion"], "xgw completion --help"),
    (["version", "extra"], "xgw version --help"),
    (["completion", "bash", "-o", "csv"], "leave -o out"),
    (["help", "doctor", "-o", "csv"], "leave -o out"),
    (["demo", "-o", "csv"], "leave -o out"),
    (["local", "logs", "-o", "csv"], "leave -o out; the services' own lines: xgw logs SERVICE"),
    (["config", "show", "--region", "nowhere"], "correct --region, or leave it out"),
    (["config", "show", "--config", "absent.toml"], "name another file, or write one: xgw init"),
]


@pytest.fixture(autouse=True)
def _breakable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(
        COMMANDS,
        "Test",
        {"end": ("tests.helpers.broken_command:end", "Ends as told.")},  # type: ignore[index]
    )
    monkeypatch.setenv("XGW_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("XGW_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_fault_is_three_parts_and_its_exit_code(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["end", kind]) == KINDS[kind].exit_code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "error: the message\n  cause: the cause\n  fix:   the fix\n"


@pytest.mark.parametrize("output", ["json", "jsonl"])
@pytest.mark.parametrize("form", ["-o {0}", "-o{0}", "--output {0}", "--output={0}"])
def test_with_json_a_fault_is_one_line_of_json_on_stderr(
    output: str, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["end", "Conflict", *form.format(output).split()])
    shown = capsys.readouterr()
    assert code == ExitCode.CONFLICT
    assert shown.out == ""
    told = json.loads(shown.err)
    assert shown.err.count("\n") == 1
    assert told["schema"] == "xgw.error/v1"
    assert told["error"] == {"message": "the message", "cause": "the cause", "fix": "the fix", "exit_code": 5}


@pytest.mark.parametrize(("args", "fix"), MISUSES)
def test_a_misuse_is_answered_with_what_to_type(args: list[str], fix: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == ExitCode.USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert "\n  cause: " in shown.err
    assert shown.err.endswith(f"\n  fix:   {fix}\n")


def test_a_misuse_with_json_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--wrong", "-o", "json"]) == ExitCode.USAGE
    assert json.loads(capsys.readouterr().err)["error"]["exit_code"] == 2


@pytest.mark.parametrize("code", [0, 1, 3, 5, 7, 8, 10])
def test_the_code_a_command_returns_is_the_exit_code(code: int) -> None:
    assert main(["end", str(code)]) == code


def test_ctrl_c_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["end", "interrupt"]) == 130
    assert capsys.readouterr().err == "\ninterrupted\n"


def test_an_unforeseen_fault_keeps_its_traceback_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["end", "unforeseen"]) == ExitCode.FAILED
    shown = capsys.readouterr()
    kept = tmp_path / "state" / "last-error.log"
    assert "Traceback" not in shown.err
    assert str(kept) in shown.err
    assert "ZeroDivisionError: the message" in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("variable", [False, True])
def test_debug_shows_the_traceback(
    variable: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if variable:
        monkeypatch.setenv("XGW_DEBUG", "1")
    assert main(["end", "unforeseen", *([] if variable else ["--debug"])]) == ExitCode.FAILED
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_an_unforeseen_fault_without_a_writable_state_directory_is_still_one_screen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XGW_HOME", "/dev/null/state")
    assert main(["end", "unforeseen"]) == ExitCode.FAILED
    assert "its traceback was not kept" in capsys.readouterr().err


def test_a_broken_pipe_that_is_not_stdout_is_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["end", "broken-socket"]) == ExitCode.FAILED
    assert "BrokenPipeError" in capsys.readouterr().err


@pytest.mark.parametrize(
    "sign", ["\x1b[2J", "\x07", "\r", "\x9b31m", "\u202e", "\u2066", "\u200f", "\u2028", "\ud800", "\x00"]
)
@pytest.mark.parametrize("output", ["table", "json", "jsonl", "csv", "tsv", "md"])
def test_control_and_direction_signs_never_reach_a_screen(
    sign: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["end", "fine", "--text", f"a{sign}b", "-o", output]) == 0
    assert main(["end", "Refused", "--text", f"a{sign}b", "-o", output]) == 1
    shown = capsys.readouterr()
    assert sign[0] not in shown.out
    assert sign[0] not in shown.err


def test_no_terminal_and_no_yes_is_a_usage_fault_that_says_yes(tmp_path: Path) -> None:
    done = xgw("local", "reset", cwd=tmp_path)
    assert done.returncode == ExitCode.USAGE
    assert done.stdout == ""
    assert "--yes" in done.stderr


def test_yes_answers_the_question() -> None:
    assert main(["end", "ask", "--yes"]) == 0
    assert main(["end", "ask", "--no-input"]) == ExitCode.USAGE


def test_the_topic_explains_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(MEANINGS) == set(ExitCode)
    assert main(["help", "exit-codes"]) == 0
    shown = capsys.readouterr().out
    assert all(f" {int(code)} " in shown for code in ExitCode)
