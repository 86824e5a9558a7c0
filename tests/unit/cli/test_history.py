"""`xgw history`: one row a run, from what the ledger holds."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xgw.cli.history import _all
from xgw.ledger import Ledger
from xgw.report import Report, render

HELD = {"step": "1.1", "outcome": "validated", "reason": "holds already", "changed": False}
CHANGED = {"step": "1.2", "outcome": "validated", "reason": "", "changed": True}
MEASURED = {"step": "1.3", "outcome": "validated", "reason": "", "changed": False}
OLDER = {"step": "1.4", "outcome": "validated", "reason": ""}
SKIPPED = {"step": "1.5", "outcome": "skipped", "reason": "skipped: not asked for", "changed": False}
BACK = {"step": "1.6", "outcome": "skipped", "reason": "put back", "changed": True}
REJECTED = {"step": "1.7", "outcome": "rejected", "reason": "too much", "changed": True}


def history(tmp_path: Path, *runs: Sequence[Mapping[str, Any]] | None) -> Report:
    """What it tells of runs that ended with these steps; None for one that never ended."""
    ledger = Ledger(tmp_path / "ledger.db")
    for steps in runs:
        run = ledger.append("run", target="t", body={"command": "phase1 apply", "who": "ann@host"}).run
        if steps is not None:
            ledger.append("run-end", target="t", run=run, body={"exit": 0, "seconds": 2.5, "error": "", "steps": steps})
    report = _all(ledger.records(kind="run"), ledger.records(), {len(runs)} if runs[-1] is None else set())
    ledger.close()
    return report


def test_what_a_run_changed_is_told_apart_from_what_held_already(tmp_path: Path) -> None:
    report = history(tmp_path, [HELD, CHANGED, SKIPPED], [MEASURED, OLDER], [BACK], [CHANGED, REJECTED], None)
    assert [row[4] for row in reversed(report.rows)] == [
        "1 changed 1 held",
        "2 validated",
        "1 reverted",
        "1 changed 1 rejected",
        "",
    ]
    assert isinstance(report.data, list)
    assert report.data[-1]["steps"] == {
        "changed": ["1.2"],
        "validated": [],
        "rejected": [],
        "unproven": [],
        "reverted": [],
        "held": ["1.1"],
    }


def test_for_a_program_every_count_is_a_column_of_its_own_and_the_time_absolute(tmp_path: Path) -> None:
    unfinished, ended = csv.DictReader(io.StringIO(render(history(tmp_path, [HELD, CHANGED], None), "csv")))
    assert (ended["run"], ended["changed"], ended["held"], ended["exit"], ended["seconds"]) == (
        "1",
        "1",
        "1",
        "0",
        "2.5",
    )
    assert ended["at"].endswith("+00:00")
    assert (unfinished["exit"], unfinished["result"], unfinished["changed"]) == ("", "unfinished: run it again", "0")
