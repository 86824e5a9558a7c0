"""`python -m benchmarks.importer [sqlite|firestore] [--rows N]`: the real command beside the least that could be done."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.importer import made

WORDS = ("--map", "customFields.company=company", "--tenant", "t", "-q", "-o", "json")


def main() -> int:
    """Prints a table of what was measured."""
    parser = argparse.ArgumentParser(prog="benchmarks.importer")
    parser.add_argument("part", choices=["sqlite", "firestore"])
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--rtt", type=float, default=20.0, help="milliseconds, for the second round against Firestore")
    parser.add_argument("--batch-size", type=int, default=0)
    options = parser.parse_args()
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        if options.part == "sqlite":
            sqlite(Path(folder), options.rows or 1_000_000, options.batch_size)
        else:
            firestore(Path(folder), options.rows or 100_000, options.rtt)
    print(f"load after: {os.getloadavg()[0]:.1f}")
    return 0


def sqlite(folder: Path, rows: int, batch: int) -> None:
    """Bare ways first, then the importer, then the importer over a tenth, for its memory; then the bare ones again."""
    source = made.write(folder / "rows.csv", rows)
    tenth = made.write(folder / "tenth.csv", rows // 10)
    size = ("--batch-size", str(batch)) if batch else ()
    print(f"{rows:,} rows, {source.stat().st_size / 1e6:.0f} MB")
    told: dict[str, list[float]] = {}
    for turn in range(2):
        for kind in ("plain", "same"):
            name = (
                f"bare csv + executemany, {'one table without index' if kind == 'plain' else 'same tables and commits'}"
            )
            store = folder / f"{kind}{turn}.db"
            told.setdefault(name, []).append(
                _told(name, rows, ["benchmarks.importer.bare", str(source), str(store), kind])
            )
            _gone(store)
        if turn == 0:
            url = f"sqlite://{folder}/contacts.db"
            ours = _told(
                "xgw contacts import",
                rows,
                ["xgw", "contacts", "import", str(source), "--store", url, *WORDS, *size],
                folder,
            )
            _gone(folder / "contacts.db")
            _told(
                "xgw contacts import, a tenth",
                rows // 10,
                ["xgw", "contacts", "import", str(tenth), "--store", url, *WORDS, *size],
                folder,
            )
    for name, seconds in told.items():
        print(f"ratio to {name}: {sum(seconds) / len(seconds) / ours:.2f}")


def firestore(folder: Path, rows: int, rtt: float) -> None:
    """Loopback, then a longer way."""
    from tests.helpers.firestore_emulator import started

    source = made.write(folder / "rows.csv", rows)
    emulator = started()
    _warm(folder, emulator.host)
    for milliseconds in (0.0, rtt):
        host, proxy = emulator.host, None
        if milliseconds:
            words = ["-m", "benchmarks.contacts.delay", emulator.host.rpartition(":")[2], str(milliseconds / 2)]
            proxy = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True)
            assert proxy.stdout
            host = f"127.0.0.1:{proxy.stdout.readline().strip()}"
        env = {"FIRESTORE_EMULATOR_HOST": host}
        print(f"-- Firestore emulator, {milliseconds:g} ms round trip")
        few = 2000 if not milliseconds else 400
        one = _stock("one set() a row", source, few, "one", env)
        batch = _stock("WriteBatch of 500", source, 10_000, "batch", env)
        words = ["xgw", "contacts", "import", str(source), "--store", f"firestore://{emulator.project()}", *WORDS]
        seconds = _told("xgw contacts import", rows, words, folder / f"h{milliseconds:g}", env)
        print(f"ratio to one set() a row: {rows / seconds / one:.0f}; to WriteBatch: {rows / seconds / batch:.1f}")
        if proxy:
            proxy.kill()
            proxy.wait()


def _warm(folder: Path, host: str) -> None:
    """The emulator's virtual machine is slow in its first thousands of writes."""
    from tests.helpers.firestore_emulator import started

    source = made.write(folder / "warm.csv", 20_000, seed=1)
    words = ["xgw", "contacts", "import", str(source), "--store", f"firestore://{started().project()}", *WORDS]
    env = {"FIRESTORE_EMULATOR_HOST": host}
    _run(words, folder / "warm", env)
    for way, rows in (("one", "3000"), ("batch", "5000")):
        _run(["benchmarks.importer.stock", str(source), started().project(), rows, way], None, env)


def _stock(name: str, source: Path, rows: int, way: str, env: Mapping[str, str]) -> float:
    from tests.helpers.firestore_emulator import started

    out = _run(["benchmarks.importer.stock", str(source), started().project(), str(rows), way], None, env)
    told = json.loads(out)
    print(f"{name}: {told['rows'] / told['seconds']:,.0f} rows/s ({told['rows']:,} rows in {told['seconds']:.1f} s)")
    return float(told["rows"] / told["seconds"])


def _told(
    name: str, rows: int, words: Sequence[str], home: Path | None = None, env: Mapping[str, str] | None = None
) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    _, peak = _measured(words, home, env)
    seconds = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"{name}: {seconds:.1f} s, {rows / seconds:,.0f} rows/s, {cpu / rows * 1e6:.0f} us of CPU a row, "
        f"peak {peak / 1e6:.0f} MB", flush=True,
    )  # fmt: skip
    return seconds


def _measured(words: Sequence[str], home: Path | None, env: Mapping[str, str] | None) -> tuple[str, int]:
    """Output and peak resident size; the whole process, with its start."""
    told = {**os.environ, **({"XGW_HOME": str(home)} if home else {}), **(env or {})}
    with subprocess.Popen([sys.executable, "-m", *words], env=told, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in (0, 7), process.returncode
    return out, usage.ru_maxrss * 1024


def _run(words: Sequence[str], home: Path | None, env: Mapping[str, str] | None) -> Any:
    return _measured(words, home, env)[0]


def _gone(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
