from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.command import environment, xgw
from xgw.cli.streams import resolve_ascii, resolve_colour

COLOURS = [
    ("auto", True, {}, True),
    ("auto", False, {}, False),
    ("auto", True, {"NO_COLOR": "1"}, False),
    ("auto", True, {"NO_COLOR": ""}, True),
    ("always", False, {"NO_COLOR": "1"}, True),
    ("never", True, {"CLICOLOR_FORCE": "1"}, False),
    ("auto", False, {"CLICOLOR_FORCE": "1"}, True),
    ("auto", False, {"FORCE_COLOR": "1"}, True),
    ("auto", False, {"CLICOLOR_FORCE": "0"}, False),
    ("auto", False, {"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False),
    ("auto", True, {"TERM": "dumb"}, False),
    ("auto", True, {"TERM": "dumb", "CLICOLOR_FORCE": "1"}, True),
    ("auto", True, {"CLICOLOR": "0"}, False),
]


@pytest.mark.parametrize(("choice", "terminal", "environ", "wanted"), COLOURS)
def test_colour_is_resolved_in_the_documented_order(
    choice: str, terminal: bool, environ: dict[str, str], wanted: bool
) -> None:
    assert resolve_colour(choice, terminal, environ) is wanted


@pytest.mark.parametrize(
    ("encoding", "environ", "wanted"),
    [
        ("utf-8", {}, False),
        ("ascii", {}, True),
        ("latin-1", {}, True),
        ("no-such-encoding", {}, True),
        (None, {}, True),
        ("utf-8", {"XGW_ASCII": "1"}, True),
        ("utf-8", {"XGW_ASCII": "0"}, False),
    ],
)
def test_ascii_is_the_fallback(encoding: str | None, environ: dict[str, str], wanted: bool) -> None:
    assert resolve_ascii(encoding, environ) is wanted


def test_colour_changes_no_word_of_the_help(tmp_path: Path) -> None:
    plain = xgw("local", "up", "--help", cwd=tmp_path).stdout
    coloured = xgw("local", "up", "--help", cwd=tmp_path, env={"CLICOLOR_FORCE": "1"}).stdout
    assert "\x1b[" in coloured
    assert "\x1b[" not in plain
    assert coloured.replace("\x1b[1m", "").replace("\x1b[0m", "") == plain


def test_piped_output_has_no_colour_and_json_is_clean(tmp_path: Path) -> None:
    done = xgw("config", "show", "-o", "json", cwd=tmp_path, env={"CLICOLOR_FORCE": "1"})
    told = json.loads(done.stdout)
    assert told["schema"] == "xgw.config/v1"
    assert done.stderr == ""


@pytest.mark.parametrize("args", [("--help",), ("config", "show"), ("help", "config"), ("--version",)])
def test_a_reader_that_left_is_no_fault(args: tuple[str, ...], tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "xgw", *args],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=environment(tmp_path),
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_closed_streams_are_no_fault(tmp_path: Path) -> None:
    command = f"exec {sys.executable} -m xgw config show >&- 2>&-"
    done = subprocess.run(["sh", "-c", command], env=environment(tmp_path), cwd=tmp_path, timeout=120, check=False)
    assert done.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux")
def test_a_full_disk_behind_stdout_is_said(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "xgw", "config", "show"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(tmp_path),
            cwd=tmp_path,
            timeout=120,
            check=False,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: the output could not be written\n  cause: No space left")


def test_an_ascii_terminal_gets_ascii(tmp_path: Path) -> None:
    done = xgw("doctor", cwd=tmp_path, env={"PYTHONIOENCODING": "ascii"})
    assert done.stdout.isascii()
    assert "ok python" in done.stdout


def test_a_terminal_that_answers_yes_is_believed_and_anything_else_is_not(tmp_path: Path) -> None:
    assert _answered("yes\n", tmp_path) == 0
    assert _answered("y\n", tmp_path) == 2


def _answered(answer: str, tmp_path: Path) -> int:
    """`end ask` on a pseudo-terminal with this answer typed ahead; its exit code."""
    code = (
        "import sys; from xgw.cli.main import COMMANDS, main; "
        "COMMANDS['Test'] = {'end': ('tests.helpers.broken_command:end', '')}; sys.exit(main(['end', 'ask']))"
    )
    control, terminal = pty.openpty()
    os.write(control, answer.encode())
    root = str(Path(__file__).resolve().parents[3])
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdin=terminal,
        stderr=terminal,
        stdout=subprocess.DEVNULL,
        env=environment(tmp_path, {"PYTHONPATH": root}),
        timeout=120,
        check=False,
    )
    os.close(terminal)
    os.close(control)
    return done.returncode
