"""Memory of idle sockets: the gateway's stream beside Socket.IO's own server under Node, in one run.

    .venv/bin/python -m benchmarks.stream [--sockets 200] [--rounds 3]

Each server gets so many WebSockets that are connected, authenticated, subscribed to one room and then silent. What is told is
the private memory (Linux: Pss) they add, divided by their number, and the whole process with all of them. Node is asked to
collect its garbage first; Python is not asked anything. One lead-in of as many sockets comes before, so that neither what is
loaded with the first socket nor a heap's first growth counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

import psutil

from benchmarks.gateway import issuer
from benchmarks.gateway.processes import free_port

HERE = Path(__file__).parent
PATH = "/api/xynergyos/v2/stream/?EIO=4&transport=websocket"
SETTLE_SECONDS = 2.0


def main() -> None:
    """Measures both, alternating, and prints the medians and their ratio."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sockets", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys.json"
        token = issuer.issue(keys)
        rows: dict[str, list[tuple[float, float]]] = {"gateway": []}
        modules = peer(Path(folder))
        if modules is not None:
            rows["socket.io"] = []
        for _ in range(given.rounds):
            for name, found in rows.items():
                server = gateway(keys, given.sockets) if name == "gateway" else node(modules)  # type: ignore[arg-type]
                with server as (process, port):
                    found.append(asyncio.run(measure(process, port, token, given.sockets)))
    print(
        f"{'server':12} {'KiB a socket':>14} {'MiB in all':>12}   ({given.sockets} idle sockets, medians of {given.rounds})"
    )
    for name, found in rows.items():
        print(f"{name:12} {median(each for each, _ in found):14.1f} {median(whole for _, whole in found):12.1f}")
    if "socket.io" in rows:
        each, whole = (
            median(r[at] for r in rows["gateway"]) / median(r[at] for r in rows["socket.io"]) for at in (0, 1)
        )
        print(f"{'ratio':12} {each:14.2f} {whole:12.2f}")


async def measure(process: psutil.Process, port: int, token: str, count: int) -> tuple[float, float]:
    """KiB that one socket adds, and MiB of the process with all of them."""
    from websockets.asyncio.client import ClientConnection, connect

    async def one() -> ClientConnection:
        wire = await connect(f"ws://127.0.0.1:{port}{PATH}", proxy=None, compression=None, ping_interval=None)
        await wire.recv()
        await wire.send("40" + json.dumps({"token": token}))
        said = str(await wire.recv())
        assert said.startswith("40"), said
        await wire.send('420["subscribe","contacts"]')
        assert '"ok":true' in str(await wire.recv())
        return wire

    async def many() -> list[ClientConnection]:
        return [await one() for _ in range(count)]

    async def still() -> int:
        await asyncio.sleep(SETTLE_SECONDS)
        if "node" in process.name():
            process.send_signal(signal.SIGUSR2)
            await asyncio.sleep(1)
        return int(process.memory_full_info().pss)

    for wire in await many():
        await wire.close()
    before = await still()
    wires = await many()
    after = await still()
    for wire in wires:
        await wire.close()
    return (after - before) / 1024 / count, after / 1024 / 1024


@contextmanager
def gateway(keys: Path, count: int) -> Iterator[tuple[psutil.Process, int]]:
    """The gateway with all its defaults, but for one user who may have them all."""
    environment = {**issuer.settings(keys), "WS_MAX_PER_USER": str(max(count, 1)), "LISTEN_ADDRESS": "127.0.0.1"}
    with started([sys.executable, "-m", "gateway_runtime"], environment) as found:
        yield found


@contextmanager
def node(modules: Path) -> Iterator[tuple[psutil.Process, int]]:
    """Socket.IO's own server."""
    with started(["node", "--expose-gc", str(HERE / "peer" / "server.js")], {"NODE_PATH": str(modules)}) as found:
        yield found


@contextmanager
def started(words: list[str], environment: dict[str, str]) -> Iterator[tuple[psutil.Process, int]]:
    """A process that accepts connections; ended afterwards."""
    port = free_port()
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    process = subprocess.Popen(
        words, env={**kept, **environment, "PORT": str(port)}, stdout=subprocess.DEVNULL, cwd=HERE.parents[1]
    )
    try:
        end = time.monotonic() + 15
        while time.monotonic() < end and process.poll() is None:
            with suppress(OSError):
                asyncio.run(_dial(port))
                break
            time.sleep(0.05)
        yield psutil.Process(process.pid), port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _dial(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


def peer(folder: Path) -> Path | None:
    """The peer's locked packages, installed; None, and said, without Node."""
    if not (shutil.which("node") and shutil.which("npm")):
        print("node or npm is missing: the gateway alone", file=sys.stderr)
        return None
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / "peer" / name, folder)
    words = ["npm", "ci", "--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
    subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder / "node_modules"


if __name__ == "__main__":
    main()
