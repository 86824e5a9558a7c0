"""The journals of all imports under one folder: a new one, the one to go on with, those of one import's shards, all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

from xgw.errors import NotFound, XgwError
from xgw.importer import journal as journals
from xgw.importer.entries import OVER, Run, State
from xgw.importer.journal import Journal

_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
_DIGITS = 10
"""A name of 50 bits: marks of imports on different machines never meet."""


def folder(home: Path) -> Path:
    """Where the journals are."""
    return home / "imports"


def path_of(home: Path, run: Run) -> Path:
    """The journal's file."""
    return folder(home) / f"{run.id}.db"


def drawn() -> str:
    """A new name for an import."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_DIGITS))


def derived(run: Run, execution: str) -> str:
    """The name that all tasks of one job execution give their import, without talking to each other."""
    told = [execution, run.sha256, run.tenant, run.store, run.shards, run.batch_size, run.options]
    digest = hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=_DIGITS).digest()
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest)


def glances(home: Path) -> list[tuple[Run, State, Path]]:
    """Every journal that can be read, the newest first."""
    found = []
    for path in folder(home).glob("*.db"):
        try:
            found.append((*journals.glanced(path), path))
        except XgwError:
            continue
    return sorted(found, key=lambda one: (one[0].at, one[0].id), reverse=True)


def of_name(home: Path, name: str) -> list[Journal]:
    """The journals of an import: one, or one a shard. NotFound."""
    all_ = glances(home)
    found = [(run.shard, path) for run, _, path in all_ if name in (run.family, run.id)]
    if not found:
        raise NotFound(
            f"there is no import {name[:40]!r}", cause=f"{len(all_)} are recorded here", fix="xgw contacts imports"
        )
    with ExitStack() as if_one_fails:
        opened = [if_one_fails.enter_context(closing(journals.opened(path))) for _, path in sorted(found)]
        if_one_fails.pop_all()
    return opened


def same_again(home: Path, wished: Run, *, state: str) -> Journal | None:
    """The newest run in that state ("open", "done", …) of this file into this store: of these very bytes, else (unless it is
    done) of a file of this name. Standard input has no name."""

    def place(run: Run) -> tuple[object, ...]:
        return run.tenant, run.store, run.shard, run.shards

    alike = [
        (run, path) for run, stands, path in glances(home) if stands.state == state and place(run) == place(wished)
    ]
    same = [path for run, path in alike if run.sha256 == wished.sha256]
    named = [path for run, path in alike if run.file == wished.file != "-" and state != "done"]
    found = [*same, *named]
    return journals.opened(found[0]) if found else None


def begin(home: Path, wished: Run, environ: Mapping[str, str]) -> Journal:
    """A new run. The shards of one import find each other's name: from the job's execution, or in this folder."""
    if wished.shards < 2:
        name = drawn()
        run = replace(wished, id=name, family=name, shard=0, shards=1)
        return journals.create(path_of(home, run), run)
    with _alone(home):
        execution = environ.get("CLOUD_RUN_EXECUTION", "")
        family = derived(wished, execution) if execution else _joined(home, wished) or drawn()
        run = replace(wished, id=f"{family}.{wished.shard + 1}", family=family)
        if execution and path_of(home, run).exists():
            return journals.opened(path_of(home, run))
        return journals.create(path_of(home, run), run)


def _joined(home: Path, wished: Run) -> str:
    """The oldest import of the same file, store and options that lacks this shard."""
    families: dict[str, set[int]] = {}
    for run, stands, _ in glances(home):
        alike = replace(run, id="", family="", shard=0, at="", made=0, who="") == replace(
            wished, id="", family="", shard=0, at="", made=0, who=""
        )
        if alike and stands.state not in ("undone", *OVER):
            families.setdefault(run.family, set()).add(run.shard)
    lacking = [family for family, shards in families.items() if wished.shard not in shards]
    return lacking[-1] if lacking else ""


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    folder(home).mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(os.open(folder(home) / "shards.lock", os.O_RDWR | os.O_CREAT, 0o600)) as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield
