"""`xgw history`: what the ledger says, run by run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from xgw.cli.bench import opened
from xgw.cli.options import Invocation, leaf, show, talk
from xgw.errors import ExitCode, NotFound, UsageFault
from xgw.report import Cell, Report, Sign, When, safe
from xgw.words import counted, duration

if TYPE_CHECKING:
    from xgw.ledger import Record

_VERDICTS: dict[str, Sign] = {"passed": "ok", "failed": "fail", "inconclusive": "warn", "errored": "warn"}


@leaf(
    "history",
    examples=(
        ("xgw history", "Every run on this target, newest first."),
        ("xgw history show 3", "One run: what it intended, did and measured."),
        ("xgw history verify", "Recompute the ledger's hash chain."),
    ),
)
@click.argument("words", nargs=-1, metavar="[show N | verify]")
@click.option("-n", "--last", type=click.IntRange(1), default=20, show_default=True, help="How many runs.")
def history(invocation: Invocation, words: tuple[str, ...], last: int) -> int:
    """What was done on this target, by whom, and how it ended. `show N` gives one run with all its evidence."""
    with opened(invocation) as bench:
        if words == ("verify",):
            count = bench.ledger.check()
            line = f"the chain of {counted(count, 'record')} holds"
            data = {"records": count, "holds": True, "ledger": str(bench.ledger.path)}
            show(invocation, Report("ledger", head=(line,), data=data))
        elif words:
            number = _number(words)
            records = bench.ledger.records(target=bench.target.id, run=number)
            if not records:
                raise NotFound(f"there is no run {number}", cause=f"not on {bench.target.label}", fix="xgw history")
            show(invocation, _one(number, records))
        else:
            runs = bench.ledger.records(target=bench.target.id, kind="run")[-last:]
            oldest = runs[0].run if runs else 0
            from xgw.ledger import OPEN

            latest = bench.ledger.latest(bench.target.id).values()
            unfinished = {record.run for record in runs[-1:]} | {a.run for a in latest if a.state in OPEN}
            show(invocation, _all(runs, bench.ledger.records(target=bench.target.id, from_run=oldest), unfinished))
            talk(invocation, "Next: xgw history show N")
    return ExitCode.OK


def _number(words: tuple[str, ...]) -> int:
    if len(words) == 2 and words[0] == "show" and re.fullmatch("[0-9]{1,18}", words[1]):
        return int(words[1])
    raise UsageFault(
        f"history {' '.join(words)} is not a command", cause="it is `show N` or `verify`", fix="xgw history show 3"
    )


def _all(runs: Sequence[Record], records: Sequence[Record], unfinished: set[int]) -> Report:
    """One row a run."""
    ends = {record.run: record.body for record in records if record.kind == "run-end"}
    rows, data, flat = [], [], []
    for run in reversed(runs):
        end: Any = ends.get(run.run)
        verdicts = [r.body["verdict"] for r in records if r.run == run.run and r.kind == "evidence"]
        steps = _by_what_became((end or {}).get("steps", []))
        ended = _ending(end) if end else _BROKEN_OFF[run.run in unfinished]
        passed, counts = verdicts.count("passed"), {word: len(ids) for word, ids in steps.items()}
        tally = " ".join(f"{count} {word}" for word, count in counts.items() if count)
        checks = f"{passed}/{len(verdicts)}" if verdicts else ""
        when = When(datetime.fromisoformat(run.at))
        rows.append((run.run, when, run.body["command"], run.body["who"], tally, checks, ended))
        told = {"run": run.run, "at": run.at, **run.body}
        measured = {"checks": len(verdicts), "passed": passed}
        data.append({**told, "end": dict(end) if end else None, **measured, "steps": steps})
        how = {name: (end or {}).get(name) for name in ("exit", "seconds", "error")}
        flat.append({**told, **how, "result": ended.text, **counts, **measured})
    columns = ("run", "when", "command", "by", "steps", "checks", "result")
    return Report("history", columns, rows, data=data, flat=Report("history", data=flat))


_BROKEN_OFF = {True: Cell("unfinished: run it again", "warn"), False: Cell("broken off; finished later", "skip")}


def _by_what_became(steps: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """What the run did with its steps -> which; what it was not asked for, or did not come to, is left out."""
    found: dict[str, list[str]] = {word: [] for word in BECAME}
    for step in steps:
        if (word := _became(step)) in found:
            found[word].append(step["step"])
    return found


BECAME = ("changed", "validated", "rejected", "unproven", "reverted", "held")
"""changed: written and validated. validated: measured, and the values were there before (older records do not say which).
held: there and proven by an earlier run, so left alone. rejected, unproven: as outcomes. reverted: put back."""


def _became(step: dict[str, Any]) -> str:
    if step["reason"] == "put back":
        return "reverted"
    if step["reason"] == "holds already":
        return "held"
    return "changed" if step["outcome"] == "validated" and step.get("changed") else str(step["outcome"])


def _ending(body: dict[str, Any]) -> Cell:
    if body.get("error"):
        return Cell(str(body["error"]), "fail")
    code = int(body["exit"])
    bad = next((step["step"] for step in body["steps"] if step["outcome"] in ("rejected", "unproven")), "")
    if not code:
        return Cell(f"ok {duration(float(body['seconds']))}", "ok")
    if code == ExitCode.INTERRUPTED:
        return Cell("interrupted: run it again", "warn")
    return Cell(f"exit {code} {bad}".rstrip(), "warn" if code == ExitCode.UNPROVEN else "fail")


def _one(number: int, records: Sequence[Record]) -> Report:
    start = next((record for record in records if record.kind == "run"), records[0])
    rows = [
        (When(datetime.fromisoformat(record.at), clock=True), record.step, record.kind, _told(record))
        for record in records
    ]
    head = (
        f"Run {number}  {safe(str(start.body.get('command', '')))}  by {safe(str(start.body.get('who', '')))}  {start.at}",
        "",
    )
    data = [
        {"serial": r.serial, "at": r.at, "step": r.step, "kind": r.kind, "body": dict(r.body), "hash": r.hash}
        for r in records
    ]
    flat = Report("run-records", data=data)
    return Report("run-records", ("at", "step", "record", "what"), rows, head=head, data=data, flat=flat)


def _told(record: Record) -> Any:
    """One record in words."""
    body = record.body
    if record.kind == "intended":
        writes = [
            f"{d['role']} {c['field']}: {c['before']} -> {c['after']}" for d in body["deltas"] for c in d["fields"]
        ]
        return "; ".join(writes) or "nothing to write; measure what is there"
    if record.kind == "evidence":
        text = f"{body['probe']} ({body['where']}): {body['measured']}; expected {body['expected']}"
        return Cell(f"{body['verdict']}  {text}", _VERDICTS[body["verdict"]])
    if record.kind == "pin":
        return f"{body['role']}: {body['from']} -> {body['to']}" if body["to"] else f"{body['role']}: released"
    return "; ".join(f"{key} {value}" for key, value in body.items() if value not in ("", [], None) and key != "steps")
