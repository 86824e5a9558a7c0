"""Servers as processes: started on one core, measured, and ended with this process whatever happens to it."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.gateway.faults import BenchmarkFault

START_SECONDS = 20.0
STOP_SECONDS = 5.0
KEPT = ("PATH", "HOME", "LANG", "TMPDIR")


@dataclass(frozen=True)
class Cores:
    """Where the servers run, and everything else. None: it cannot be said on this machine."""

    server: int | None
    rest: int | None

    @classmethod
    def of_this_machine(cls) -> Cores:
        """The first two cores this process may use; nothing when there are no two."""
        if not hasattr(os, "sched_getaffinity"):
            return cls(None, None)
        allowed = sorted(os.sched_getaffinity(0))
        return cls(allowed[0], allowed[1]) if len(allowed) > 1 else cls(None, None)


@dataclass(frozen=True)
class Launch:
    """A command, its environment beside PATH and the like, the directory it runs in, and the port it listens on."""

    command: tuple[str, ...]
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None


@dataclass
class Server:
    """A running process and its descendants. What it writes is in `log`."""

    launch: Launch
    process: subprocess.Popen[bytes]
    log: Path
    started: float

    @property
    def port(self) -> int:
        """The loopback port it listens on."""
        return self.launch.port

    def cpu(self) -> float:
        """CPU seconds it has used, with its descendants; nanoseconds count where the kernel tells them (Linux)."""
        return sum(_cpu_of(each) for each in self._family())

    def pss(self) -> int:
        """Bytes of memory, shared pages divided among those who share them; RSS where the kernel does not say."""
        total = 0
        for each in self._family():
            full = each.memory_full_info()
            total += getattr(full, "pss", 0) or full.rss
        return total

    def rss(self) -> int:
        """Bytes of memory with all shared pages, those that other programs have too."""
        return sum(each.memory_info().rss for each in self._family())

    def empty_log(self) -> None:
        """Forgets what was written; it appends."""
        os.truncate(self.log, 0)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL."""
        family = self._family()
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_SECONDS)
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()

    def _family(self) -> list[psutil.Process]:
        try:
            head = psutil.Process(self.process.pid)
            return [head, *head.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def _cpu_of(process: psutil.Process) -> float:
    if sys.platform == "linux":
        with suppress(OSError):
            return time.clock_gettime((~process.pid << 3) | 2)  # the process's own clock: clock_getcpuclockid(3)
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def free_port() -> int:
    """A loopback port nobody listens on right now."""
    with socket.socket() as wire:
        wire.bind(("127.0.0.1", 0))
        return int(wire.getsockname()[1])


@contextmanager
def running(launch: Launch, log: Path, core: int | None, *, probe: bytes | None = None) -> Iterator[Server]:
    """The server, once it answers `probe` with 200 (or accepts connections)."""
    server = start(launch, log, core)
    try:
        await_ready(server, probe)
        yield server
    finally:
        server.stop()


def start(launch: Launch, log: Path, core: int | None) -> Server:
    """Starts it and does not wait."""
    environment = {name: os.environ[name] for name in KEPT if name in os.environ} | dict(launch.environment)

    def before() -> None:
        os.setsid()
        if core is not None:
            os.sched_setaffinity(0, {core})
        if _LIBC is not None:
            _LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nothing of it survives this process

    log.write_bytes(b"")
    with log.open("ab") as out:
        started = time.perf_counter()
        process = subprocess.Popen(
            launch.command,
            env=environment,
            cwd=launch.directory,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=before,  # this program has one thread
        )
    return Server(launch, process, log, started)


def await_ready(server: Server, probe: bytes | None = None) -> float:
    """Seconds from its start to the first 200; BenchmarkFault with its last lines when there is none."""
    end = server.started + START_SECONDS
    while time.perf_counter() < end and server.process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=5) as wire:
            if probe is None:
                return time.perf_counter() - server.started
            wire.sendall(probe)
            if wire.recv(4096).startswith(b"HTTP/1.1 200"):
                return time.perf_counter() - server.started
        time.sleep(0.002)
    last = "\n".join(server.log.read_text(errors="replace").splitlines()[-8:])
    raise BenchmarkFault(f"{' '.join(server.launch.command[:4])} did not answer:\n{last}")


def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None


_LIBC = _libc()


def pin(core: int | None) -> None:
    """Puts this process, and what it starts from here on, on one core."""
    if core is not None:
        os.sched_setaffinity(0, {core})


def run(command: Sequence[str], directory: Path | None = None) -> None:
    """A command that has to succeed; BenchmarkFault with its last lines."""
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-12:])
        raise BenchmarkFault(f"{' '.join(command[:4])} failed with {done.returncode}:\n{last}")
