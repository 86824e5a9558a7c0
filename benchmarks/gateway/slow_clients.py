"""300 slow clients of each of three kinds against the server edge, with its default deadlines, and a normal client beside.

    python -m benchmarks.gateway.slow_clients [CLIENTS]        about half a minute

Prints how many of each kind were cut and when, and the normal client's latency before and during. Exit codes: 0 all were cut
and the normal client's p95 beside them stayed below WORST_P95_MS, 1 not so.
"""

from __future__ import annotations

import selectors
import socket
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.helpers.edge import edge
from tests.helpers.gateway_process import Running, read_answer

LIMIT = 35.0
WORST_P95_MS = 100.0
KINDS = {
    "slow head": (b"GET /x HTTP/1.1\r\nHost: a\r\n", b"X: 1\r\n"),
    "slow body": (b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", b"x"),
    "silent": (b"", b""),
}


def normal(server: Running, seconds: float) -> list[float]:
    """Latencies in ms of one client asking 50 times a second."""
    found = []
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as wire:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.perf_counter()
            wire.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            assert read_answer(wire).status == 200
            found.append((time.perf_counter() - began) * 1000)
            time.sleep(0.02)
    return found


def attack(server: Running, count: int) -> tuple[dict[str, list[float]], list[float]]:
    """Cuts each kind saw (seconds after its start), and the normal client's latencies meanwhile."""
    cut: dict[str, list[float]] = {kind: [] for kind in KINDS}
    beside: list[float] = []
    with ExitStack() as stack, selectors.DefaultSelector() as waiting:
        began = time.monotonic()
        for kind, (first, _) in KINDS.items():
            for _ in range(count):
                wire = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=5))
                wire.sendall(first)
                waiting.register(wire, selectors.EVENT_READ, kind)
        while waiting.get_map() and time.monotonic() - began < LIMIT:
            beside += normal(server, 0.5)
            for key, _ in waiting.select(timeout=0):
                with suppress(OSError):
                    if key.fileobj.recv(65536):  # type: ignore[union-attr]
                        continue
                waiting.unregister(key.fileobj)
                cut[key.data].append(time.monotonic() - began)
            for key in list(waiting.get_map().values()):
                with suppress(OSError):
                    key.fileobj.send(KINDS[key.data][1])  # type: ignore[union-attr]
    return cut, beside


def p95(latencies: list[float]) -> float:
    return statistics.quantiles(latencies, n=100)[94]


def line(name: str, latencies: list[float]) -> str:
    """p50, p95, p99 and the worst."""
    cuts = statistics.quantiles(latencies, n=100)
    figures = f"p50 {cuts[49]:.2f}  p95 {cuts[94]:.2f}  p99 {cuts[98]:.2f}  worst {max(latencies):.2f} ms"
    return f"{name}: {figures}  ({len(latencies)} requests)"


def faults(cut: dict[str, list[float]], beside: list[float], count: int) -> list[str]:
    """What did not hold; nothing when all did."""
    found = [f"{kind}: {count - len(times)} were not cut" for kind, times in cut.items() if len(times) < count]
    if p95(beside) >= WORST_P95_MS:
        found.append(f"normal client: p95 {p95(beside):.1f} ms, {WORST_P95_MS:g} at most")
    return found


def main(count: int) -> int:
    """Measures, prints, and says whether it held."""
    with tempfile.TemporaryDirectory() as folder, edge(Path(folder)) as server:
        quiet = normal(server, 5)
        cut, beside = attack(server, count)
    for kind, times in cut.items():
        when = f", from {min(times):.1f} to {max(times):.1f} s" if times else ""
        sys.stdout.write(f"{kind}: {len(times)} of {count} cut{when}\n")
    sys.stdout.write(
        line("normal client, nobody else", quiet) + "\n" + line("normal client, beside them", beside) + "\n"
    )
    wrong = faults(cut, beside, count)
    sys.stdout.write("".join(f"FAILED: {fault}\n" for fault in wrong))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 300))
