"""`python -m benchmarks.gateway`: builds, starts, checks, measures, and writes what it found."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from types import FrameType

from benchmarks.gateway import build, measure, report
from benchmarks.gateway.cases import CASES, Case
from benchmarks.gateway.faults import BenchmarkFault
from benchmarks.gateway.measure import Pace
from benchmarks.gateway.stage import Stage, servers, stage
from benchmarks.gateway.targets import TARGETS, Target

FULL = Pace(rounds=3, seconds=4.0, lead=1.0, warm=10.0, starts=5)
QUICK = Pace(rounds=2, seconds=0.6, lead=0.2, warm=1.0, starts=2)
OTHERS = ("rates", "starts")


def say(line: str) -> None:
    """Progress, on stderr."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """0: measured and written; 1: could not, or an answer was wrong; 2: wrong arguments."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    try:
        result = run(_pace(options), _parts(options.only), options.targets, options.python)
    except BenchmarkFault as fault:
        sys.stderr.write(f"benchmarks.gateway: {fault}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    whole = result.pace.seconds >= 2 and not options.only
    path = report.write(result, build.HERE / "results" if whole else build.BUILD / "results")
    say(f"written: {os.path.relpath(path)} and .md")
    sys.stdout.write(report.as_json(result) if options.output == "json" else report.as_markdown(result))
    return 1 if result.faults else 0


def run(pace: Pace, parts: frozenset[str], names: Sequence[str], python: str = sys.executable) -> report.Result:
    """Everything that was asked for and can be done here."""
    found = build.tools(python)
    targets = [TARGETS[name] for name in names if found.has(*TARGETS[name].needs)]
    result = report.Result(report.machine(found.versions()), pace, [target.name for target in targets])
    result.notes += [f"{line} (left out)" for line in found.missing]
    cases = [case for case in CASES if case.name in parts]
    if not found.has("wrk"):
        cases = []
    if pace.seconds < 2:
        result.notes.append("short slices: this shows that it works; the figures are too few to be quoted")
    if result.machine["load_before"] > report.BUSY:
        result.notes.append(f"the machine was busy (load {result.machine['load_before']}): do not quote these figures")
    with stage(found) as on:
        result.notes += _surroundings(on)
        for note in result.notes:
            say(f"NOTE {note}")
        _measure(on, result, cases, targets, parts)
    result.machine["load_after"] = round(os.getloadavg()[0], 2)
    return result


def _measure(on: Stage, result: report.Result, cases: list[Case], targets: list[Target], parts: frozenset[str]) -> None:
    if "starts" in parts:
        result.starts = measure.starts(on, targets, result.pace, say)
    if not cases and "rates" not in parts:
        return
    with servers(on, targets, ("plain", "caching")) as running:
        for case in cases:
            asked = [target for target in targets if not case.targets or target.name in case.targets]
            try:
                result.samples += measure.throughput(on, case, asked, running, result.pace, say)
            except BenchmarkFault as fault:  # what the others did is kept; this case has no figures
                result.faults.append(str(fault))
                say(f"FAULT {fault}")
        if "rates" in parts:
            result.rates = measure.rates(on, targets, running, result.pace, say)
        result.notes += measure.without_redis(running)


def _surroundings(on: Stage) -> list[str]:
    notes = []
    if on.cores.server is None:
        notes.append("no two cores to pin to: servers and generator share, and requests per second mean little")
    return notes


def _pace(options: argparse.Namespace) -> Pace:
    usual = QUICK if options.quick else FULL
    return replace(usual, rounds=options.rounds or usual.rounds, seconds=options.seconds or usual.seconds)


def _parts(only: Sequence[str] | None) -> frozenset[str]:
    return frozenset(only or [*(case.name for case in CASES), *OTHERS])


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)


def _names(known: Iterable[str]) -> Callable[[str], list[str]]:
    every = list(known)

    def parse(text: str) -> list[str]:
        found = text.split(",")
        wrong = [name for name in found if name not in every]
        if wrong:
            raise argparse.ArgumentTypeError(f"{wrong[0]!a} is none of {', '.join(every)}")
        return [name for name in every if name in found]

    return parse


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = kind(text)
        if not 0 < value <= 3600:
            raise argparse.ArgumentTypeError("must be above 0, and at most 3600")
        return value

    return parse


def _parser() -> argparse.ArgumentParser:
    parts = [*(case.name for case in CASES), *OTHERS]
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.gateway",
        description="Our gateway beside Express, Fastify, nginx and HAProxy on the same work. See "
        "docs/explanation/performance.md.",
        epilog="Without options about 15 minutes; with --quick about 2. Leave the machine alone meanwhile.",
    )
    made.add_argument("--rounds", type=_positive(int), help=f"rounds of every case (default {FULL.rounds})")
    made.add_argument("--seconds", type=_positive(float), help=f"seconds of a slice (default {FULL.seconds:g})")
    made.add_argument("--only", type=_names(parts), metavar="PART,…", help=f"of {', '.join(parts)}")
    made.add_argument("--targets", type=_names(TARGETS), metavar="NAME,…", default=list(TARGETS), help="some of them")
    made.add_argument(
        "--python", metavar="PATH", default=sys.executable, help="what runs our gateway (default: what runs this)"
    )
    made.add_argument("--quick", action="store_true", help="to see that it works; figures not to be quoted")
    made.add_argument("-o", "--output", choices=("table", "json"), default="table", help="what to print on stdout")
    return made


if __name__ == "__main__":
    sys.exit(main())
