"""From a revision to a process that listens: the port it gets, the environment, the wait, and why it failed."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path

from xgw.local import leftovers, ports
from xgw.local.instances import RevisionSpec
from xgw.local.log_lines import Line
from xgw.local.process import Process, environment, spawn
from xgw.local.slot import Slot

LISTEN_POLL_S = 0.015
PORT_TRIES = 4


class Heard(Enum):
    """How waiting for a process to listen ended."""

    LISTENS = "listens"
    EXITED = "exited"
    SILENT = "silent"
    PORT_TAKEN = "port taken"


def platform_environment(spec: RevisionSpec, port: int) -> dict[str, str]:
    """What Cloud Run adds to a container's environment (container runtime contract), and one thing that it does not: here a
    container has no network of its own, so it is told to listen where only this machine reaches it."""
    return {
        "PORT": str(port),
        "LISTEN_ADDRESS": "127.0.0.1",
        "K_SERVICE": spec.service,
        "K_REVISION": spec.name,
        "K_CONFIGURATION": spec.service,
    }


async def launch(
    slot: Slot,
    own: Mapping[str, str],
    directory: Path,
    used_ports: set[int],
    startup_s: float,
    each: Callable[[Line], None],
) -> Heard:
    """Start a process for the slot and wait until it listens; it stands in `slot.process` from its first moment. `own` is
    the revision's environment.

    Nobody can reserve a port for another process, so the port is checked instead: when somebody else turns out to
    listen there, or took it before the process did, the process is ended and gets another one.
    """
    deadline = time.monotonic() + startup_s
    heard = Heard.SILENT
    for _ in range(PORT_TRIES):
        port = ports.pick(used_ports)
        used_ports.add(port)
        try:
            env = environment(own, platform_environment(slot.spec, port))
            slot.process = await spawn(slot.program, env, port, directory, each)
            slot.ended.clear()
            leftovers.note(directory, slot.spec.name, leftovers.Noted(slot.process.pid, slot.process.created))
            heard = await _listening(slot.process, deadline)
        finally:
            used_ports.discard(port)
        if heard is not Heard.PORT_TAKEN:
            break
        await end_now(slot.process)
    return heard


async def end_now(process: Process) -> None:
    """SIGKILL, and wait until the process is reaped."""
    process.kill()
    while process.exited() is None:  # noqa: ASYNC110  a process has no event to wait for
        await asyncio.sleep(LISTEN_POLL_S)


async def _listening(process: Process, deadline: float) -> Heard:
    while time.monotonic() < deadline:
        if process.exited() is not None:
            return Heard.EXITED if ports.is_free(process.port) else Heard.PORT_TAKEN
        if await _accepts(process.port):
            return Heard.LISTENS if process.owns_port() else Heard.PORT_TAKEN
        await asyncio.sleep(LISTEN_POLL_S)
    return Heard.SILENT


async def _accepts(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port)), 1.0)
        except (OSError, TimeoutError):
            return False
    return True


EXIT_REASONS: Mapping[Heard, str] = {
    Heard.SILENT: "It was running but did not listen there in time.",
    Heard.PORT_TAKEN: f"Another program took its port {PORT_TRIES} times; see `xgw local status`.",
}


def why_not_ready(spec: RevisionSpec, heard: Heard, last_words: str) -> str:
    """Cloud Run's text for a failed start, and what is known here on top of it."""
    detail = last_words if heard is Heard.EXITED else EXIT_REASONS[heard]
    return (
        f"Revision '{spec.name}' is not ready and cannot serve traffic. The user-provided container failed to start "
        f"and listen on the port defined provided by the PORT={spec.port} environment variable within the allocated "
        f"timeout. Logs for this revision might contain more information. {detail}"
    )


def no_room(spec: RevisionSpec, error: OSError) -> str:
    """Why a process could not even be started on this machine."""
    name = errno.errorcode.get(error.errno or 0, "")
    return f"Revision '{spec.name}' could not be started on this machine: {error} {name}".rstrip()
