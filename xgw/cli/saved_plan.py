"""A plan in a file: what was seen, so that applying it later does exactly that or refuses."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

from xgw import __version__
from xgw.errors import Conflict, UsageFault
from xgw.planning import PhasePlan
from xgw.report import dumps

SCHEMA = "xgw.saved-plan/v1"


def save(path: Path, planned: PhasePlan) -> None:
    """Write the plan. Raises UsageFault when the file cannot be written."""
    data = {
        "phase": planned.phase.number,
        "target": planned.target,
        "etags": dict(planned.etags),
        "steps": {
            found.step.id: {"state": found.state, "writes": _writes(planned, found.step.id)} for found in planned.steps
        },
    }
    text = dumps({"schema": SCHEMA, "xgw": __version__, "data": data}, indent=2) + "\n"
    try:
        _replace(path, text.encode())
    except OSError as error:
        raise UsageFault(f"{path} cannot be written", cause=str(error), fix="name another file") from error


def _replace(path: Path, content: bytes) -> None:
    """All at once: whoever reads the file finds the old plan or the new one. What is no file (/dev/stdout) is written to."""
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    path = path.resolve()  # a link stays a link
    fresh = path.with_name(f".{path.name[:200]}.{os.getpid()}.new")
    try:
        fresh.write_bytes(content)
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def steps_of(path: Path, target: str) -> tuple[str, ...]:
    """The steps the plan was made for. Raises Conflict when it was made for another target."""
    data = _read(path)
    if data["target"] != target:
        raise Conflict(
            f"{path} was planned for another target",
            cause=f"it names {data['target']}, this is {target}",
            fix="plan again on this target",
        )
    return tuple(step for step, found in data["steps"].items() if found["state"] != "skipped")


def require_same(path: Path, planned: PhasePlan) -> None:
    """Raises Conflict when the target, or what would be written to it, is not what the plan saw."""
    data = _read(path)
    moved = [role for role, etag in planned.etags.items() if data["etags"].get(role) != etag]
    other = [
        found.step.id
        for found in planned.steps
        if found.state != "skipped"
        and _writes(planned, found.step.id) != data["steps"].get(found.step.id, {}).get("writes")
    ]
    if data["phase"] != planned.phase.number or moved or other:
        asked = [found.step.id for found in planned.steps if found.state != "skipped"]
        only = f" --only {','.join(asked)}" if len(asked) < len(planned.steps) else ""
        raise Conflict(
            f"{path} is stale: the target moved since it was planned",
            cause=f"changed since: {', '.join(moved) or ', '.join(other) or 'the phase'}",
            fix=f"plan again: xgw phase{planned.phase.number} plan{only} --out {shlex.quote(str(path))}",
        )


def _writes(planned: PhasePlan, step: str) -> list[list[str | None]]:
    found = next(item for item in planned.steps if item.step.id == step)
    return [
        [delta.role, change.field, change.before, change.after] for delta in found.deltas for change in delta.fields
    ]


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA:
            raise ValueError(f"its schema is {document['schema']!r}")
        data: dict[str, Any] = document["data"]
        parts = (data["target"], str), (data["phase"], int), (data["etags"], dict), (data["steps"], dict)
        found = [*parts, *((step["state"], str) for step in data["steps"].values())]
        if not all(isinstance(part, kind) for part, kind in found):
            raise ValueError("its parts are not as xgw writes them")
    except OSError as error:
        raise UsageFault(
            f"{path} cannot be read", cause=str(error), fix="name a file that xgw ... plan --out wrote"
        ) from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UsageFault(
            f"{path} is not a saved plan", cause=str(error), fix="write one: xgw phase1 plan --out FILE"
        ) from error
    return data
