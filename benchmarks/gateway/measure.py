"""The measurements, each with its targets interleaved: A B C, A B C, so that a slow minute hits all of them."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gateway import closed_loop, open_loop, wire
from benchmarks.gateway.cases import Case, Kind, by_name
from benchmarks.gateway.faults import BenchmarkFault
from benchmarks.gateway.processes import Server, await_ready, start
from benchmarks.gateway.stage import Stage
from benchmarks.gateway.table import Sample
from benchmarks.gateway.targets import OPERATOR, Target

Say = Callable[[str], None]
Servers = Mapping[tuple[str, Kind], Server]

QUIET_RATE, FELT_RATE = 100.0, 500.0
"""Requests per second: the plan document's own load, and the one at which the tail is looked at."""
SOCKETS = 200
SIZE_SLACK = 0.05
"""By what share the mean answer of a slice may differ from the one that was checked."""


@dataclass(frozen=True)
class Pace:
    """How long everything takes. `warm`: seconds for targets that get faster while they run, before each case."""

    rounds: int
    seconds: float
    lead: float
    warm: float
    starts: int


def throughput(
    on: Stage, case: Case, targets: Sequence[Target], running: Servers, pace: Pace, say: Say
) -> list[Sample]:
    """One case at all targets."""
    lua = on.around.place / f"{case.name}.lua"
    lua.write_text(closed_loop.script(case, on.token, on.bodies.get(case.body, b"")), encoding="utf-8")
    sizes = {target.name: on.check(running[target.name, case.kind], case, target.name) for target in targets}
    for target in targets:
        if target.warms:
            _load(on, running[target.name, case.kind], case, lua, pace.warm)
    samples = []
    for at in range(pace.rounds):
        for target in targets:
            server = running[target.name, case.kind]
            _load(on, server, case, lua, pace.lead)
            sample = _slice(on, server, case, lua, target.name, at, pace.seconds)
            _check_size(sample, sizes[target.name])
            samples.append(sample)
        say(f"{case.about}, round {at + 1} of {pace.rounds}")
    return samples


def _slice(on: Stage, server: Server, case: Case, lua: Path, name: str, at: int, seconds: float) -> Sample:
    asked, cpu = on.asked(), server.cpu()
    seen = _load(on, server, case, lua, seconds)
    cpu = server.cpu() - cpu
    if not seen.requests:
        raise BenchmarkFault(
            f"{name}, {case.about}: no answer in {seconds:g} s; the machine is too busy, or the slice too short"
        )
    if seen.failed or seen.refused:
        raise BenchmarkFault(
            f"{name}, {case.about}: of {seen.requests} requests {seen.refused} were answered with an error, "
            f"{seen.failed} with none"
        )
    on.check_asked(case, on.asked() - asked, seen.requests, name, at_once=closed_loop.CONNECTIONS)
    size = seen.bytes / seen.requests
    return Sample(case.name, name, at, seen.requests, seen.seconds, cpu, seen.p50, seen.p95, seen.p99, size)


def _load(on: Stage, server: Server, case: Case, lua: Path, seconds: float) -> closed_loop.Loaded:
    seen = closed_loop.load(on.around.tools.paths["wrk"], lua, server.port, case.path, seconds)
    server.empty_log()
    return seen


def _check_size(sample: Sample, checked: int) -> None:
    if abs(sample.size - checked) > SIZE_SLACK * checked + 40:
        raise BenchmarkFault(f"{sample.target}, {sample.case}: {sample.size:.0f} bytes an answer instead of {checked}")


def without_redis(running: Servers) -> list[str]:
    """A note when ours went without Redis in between: it would have done less work than it should."""
    if ("gateway", "caching") not in running:
        return []
    question = f"GET /metrics HTTP/1.1\r\nHost: gateway.test\r\nAuthorization: Bearer {OPERATOR}\r\n\r\n"
    text = wire.ask(running["gateway", "caching"].port, question.encode()).content.decode()
    found = dict(re.findall(r"^gateway_redis_(calls|unavailable|lost)_total ([0-9.]+)", text, re.MULTILINE))
    if "lost" not in found:
        raise BenchmarkFault(f"gateway: /metrics does not tell about Redis: {text[:200]!r}")
    if float(found["lost"]) == 0:
        return []
    told = f"{float(found['unavailable']):.0f} of {float(found['calls']):.0f} calls"
    return [f"gateway lost Redis {float(found['lost']):.0f} times and went without it ({told}): a machine too busy"]


def rates(
    on: Stage, targets: Sequence[Target], running: Servers, pace: Pace, say: Say
) -> dict[str, list[dict[str, float]]]:
    """At fixed rates: CPU for 10 000 requests at QUIET_RATE (proxied), and the tail at FELT_RATE (cached)."""
    found: dict[str, list[dict[str, float]]] = {target.name: [] for target in targets}
    for at in range(pace.rounds):
        for target in targets:
            quiet = _paced(on, running, target.name, by_name("proxied"), QUIET_RATE, pace)
            felt = _paced(on, running, target.name, by_name("cached"), FELT_RATE, pace)
            found[target.name].append({"cpu_per_10000": quiet["cpu"] / quiet["requests"] * 10000, **felt})
        say(f"at {QUIET_RATE:g} and {FELT_RATE:g} requests/s, round {at + 1} of {pace.rounds}")
    return found


def _paced(on: Stage, running: Servers, name: str, case: Case, rate: float, pace: Pace) -> dict[str, float]:
    server = running[name, case.kind]
    open_loop.pace(server.port, on.request(case), case.status, rate, max(pace.lead, 0.2))
    cpu = server.cpu()
    seen = open_loop.pace(server.port, on.request(case), case.status, rate, pace.seconds)
    cpu = server.cpu() - cpu
    server.empty_log()
    if seen.wrong:
        raise BenchmarkFault(f"{name}, {case.about}: {seen.wrong} wrong answers at {rate:g} requests/s")
    return {**seen.summary(), "cpu": cpu}


def starts(on: Stage, targets: Sequence[Target], pace: Pace, say: Say) -> dict[str, list[dict[str, float]]]:
    """Cold start (command to first 200, in ms), and memory: right after it, and with SOCKETS connections kept open.

    Each target is started once before, unmeasured: byte code and page cache are there, as in an image.
    """
    found: dict[str, list[dict[str, float]]] = {target.name: [] for target in targets}
    for at in range(pace.starts + 1):
        for target in targets:
            seen = _start(on, target)
            if at:
                found[target.name].append(seen)
    say(f"started {pace.starts} times each")
    return found


def _start(on: Stage, target: Target) -> dict[str, float]:
    launch, log = on.launch(target, "caching", f"{target.name}-start")
    server = start(launch, log, on.cores.server)
    lines: list[socket.socket] = []
    try:
        first = await_ready(server, on.health) * 1000
        time.sleep(0.2)
        alone, rss = server.pss(), server.rss()
        for _ in range(SOCKETS):
            lines.append(socket.create_connection(("127.0.0.1", server.port), timeout=wire.WAIT_SECONDS))
            for case in ("health", "cached"):
                lines[-1].sendall(on.request(by_name(case)))
                wire.check(wire.read(lines[-1]), by_name(case), on.bodies, target.name)
        full = server.pss()
    finally:
        for line in lines:
            line.close()
        server.stop()
    return {"start_ms": first, "pss": alone, "rss": rss, "pss_sockets": full, "per_socket": (full - alone) / SOCKETS}
