"""Everything a run stands on: upstream, Valkey, token, and the servers, all on loopback and ended with the run."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gateway import build, data, issuer, wire
from benchmarks.gateway.cases import Case, Kind, by_name, request
from benchmarks.gateway.faults import BenchmarkFault
from benchmarks.gateway.processes import Cores, Launch, Server, free_port, pin, running
from benchmarks.gateway.targets import Around, Target

CHECKS = 20
LOG_SECONDS = 3.0
_SERVED = b"GET /served HTTP/1.1\r\nHost: upstream.test\r\n\r\n"


@dataclass
class Stage:
    """The surroundings of the servers."""

    around: Around
    cores: Cores
    bodies: dict[str, bytes]
    token: str

    def request(self, case: Case) -> bytes:
        """A case's request."""
        return request(case, self.token, self.bodies.get(case.body, b""))

    @property
    def health(self) -> bytes:
        """What a server is asked to see whether it is there."""
        return self.request(by_name("health"))

    def asked(self) -> int:
        """How many requests the upstream has answered."""
        return int(wire.ask(self.around.upstream, _SERVED).body)

    def launch(self, target: Target, kind: Kind, name: str) -> tuple[Launch, Path]:
        """What starts a target, and the file of its log lines."""
        directory = self.around.place / name
        directory.mkdir(exist_ok=True)
        return target.make(self.around, kind, directory), directory / "out.log"

    def check(self, server: Server, case: Case, whose: str) -> int:
        """Asks some times over; BenchmarkFault unless every answer is right, the upstream was asked as often as it must
        be, and each request left a line in the log. Returns the bytes of an answer."""
        first = wire.ask(server.port, self.request(case))
        wire.check(first, case, self.bodies, whose)
        server.empty_log()
        before = self.asked()
        for _ in range(CHECKS):
            answer = wire.ask(server.port, self.request(case))
            wire.check(answer, case, self.bodies, whose)
        self.check_asked(case, self.asked() - before, CHECKS, whose, at_once=2)
        end = time.monotonic() + LOG_SECONDS
        while (lines := server.log.read_bytes().count(b"\n")) < CHECKS:
            if time.monotonic() > end:
                raise BenchmarkFault(f"{whose}, {case.about}: {lines} log lines for {CHECKS} requests")
            time.sleep(0.05)
        return answer.size

    def check_asked(self, case: Case, asked: int, requests: int, whose: str, *, at_once: int) -> None:
        """A cache that does not, or a proxy that answers by itself, would win anything.

        What is kept may come to its end meanwhile: a cache without single flight then asks `at_once` times.
        """
        if case.asks and asked < requests:
            raise BenchmarkFault(f"{whose}, {case.about}: the upstream was asked {asked} times for {requests} requests")
        if not case.asks and asked > max(at_once, requests // 100):
            raise BenchmarkFault(f"{whose}, {case.about}: the upstream was asked {asked} times for {requests} hits")


@contextlib.contextmanager
def stage(found: build.Tools) -> Iterator[Stage]:
    """Builds, starts upstream and Valkey, and pins this process away from the servers' core."""
    program = build.upstream(found)
    cores = Cores.of_this_machine()
    pin(cores.rest)
    with contextlib.ExitStack() as stack:
        build.BUILD.mkdir(exist_ok=True)
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=build.BUILD, prefix="run-")))
        bodies = data.write(place / "bodies")
        port = free_port()
        launch = Launch((str(program), str(port), str(place / "bodies")), port)
        stack.enter_context(running(launch, place / "upstream.log", cores.rest))
        redis = _valkey(stack, place, cores)
        keys = place / "keys.json"
        token = issuer.issue(keys)
        yield Stage(Around(port, redis, keys, found, place), cores, bodies, token)


@contextlib.contextmanager
def servers(on: Stage, targets: Sequence[Target], kinds: Sequence[Kind]) -> Iterator[Mapping[tuple[str, Kind], Server]]:
    """All of them running, by target and kind of case; a target that is not `apart` has one process for both."""
    started: dict[tuple[str, Kind], Server] = {}
    with contextlib.ExitStack() as stack:
        for target in targets:
            for kind in kinds:
                if not target.apart and started.keys() & {(target.name, "plain"), (target.name, "caching")}:
                    started[target.name, kind] = next(s for (name, _), s in started.items() if name == target.name)
                    continue
                launch, log = on.launch(target, kind, f"{target.name}-{kind}")
                server = stack.enter_context(running(launch, log, on.cores.server, probe=on.health))
                started[target.name, kind] = server
        yield started


def _valkey(stack: contextlib.ExitStack, place: Path, cores: Cores) -> int:
    program = build.valkey()
    port = free_port()
    limits = ("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru", "--save", "", "--appendonly", "no")
    command = (str(program), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(place), *limits)
    stack.enter_context(running(Launch(command, port), place / "valkey.log", cores.rest))
    return port
