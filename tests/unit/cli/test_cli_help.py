from __future__ import annotations

import ast
from pathlib import Path

import click
import pytest

import xgw.cli
from tests.helpers.command import xgw as run_xgw
from tests.unit.cli.commands import EVERY, EXAMPLES, PATHS, parse
from xgw import __version__
from xgw.cli.group import Leaf
from xgw.cli.main import COMMANDS, main
from xgw.errors import ExitCode

HEAVY = ("google", "grpc", "httpx", "redis", "asyncio", "sqlite3", "rich", "tabulate", "importlib.metadata", "xgw.plan")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_starts_with_examples(path: str, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*path.split(), flag]) == ExitCode.OK
    shown = capsys.readouterr()
    assert shown.out.startswith("EXAMPLES\n  xgw")
    assert "\nUSAGE\n" in shown.out
    assert shown.err == ""


@pytest.mark.parametrize("line", sorted(set(EXAMPLES)))
def test_every_example_parses(line: str) -> None:
    assert parse(line).command_path.startswith("xgw")


def test_examples_of_a_command_call_that_command() -> None:
    strays = [
        (path, line)
        for path, command in EVERY.items()
        if isinstance(command, Leaf)
        for line, _ in command.examples
        if parse(line).command_path != " ".join(("xgw", *path))
    ]
    assert strays == []


def test_every_command_has_examples_and_a_help_text() -> None:
    bare = [path for path, command in EVERY.items() if not getattr(command, "examples", ()) or not command.help]
    assert bare == []


@pytest.mark.parametrize("width", ["60", "80", "200"])
def test_root_help_fits_narrow_and_wide_terminals(width: str, tmp_path: Path) -> None:
    shown = run_xgw("--help", cwd=tmp_path, env={"COLUMNS": width})
    assert shown.returncode == 0
    assert all(name in shown.stdout for section in COMMANDS.values() for name in section)


@pytest.mark.parametrize("args", [(), ("--help",), ("--version",), ("local", "--help"), ("help", "exit-codse")])
def test_light_commands_import_nothing_heavy(args: tuple[str, ...], tmp_path: Path) -> None:
    code = f"""
import sys
from xgw.cli.main import main
main({list(args)!r})
heavy = [name for name in {HEAVY!r} if name in sys.modules]
commands = [name for name in sys.modules if name in {_command_modules()!r}]
if heavy or {len(args) < 2} and commands:
    sys.exit(f"imported: {{heavy}} {{commands}}")
"""
    import subprocess
    import sys

    from tests.helpers.command import environment

    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _command_modules() -> list[str]:
    return sorted({target.partition(":")[0] for section in COMMANDS.values() for target, _ in section.values()})


def test_completing_a_command_name_imports_no_command(tmp_path: Path) -> None:
    shown = run_xgw(cwd=tmp_path, env={"_XGW_COMPLETE": "bash_complete", "COMP_WORDS": "xgw loc", "COMP_CWORD": "1"})
    assert shown.stdout == "plain,local\n"
    assert shown.stderr == ""


def test_completing_an_option_knows_the_common_ones(tmp_path: Path) -> None:
    env = {"_XGW_COMPLETE": "bash_complete", "COMP_WORDS": "xgw local status --", "COMP_CWORD": "3"}
    assert "plain,--output" in run_xgw(cwd=tmp_path, env=env).stdout.splitlines()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert f"_XGW_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_version_is_the_constant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"xgw {__version__}\n"


def test_every_module_of_the_cli_is_used() -> None:
    """A command file that no table names would be a command nobody can call."""
    folder = Path(str(xgw.cli.__file__)).parent
    text = "".join(path.read_text() for path in folder.glob("*.py"))
    unnamed = [p.stem for p in folder.glob("*.py") if p.stem not in ("__init__", "main") and p.stem not in text]
    assert unnamed == []


def test_no_command_imports_a_heavy_library_at_its_top() -> None:
    folder = Path(str(xgw.cli.__file__)).parent
    found = [
        (path.name, name)
        for path in folder.glob("*.py")
        for node in ast.parse(path.read_text()).body
        for name in _names(node)
        if name.split(".")[0] in HEAVY
    ]
    assert found == []


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module else []


def test_a_group_is_never_a_command_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    groups = [path for path, command in EVERY.items() if isinstance(command, click.Group)]
    for path in groups:
        assert main(list(path)) == 0
        assert capsys.readouterr().out.startswith("EXAMPLES\n")
