from __future__ import annotations

import io
import os
import pty
import re
import select
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from xgw.live import Lines, LiveView, Progress, Silent, open_progress
from xgw.report import Style

ASCII = Style(False, True)


def _work(progress: Progress) -> None:
    with progress:
        progress.step_started("1.1", "gateway memory 512Mi")
        progress.step_note("1.1", "waiting for \x1b[2Jthe revision")
        progress.evidence("1.1", "memory under load  214Mi <= 400Mi", True)
        progress.evidence("1.1", "p95 no samples", None)
        progress.step_finished("1.1", "validated", "gateway memory 512Mi", 128.4)
        progress.step_started("1.2", "slack")
        progress.evidence("1.2", "errors 3% <= 1%", False)
        progress.step_finished("1.2", "rejected", "slack", 4.0)


WANTED = [
    "  ok 1.1  gateway memory 512Mi  validated  2m08s",
    "         ok memory under load  214Mi <= 400Mi",
    "         ! p95 no samples",
    "  FAIL 1.2  slack  rejected  4.0s",
    "         FAIL errors 3% <= 1%",
]


def test_without_a_terminal_each_finished_step_is_a_line_with_its_evidence() -> None:
    stream = io.StringIO()
    _work(open_progress(stream, ASCII))
    assert stream.getvalue().splitlines() == WANTED


def test_quiet_says_nothing() -> None:
    stream = io.StringIO()
    progress = open_progress(stream, ASCII, quiet=True, terminal=True)
    assert isinstance(progress, Silent)
    _work(progress)
    assert stream.getvalue() == ""


def test_long_silence_is_broken_by_a_heartbeat() -> None:
    stream = io.StringIO()
    with Lines(stream, ASCII, heartbeat=0.2) as progress:
        progress.step_started("1.1", "gateway memory")
        progress.step_note("1.1", "waiting for samples")
        _until(lambda: "still at work" in stream.getvalue())
    assert "  .. 1.1  waiting for samples  still at work after 0." in stream.getvalue()


def test_a_reader_that_left_does_not_stop_the_work(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w", buffering=1)
    _work(Lines(stream, ASCII))
    with suppress(BrokenPipeError):
        stream.close()


def test_on_a_terminal_the_open_step_is_drawn_and_the_finished_ones_stay() -> None:
    control, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as stream:
        progress = open_progress(stream, ASCII, terminal=True)
        assert isinstance(progress, LiveView)
        with progress:
            progress.step_started("1.1", "gateway memory")
            progress.step_note("1.1", "waiting\x1b[2J")
            seen = _read(control, "waiting")
            progress.evidence("1.1", "memory  214Mi", True)
            progress.step_finished("1.1", "validated", "gateway memory", 1.5)
        stream.flush()
        seen += _read(control, "1.5s", "214Mi\r\n")
    os.close(control)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    assert "waiting\\x1b[2J" in plain
    assert "  ok 1.1  gateway memory  validated  1.5s" in plain
    assert "         ok memory  214Mi" in plain
    assert "\x1b[3" not in seen, "no colour was asked for"


def _read(control: int, *words: str) -> str:
    """What the terminal shows until all of these words have been there."""
    seen = ""
    while not all(word in seen for word in words):
        assert select.select([control], [], [], 60)[0], seen
        seen += os.read(control, 65536).decode()
    return seen


def _until(true: Callable[[], bool], limit: float = 60.0) -> None:
    deadline = time.monotonic() + limit
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
