"""How imports look: before they begin, at their end, in the list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xgw.report import Cell, Report, When, safe
from xgw.widths import Whole, cut, flow, tail
from xgw.words import duration

if TYPE_CHECKING:
    from xgw.cli.contacts_plan import Planned
    from xgw.importer.entries import Counts
    from xgw.importer.journal import Journal


def introduction(planned: Planned, name: str, width: int | None) -> str:
    """What was found out about the file, where it goes, and which column becomes what. Everything from the file escaped."""
    return "\n".join(part for line in _introduced(planned, name) for part in flow(line, width))


def _introduced(planned: Planned, name: str) -> list[str]:
    dialect, made, run = planned.sheet.dialect, planned.made, planned.wished
    part = f"   part {run.shard + 1} of {run.shards}" if run.shards > 1 else ""
    lines = [
        f"{tail(safe(planned.source.name), 40)}  {dialect.told()}",
        f"  tenant {cut(safe(run.tenant), 30)} -> {tail(safe(planned.place.label), 60)}  import {name}{part}",
    ]
    pairs = [
        f"{' + '.join(cut(safe(c), 36) for c in sources)} -> {cut(safe(field), 36)}"
        for field, sources in made.fields.items()
    ]
    lines += [f"  {'   '.join(pairs)}"] if pairs else []
    others = made.others(planned.sheet.columns)
    if others:
        kept = "kept as custom fields" if made.unmapped == "custom" else "not mapped"
        names = ", ".join(cut(safe(column), 36) for column in others[:8]) + (", …" if len(others) > 8 else "")
        lines.append(f"  {len(others):,} column{'s' if len(others) > 1 else ''} {kept}: {names}")
    if made.made_for:
        lines.append(f"  recognised: an export of {cut(safe(made.made_for), 40)}")
    if planned.pace.ramp:
        lines.append(f"  at most {planned.pace.ramp:g} rows/s in the beginning, 50% more every 5 minutes (--ramp off)")
    return lines


def import_report(
    journal: Journal,
    rejects: Path | None,
    *,
    dry: bool = False,
    before: bool = False,
) -> Report:
    """The books of a run, and its rejects by reason. `before` says that the run had ended before."""
    counts, state = journal.counts(), journal.state
    told = journal.told()
    seconds = float(told.get("seconds", 0))
    reasons = journal.reasons()
    rows = [
        (_reason(one.code, one.body), count, int(one.body["line"]), Cell(_example(one.body)))
        for code, count, one in reasons
    ]
    how = "dry run" if dry else f"{state.state} before" if before else state.state
    head = [f"-- {how} in {duration(seconds)} --", _books(counts, "would be:" if dry else "")]
    foot = [Whole(f"Rejects with reasons: {safe(str(rejects))}")] if rejects else []
    data = {
        **described(journal, counts),
        "dry_run": dry,
        "seconds": seconds,
        "rejects": str(rejects) if rejects else None,
        "reasons": [
            {
                "code": code,
                "column": one.body["column"],
                "reason": one.body["reason"],
                "rows": count,
                "first_line": one.body["line"],
            }
            for code, count, one in reasons
        ],
    }
    if dry:
        data |= {"run": None, "family": None}
    columns, flat = ("reason", "rows", "first line", "example"), Report("contacts-import", data=_flattened(data))
    return Report("contacts-import", columns, rows, head, foot, data, dense=True, brief=("example",), flat=flat)


def next_steps(journal: Journal, rejected: int, again: str) -> list[str]:
    """What to type after an import. `again` imports its rejects when they are mended."""
    counts = journal.counts()
    found = [f"Next: mend them, then  {safe(again)}"] if rejected else []
    return found + ([f"Undo: xgw contacts undo {journal.run.family}"] if counts.created or counts.updated else [])


def _flattened(told: Mapping[str, Any]) -> dict[str, Any]:
    """A run as one row: its books among the rest."""
    return {**{name: value for name, value in told.items() if name != "books"}, **told["books"]}


def described(journal: Journal, counts: Counts) -> dict[str, Any]:
    """A run for machines. Nothing of a contact is in it."""
    run, state = journal.run, journal.state
    return {
        "run": run.id,
        "family": run.family,
        "shard": run.shard + 1,
        "shards": run.shards,
        "at": run.at,
        "who": run.who,
        "file": run.file,
        "bytes": run.size,
        "sha256": run.sha256,
        "tenant": run.tenant,
        "store": run.store,
        "batch_size": run.batch_size,
        "options": dict(run.options),
        "state": state.state,
        "note": state.note,
        "books": {**asdict(counts), "balanced": counts.balanced},
        "undo": journal.undo_books(),
    }


def _books(counts: Counts, would: str = "") -> str:
    """created 9,600  updated 0  unchanged 0  duplicate 212  rejected 188  read 10,000"""
    names = ("created", "updated", "unchanged", "duplicate", "rejected", "read")
    parts = "  ".join(f"{name} {getattr(counts, name):,}" for name in names)
    return f"  {would} {parts}" if would else f"  {parts}"


def family_report(journals: Sequence[Journal], merged: Mapping[str, Any], *, part: bool = False) -> Report:
    """One import, all its parts as one; or one `part` of it, by itself."""
    run, counts = journals[0].run, merged["counts"]
    reasons: dict[str, list[int]] = {}
    for journal in journals:
        for code, count, one in journal.reasons():
            found = reasons.setdefault(code, [0, int(one.body["line"])])
            found[0], found[1] = found[0] + count, min(found[1], int(one.body["line"]))
    rows = [(code, count, line) for code, (count, line) in sorted(reasons.items(), key=lambda item: -item[1][0])]
    state = _state([one.state.state for one in journals], 1 if part else run.shards).text
    named = f"part {run.shard + 1} of {run.shards} of import {run.family}" if part else f"import {run.family}"
    head = [
        f"{named}  {safe(run.file)}",
        f"  tenant {safe(run.tenant)} -> {safe(run.store)}  by {safe(run.who)}  {run.at}  {state}",
        _books(counts),
    ]
    if merged["missing"]:
        head.append(f"  parts not here: {', '.join(str(number + 1) for number in merged['missing'])} of {run.shards}")
    undone = [journal.undo_books() for journal in journals]
    if any(books["removed"] or books["restored"] or books["left"] for books in undone):
        left = sum(count for books in undone for count in books["left"].values())
        head.append(
            f"  undo: removed {sum(b['removed'] for b in undone):,}   "
            f"restored {sum(b['restored'] for b in undone):,}   left alone {left:,}"
        )
    data = {
        "run": run.id if part else run.family,
        "whole": merged["whole"],
        "books": {**asdict(counts), "balanced": merged["balanced"]},
        "missing": [number + 1 for number in merged["missing"]],
        "reasons": [{"code": code, "rows": count, "first_line": line} for code, count, line in rows],
        "shards": [described(one, one.counts()) for one in journals],
    }
    columns, flat = ("reason", "rows", "first line"), Report("parts", data=[_flattened(one) for one in data["shards"]])
    return Report("contacts-import-run", columns, rows, head, data=data, dense=True, flat=flat)


def runs_report(groups: Sequence[tuple[Sequence[Any], Counts]]) -> Report:
    """Every import, the newest first: (journals as `described` tells them, merged counts)."""
    rows, data = [], []
    for shards, counts in groups:
        one = shards[0]
        name = Path(one["file"]).name if one["file"] != "-" else "standard input"
        rows.append(
            (
                one["family"],
                When(datetime.fromisoformat(one["at"])),
                name,
                one["tenant"],
                counts.created,
                counts.updated,
                counts.rejected,
                _state([shard["state"] for shard in shards], one["shards"]),
            )
        )
        data.append(
            {
                "run": one["family"],
                "file": one["file"],
                "tenant": one["tenant"],
                "store": one["store"],
                "at": one["at"],
                "books": {**asdict(counts), "balanced": counts.balanced},
                "shards": list(shards),
            }
        )
    columns = ("run", "when", "file", "tenant", "created", "updated", "rejected", "state")
    return Report("contacts-imports", columns, rows, data=data, dense=True, brief=("file", "tenant"))


def _state(states: Sequence[str], shards: int) -> Cell:
    if "open" in states or len(states) < shards:
        return Cell("unfinished" if shards == 1 else f"{states.count('done')} of {shards} parts", "warn")
    if "mixed" in states:
        return Cell("mixed", "warn")
    if "undoing" in states:
        return Cell("half undone", "warn")
    if "undone" in states:
        return Cell("undone", "skip")
    return Cell("begun anew", "skip") if "left" in states else Cell("done", "ok")


def _reason(code: str, body: Any) -> str:
    column = f"{body['column']}: " if body["column"] else ""
    return f"{code}  {column}{body['reason'].partition(': ')[2] or body['reason']}"


def _example(body: Any) -> str:
    return f'"{body["example"]}"' if body["example"] else ""
