"""docs/how-to/run-the-gateway-alone.md, carried out: its commands as they stand there, and what it says they answer."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway_runtime.settings import TABLE
from tests.helpers.gateway_process import ROOT, free_port

PAGE = (ROOT / "docs" / "how-to" / "run-the-gateway-alone.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
NEXT = "@@next@@"


def steps() -> list[tuple[str, list[str]]]:
    """The commands of the page's console blocks, each with the lines that it should answer."""
    found: list[tuple[str, list[str]]] = []
    for line in "".join(body for kind, body in BLOCKS if kind == "console").splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def fits(line: str, told: str) -> bool:
    """Whether a line is what the page shows; … stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, told.split("…"))), line) is not None


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page's commands need curl")
def test_the_page_says_what_its_commands_answer(tmp_path: Path) -> None:
    # As after "Install", with the libraries of this environment.
    shutil.copytree(ROOT / "gateway_runtime", tmp_path / "gateway_runtime", ignore=shutil.ignore_patterns("*.pyc"))
    (issue,) = [body for kind, body in BLOCKS if kind == "python"]
    (tmp_path / "issue.py").write_text(issue)
    folder = tmp_path / "venv" / "bin"
    folder.mkdir(parents=True)
    for name in ("python", "python3"):
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (folder / name).chmod(0o755)
    script = "\n".join(f"{command}\necho {NEXT}" for command, _ in steps())
    ports = {"8080": str(free_port()), "9001": str(free_port())}

    def placed(text: str) -> str:
        return re.sub("8080|9001", lambda found: ports[found[0]], text)

    shell = subprocess.Popen(
        ["bash", "-c", placed(script)],
        cwd=tmp_path,
        env={"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = shell.communicate(timeout=120)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
    answers = [part.strip().splitlines() for part in said.split(NEXT)]
    for (command, told), lines in zip(steps(), answers, strict=False):
        assert len(lines) == len(told), (command, lines)
        assert all(fits(line, placed(want)) for line, want in zip(lines, told, strict=True)), (command, lines, told)
    assert len(answers) == len(steps()) + 1


def test_the_page_names_only_settings_that_there_are() -> None:
    known = {setting.env for setting in TABLE}
    named = set(re.findall(r"\b((?:AUTH|UPSTREAM|SERVER|RATE_LIMIT|OPERATOR|REDIS)_[A-Z_]+)\b", PAGE))
    codes = {"AUTHENTICATION_NOT_CONFIGURED", "AUTHENTICATION_UNAVAILABLE"}
    assert named - codes <= known
