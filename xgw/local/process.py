"""One operating system process as an instance: spawned in its own session, watched without threads, killed as a group.

Exits are noticed by asking (`exited`), never by a thread that waits, so that this process alone reaps its children, at
moments it chooses: a pid is never signalled after it was given to somebody else.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from xgw.local.images import Program
from xgw.local.leftovers import stamp
from xgw.local.log_lines import Line, LinePipe

PASSED_ON = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
"""What an instance inherits from the daemon's environment: what Python needs to run, and nothing else."""


class Process:
    """A running instance. Make it with `spawn`. `used` is its memory at the last look, in bytes; `over_limit` says how
    it broke its memory limit, if it did."""

    def __init__(self, popen: subprocess.Popen[bytes], port: int, pipes: tuple[LinePipe, ...]) -> None:
        self.pid = popen.pid
        self.port = port
        self.created = _created(popen.pid)
        self.used = 0
        self.over_limit = ""
        self._popen = popen
        self._pipes = pipes
        self._members: dict[int, psutil.Process] = {}

    def exited(self) -> int | None:
        """The exit status (negative: the signal that ended it), or None while it runs. Ends what it left behind."""
        if self._popen.returncode is not None:
            return self._popen.returncode
        if hasattr(os, "waitid"):
            # Look without reaping: until it is reaped its pid, and so its group's id, cannot be given away.
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return None
            self.kill()
        status = self._popen.poll()
        if status is not None and not hasattr(os, "waitid"):
            _kill_group(self.pid)
        return status

    def terminate(self) -> None:
        """SIGTERM to the first process, as Cloud Run does."""
        if self._popen.returncode is None:
            self._popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the whole group."""
        if self._popen.returncode is None:
            _kill_group(self.pid)

    def resident(self) -> int:
        """Resident bytes of the group now, 0 when it is gone."""
        total = 0
        for pid, process in list(self._members.items()):
            try:
                total += process.memory_info().rss
            except psutil.Error:
                del self._members[pid]
        self.used = total
        return total

    def regroup(self, groups: Mapping[int, list[int]]) -> None:
        """Learn which processes belong to the group (see `process_groups`)."""
        for pid in groups.get(self.pid, ()):
            if pid not in self._members:
                with suppress(psutil.Error):
                    self._members[pid] = psutil.Process(pid)

    def owns_port(self) -> bool:
        """False when it is certain that somebody else listens on the port."""
        unsure = False
        for process in list(self._members.values()):
            try:
                connections = process.net_connections("tcp")
            except psutil.AccessDenied:
                unsure = True
            except psutil.Error:
                continue
            else:
                listening = (c for c in connections if c.status == psutil.CONN_LISTEN)
                if any(c.laddr.port == self.port for c in listening):
                    return True
        return unsure

    async def output_read(self, timeout_s: float) -> None:
        """Wait until all that the process wrote has been stored."""
        await asyncio.wait([pipe.ended for pipe in self._pipes], timeout=timeout_s)


def process_groups() -> dict[int, list[int]]:
    """Group id -> pids of every process there is. A system call a process: cheap, but not for every look."""
    groups: dict[int, list[int]] = {}
    for pid in psutil.pids():
        with suppress(OSError):
            groups.setdefault(os.getpgid(pid), []).append(pid)
    return groups


def environment(own: Mapping[str, str], platform: Mapping[str, str]) -> dict[str, str]:
    """The environment of an instance: a small base, the revision's variables, then the platform's, which win."""
    base = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {**base, **own, **platform}


async def spawn(
    program: Program, env: Mapping[str, str], port: int, directory: Path, each: Callable[[Line], None]
) -> Process:
    """Start a program in its own session. Raises OSError when the machine cannot (no processes or memory left).

    Runs on the event loop's thread on purpose: the kernel ends a child with the *thread* that started it
    (prctl(2), PR_SET_PDEATHSIG), so a short-lived worker thread would take the instance with it.
    """
    command = [sys.executable, "-u", "-P", "-m", "xgw.local.instance", str(os.getpid())]
    popen = subprocess.Popen(  # noqa: S603, ASYNC220  a table's programs; starting takes about a millisecond
        [*command, program.module, *program.arguments],
        env=dict(env),
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    loop = asyncio.get_running_loop()
    pipes = []
    try:
        for stream in (popen.stdout, popen.stderr):
            _, pipe = await loop.connect_read_pipe(lambda: LinePipe(each), stream)
            pipes.append(pipe)
    except BaseException:
        # Cancelled, or out of descriptors: nobody knows of this process yet, so it must not live on.
        _kill_group(popen.pid)
        popen.wait()
        raise
    process = Process(popen, port, tuple(pipes))
    process.regroup({process.pid: [process.pid]})
    return process


def _created(pid: int) -> float:
    try:
        return stamp(pid)
    except psutil.Error:
        return 0.0


def _kill_group(group: int) -> None:
    # macOS answers EPERM for a group of which only a zombie is left.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
