"""`python -m tests.soak`: leaks between tenants, the parser against h11, deadlines at their real 30 s, an open breaker,
imports killed at every point.

Exit codes: 0 all held, 1 something did not. An hour on two cores at the usual numbers.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor

from tests.soak import breaker, deadlines, imports, parser

LEAKS = "tests/contract/gateway/test_cache_tenants.py"
Parts = Mapping[str, Callable[[argparse.Namespace], str]]
PARTS: Parts = {
    "tenants": lambda options: tenants(options.requests),
    "parser": lambda options: fuzzed(options.examples, options.processes),
    "deadlines": lambda _: deadlines.run(),
    "breaker": lambda _: breaker.run(),
    "imports": lambda _: imports.run(),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the parts; each prints one line of figures."""
    options = _parser().parse_args(arguments)
    failed = False
    for name in options.parts or PARTS:
        try:
            print(f"{name}: {PARTS[name](options)}", flush=True)
        except AssertionError as fault:
            failed = True
            print(f"{name}: FAILED: {fault}", flush=True)
    return int(failed)


def tenants(requests: int) -> str:
    """The leak test of the contract tests with so many requests."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", LEAKS],
        env={**os.environ, "XGW_LEAK_REQUESTS": str(requests)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    counts = next(line for line in done.stdout.splitlines() if line.startswith("{"))
    return f"{requests} requests in {time.monotonic() - began:.0f} s: {counts}"


def fuzzed(examples: int, processes: int) -> str:
    """The examples, shared among processes."""
    share = -(-examples // processes)
    with ProcessPoolExecutor(processes) as pool:
        told = [pool.submit(parser.run, share, seed=1 + share * number) for number in range(processes)]
        return "; ".join(each.result() for each in told)


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    made.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help="some of: " + ", ".join(PARTS))
    made.add_argument("--requests", type=int, default=1_000_000, help="of the tenants (default 1 000 000)")
    made.add_argument("--examples", type=int, default=1_000_000, help="for the parser (default 1 000 000)")
    made.add_argument("--processes", type=int, default=2, help="that share the examples (default 2)")
    return made


if __name__ == "__main__":
    sys.exit(main())
