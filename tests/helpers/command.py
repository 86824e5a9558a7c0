"""The real `xgw` in a process of its own, with an environment that says only what the test says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

KEPT = ("PATH", "HOME", "LANG", "TMPDIR")
TIME_LIMIT_S = 120


def environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """What an xgw process of a test sees; its state goes below `home`."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "XGW_HOME": str(home), **(more or {})}


def xgw(
    *args: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
) -> subprocess.CompletedProcess[str]:
    """One command line, run to its end in `cwd` with its state in `cwd`/state. Neither end is a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "xgw", *args],
        cwd=cwd,
        env=environment(cwd / "state", env),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )
