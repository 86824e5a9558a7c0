"""Requests at a fixed rate, whether or not the answers keep up: what users feel, and what a quiet service costs.

Every request has its moment. One that finds no free connection waits, and its wait counts. What does not count is that
this program itself woke up late: that is reported apart, since it says whether the figures can be believed.
select(2) and not epoll: its timeouts have microseconds.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from dataclasses import dataclass, field

from benchmarks.gateway.faults import BenchmarkFault
from benchmarks.gateway.table import percentile
from benchmarks.gateway.wire import Reader

CONNECTIONS = 16
PATIENCE = 10.0
"""Seconds for the last answers."""


@dataclass
class Paced:
    """Milliseconds from a request's moment to the end of its answer, and by how much this program was late."""

    latencies: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    wrong: int = 0

    def summary(self) -> dict[str, float]:
        """The percentiles."""
        points = {f"p{at}": percentile(self.latencies, at) for at in (50, 95, 99)}
        return {**points, "late_p99": percentile(self.late, 99), "requests": len(self.latencies)}


class _Line:
    """One connection."""

    def __init__(self, port: int) -> None:
        self.wire = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.since = 0.0
        self.reader = Reader()

    def fileno(self) -> int:
        return self.wire.fileno()

    def send(self, request: bytes, since: float) -> None:
        self.since, self.reader = since, Reader()
        self.wire.sendall(request)


def pace(port: int, request: bytes, status: int, rate: float, seconds: float) -> Paced:
    """Asks `rate` times a second for so many seconds; BenchmarkFault when answers stay away."""
    lines = [_Line(port) for _ in range(CONNECTIONS)]
    try:
        return _run(lines, request, status, rate, int(rate * seconds))
    except TimeoutError:
        raise BenchmarkFault(f"no answer within {PATIENCE:g} s at {rate:g} requests/s") from None
    finally:
        for line in lines:
            line.wire.close()


def _run(lines: list[_Line], request: bytes, status: int, rate: float, count: int) -> Paced:
    found = Paced()
    free, busy = deque(lines), set[_Line]()
    waiting: deque[float] = deque()
    begin, sent = time.perf_counter(), 0
    while sent < count or waiting or busy:
        now = time.perf_counter()
        while sent < count and begin + sent / rate <= now:
            found.late.append((now - begin - sent / rate) * 1000)
            waiting.append(now)
            sent += 1
        while waiting and free:
            line = free.popleft()
            line.send(request, waiting.popleft())
            busy.add(line)
        pause = max(0.0, begin + sent / rate - time.perf_counter()) if sent < count else PATIENCE
        ready = select.select(list(busy), [], [], pause)[0]
        if not ready and sent == count and busy:
            raise TimeoutError
        for line in ready:
            if _answered(line, status, found):
                busy.remove(line)
                free.append(line)
    return found


def _answered(line: _Line, status: int, found: Paced) -> bool:
    piece = line.wire.recv(262144)
    if not piece:
        raise BenchmarkFault("a connection ended before its answer")
    answer = line.reader.feed(piece)
    if answer is None:
        return False
    found.latencies.append((time.perf_counter() - line.since) * 1000)
    found.wrong += answer.status != status
    return True
