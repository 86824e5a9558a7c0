"""The real `xgw` on a pseudo-terminal of a given width."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import click

TIME_LIMIT_S = 120


def xgw_on_terminal(*args: str, columns: int, cwd: Path, env: Mapping[str, str]) -> tuple[int, str]:
    """The exit code, and what both streams wrote, without its colours."""
    control, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "xgw", *args],
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        found = b""
        try:
            while part := os.read(control, 1 << 16):
                found += part
        except OSError:  # Linux tells so that nobody holds the other end any more
            pass
        os.close(control)
        code = process.wait(TIME_LIMIT_S)
    return code, click.unstyle(found.decode().replace("\r\n", "\n"))


def span(line: str) -> int:
    """Columns on a terminal."""
    return sum(2 if unicodedata.east_asian_width(sign) in ("W", "F") else 1 for sign in line)
