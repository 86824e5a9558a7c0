"""What reading costs: `python -m benchmarks.importer.read [ROWS]`. CPU time, each way in turn in the same run, as ratios.

The file is the importer's own (`made.py`): 10 % of the rows have a line break in a quoted field, 1 % no usable address.
"""

from __future__ import annotations

import csv
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.importer.made import write
from xgw.importer.mapping import choose
from xgw.importer.reading import batches, shard
from xgw.importer.rejects import checked
from xgw.importer.sheet import open_sheet
from xgw.importer.source import open_source
from xgw.importer.validation import Validator

ROUNDS = 5


def bare(path: Path) -> int:
    """The csv module alone; the header is no row."""
    with path.open(encoding="utf-8", newline="") as file:
        return sum(1 for _ in csv.reader(file)) - 1


def survey(path: Path) -> int:
    """Opening only: the checksum, and whether every byte is UTF-8."""
    with open_source(str(path), spool=path.parent) as source:
        open_sheet(source)
    return 0


def read(path: Path) -> int:
    """Opening, and every row in batches with their places."""
    with open_source(str(path), spool=path.parent) as source:
        return sum(len(batch.rows) for batch in batches(source, open_sheet(source)))


def last_of_ten(path: Path) -> int:
    """The last of ten shards: how long the one that starts farthest from the first row reads."""
    with open_source(str(path), spool=path.parent) as source:
        return sum(len(batch.rows) for batch in shard(source, open_sheet(source), 9, 10))


def validate(path: Path) -> int:
    """Reading, and every row as a contact or a reject, the columns that nothing names as custom fields."""
    count = 0
    with open_source(str(path), spool=path.parent) as source:
        sheet = open_sheet(source)
        made = choose(sheet.columns, unmapped="custom")
        check = Validator(made, sheet.columns, tenant="t", run="r", now=0, by="me")
        for batch in batches(source, sheet):
            contacts, rejects = checked(batch, check)
            count += len(contacts) + len(rejects)
    return count


WAYS: tuple[Callable[[Path], int], ...] = (bare, survey, read, last_of_ten, validate)


def main(rows: int) -> None:
    """Medians of ROUNDS rounds."""
    taken: dict[str, list[float]] = {way.__name__: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "contacts.csv", rows)
        size = path.stat().st_size
        for _ in range(ROUNDS):
            for way in WAYS:
                began = time.process_time()
                count = way(path)
                taken[way.__name__].append(time.process_time() - began)
                assert count in (0, rows) or way is last_of_ten
    base = statistics.median(taken["bare"])
    print(f"{rows:,} rows, {size / 1e6:.0f} MB; seconds of CPU, median of {ROUNDS}")
    for name, seconds in taken.items():
        middle = statistics.median(seconds)
        print(f"{name:12} {middle:7.2f} s  {rows / middle:>10,.0f} rows/s  {middle / base:5.2f} x csv.reader")
    print(f"largest resident size {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300_000)
