"""Connects and disconnects one user's sockets many times, and says what that left behind in the gateway.

    .venv/bin/python -m benchmarks.stream.churn [10000]

One of three leaves with a close frame, one without a word, one by Socket.IO's DISCONNECT. Told are open sockets, sessions, tasks,
file descriptors and memory, after a lead-in, every quarter, and at the end.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

from benchmarks.gateway import issuer
from benchmarks.stream.__main__ import PATH, started

OPERATOR = "the-operator-of-this-benchmark-0123456789"
LEAD_IN = 500
NUMBERS = ("gateway_stream_connections", "gateway_stream_sessions", "gateway_tasks")


def main() -> None:
    """Runs it and prints a line each quarter."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys.json"
        token = issuer.issue(keys)
        environment = {
            **issuer.settings(keys),
            "OPERATOR_TOKEN": OPERATOR,
            "RATE_LIMIT_ADDRESS": "off",
            "LISTEN_ADDRESS": "127.0.0.1",
            "LOG_LEVEL": "warning",
        }
        with started([sys.executable, "-m", "gateway_runtime"], environment) as (process, port):
            asyncio.run(churn(port, token, LEAD_IN))
            print(f"{'sockets':>8} {'open':>5} {'sessions':>9} {'tasks':>6} {'fds':>5} {'RSS MiB':>8} {'a second':>9}")
            tell(process, port, 0, 0)
            for quarter in range(1, 5):
                began = time.perf_counter()
                asyncio.run(churn(port, token, count // 4))
                tell(process, port, quarter * (count // 4), count // 4 / (time.perf_counter() - began))


def tell(process: psutil.Process, port: int, done: int, rate: float) -> None:
    """One line, once nothing is open any more (or after five seconds)."""
    end = time.monotonic() + 5
    while (found := numbers(port))[0] and time.monotonic() < end:
        time.sleep(0.05)
    rss = process.memory_info().rss / 1024 / 1024
    print(f"{done:8} {found[0]:5} {found[1]:9} {found[2]:6} {process.num_fds():5} {rss:8.1f} {rate:9.0f}", flush=True)


def numbers(port: int) -> list[int]:
    """What the gateway counts."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {OPERATOR}", "Connection": "close"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read().decode()
    return [int(match[1]) if (match := re.search(rf"^{name} (\d+)$", text, re.MULTILINE)) else -1 for name in NUMBERS]


async def churn(port: int, token: str, count: int) -> None:
    """So many sockets, four at a time: one user may have five."""
    from websockets.asyncio.client import connect

    async def one(number: int) -> None:
        refused = 0
        while True:
            async with connect(
                f"ws://127.0.0.1:{port}{PATH}", proxy=None, compression=None, ping_interval=None, close_timeout=2
            ) as wire:
                await wire.recv()
                await wire.send("40" + json.dumps({"token": token}))
                said = str(await wire.recv())
                if said.startswith("40"):
                    if number % 3 == 1:
                        wire.transport.abort()
                    elif number % 3 == 2:
                        await wire.send("41")
                    return
                refused += 1  # one that left without a word a moment ago is still counted
                assert refused < 100, said
            await asyncio.sleep(0.01)

    async def several(first: int) -> None:
        for number in range(first, count, 4):
            await one(number)

    await asyncio.gather(*(several(first) for first in range(4)))


if __name__ == "__main__":
    main()
