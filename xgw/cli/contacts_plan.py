"""What `xgw contacts import` was asked for, worked out and checked before anything is written."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xgw.cli.contacts import Place
from xgw.errors import UsageFault

if TYPE_CHECKING:
    from xgw.importer.entries import Run
    from xgw.importer.importing import Pace
    from xgw.importer.mapping import FieldMap
    from xgw.importer.policy import Policy
    from xgw.importer.run import Limits
    from xgw.importer.sheet import Sheet
    from xgw.importer.source import Source
    from xgw.importer.validation import Validator

BATCH = {"sqlite": 2000, "firestore": 500}
"""Rows of a batch when nobody says: one commit of SQLite; what Firestore takes at once."""


@dataclass(frozen=True)
class Asked:
    """The options of one call, as they were typed."""

    file: str
    map: tuple[str, ...]
    mapping: Path | None
    save_mapping: Path | None
    unmapped: str
    encoding: str
    delimiter: str
    key: str
    tenant: str
    store: str
    dry_run: bool
    resume: bool
    restart: bool
    on_duplicate: str
    rule: tuple[str, ...]
    batch_size: int | None
    max_errors: int | None
    max_error_rate: float | None
    rejects: Path | None
    shard: str
    ramp: str


@dataclass(frozen=True)
class Planned:
    """An import that is ready to begin: nothing was written yet. `wished` has no name yet."""

    asked: Asked
    place: Place
    source: Source
    sheet: Sheet
    made: FieldMap
    policy: Policy
    pace: Pace
    limits: Limits
    wished: Run

    def validator(self, run: Run) -> Validator:
        """The check of its rows."""
        from xgw.importer.validation import Validator

        return Validator(
            self.made,
            self.sheet.columns,
            tenant=run.tenant,
            run=run.family,
            now=run.made,
            by=run.who,
            key=self.asked.key,
        )

    def rejects(self, run: Run) -> Path:
        """Where rejected rows go."""
        from xgw.importer.rejects_file import shortened

        if self.asked.rejects:
            return self.asked.rejects
        part = f".{run.shard + 1}of{run.shards}" if run.shards > 1 else ""
        if self.source.nameless:
            return Path(f"import-{run.family}{part}.rejects.csv")
        return self.source.path.with_name(shortened(self.source.path.stem, f"{part}.rejects.csv"))


def plan(asked: Asked, tenant: str, place: Place, source: Source) -> Planned:
    """The import that was asked for. UsageFault says what cannot be done; nothing was written."""
    from xgw.importer.importing import Pace
    from xgw.importer.mapping import choose
    from xgw.importer.mapping_file import load, save
    from xgw.importer.policy import Policy
    from xgw.importer.run import Limits
    from xgw.importer.sheet import open_sheet

    saved = load(_text_of(asked.mapping), asked.mapping.name) if asked.mapping else None
    flagged = [column for _, _, column in (flag.partition("=") for flag in asked.map) if column]
    known = [*flagged, *(c for columns in (saved.fields.values() if saved else ()) for c in columns)]
    delimiter = "\t" if asked.delimiter in ("\\t", "tab") else asked.delimiter
    sheet = open_sheet(source, encoding=asked.encoding, delimiter=delimiter, known=known)
    made = choose(sheet.columns, asked.map, unmapped=asked.unmapped, saved=saved)
    policy = Policy(asked.on_duplicate, _rules(asked, made, sheet.columns))  # type: ignore[arg-type]
    options = {
        "mapping": save(made),
        "key": asked.key,
        "on_duplicate": asked.on_duplicate,
        "rules": dict(policy.rules),
        "dialect": sheet.dialect.told(),
    }
    shard, shards = _shard(asked.shard)
    kind = "firestore" if place.firestore else "sqlite"
    wished = _wished(
        source, tenant, place, options=options, shard=shard, shards=shards, size=asked.batch_size or BATCH[kind]
    )
    pace = Pace(4 if place.firestore else 2, _ramp(asked.ramp, place))
    limits = Limits(asked.max_errors, asked.max_error_rate)
    planned = Planned(asked, place, source, sheet, made, policy, pace, limits, wished)
    planned.validator(replace(wished, family="none"))  # a mapping that cannot work is told before anything else
    return planned


def _wished(
    source: Source, tenant: str, place: Place, *, options: Mapping[str, Any], shard: int, shards: int, size: int
) -> Run:
    from xgw.importer.entries import Run
    from xgw.ledger import who
    from xgw.plan.model import now

    name = "-" if source.nameless else str(source.path.absolute())
    made = time.time_ns() // 1000
    return Run(
        "", "", shard, shards, now(), made, who()[:200], name, source.size, source.sha256, tenant, place.url, size, options, {}
    )  # fmt: skip


def _rules(asked: Asked, made: FieldMap, columns: Sequence[str]) -> dict[str, Any]:
    rules: dict[str, Any] = {}
    for text in asked.rule:
        column, equals, rule = text.rpartition("=")
        if not equals or rule not in ("skip", "fill", "overwrite"):
            raise UsageFault(
                f"--rule {text!r} is no rule",
                cause="the form is COLUMN=skip, COLUMN=fill or COLUMN=overwrite",
                fix="correct it",
            )
        names = [name for name, sources in made.fields.items() if column in (*sources, name)]
        if not names and made.unmapped == "custom" and column in columns:
            names = [f"customFields.{column}"]
        if not names:
            raise UsageFault(
                f"--rule {text!r}: no such column is imported",
                cause=f"imported: {', '.join(c for sources in made.fields.values() for c in sources)[:200]}",
                fix="name one of these",
            )
        rules |= dict.fromkeys(names, rule)
    if rules and asked.on_duplicate not in ("update", "fill"):
        raise UsageFault(
            "--rule says how contacts are changed, and none are",
            cause=f"--on-duplicate {asked.on_duplicate}",
            fix="--on-duplicate update (or fill)",
        )
    return rules


def _shard(told: str) -> tuple[int, int]:
    """Which part of how many, from 0. A task of a Cloud Run job knows by itself."""
    index, count = os.environ.get("CLOUD_RUN_TASK_INDEX", ""), os.environ.get("CLOUD_RUN_TASK_COUNT", "")
    if not told and index.isdigit() and count.isdigit() and int(count) > 1:
        return int(index), int(count)
    if not told:
        return 0, 1
    one, slash, all_ = told.partition("/")
    if not (
        slash
        and one.isascii()
        and one.isdigit()
        and all_.isascii()
        and all_.isdigit()
        and 1 <= int(one) <= int(all_) <= 1000
    ):
        raise UsageFault(f"--shard {told!r} is no part", cause="the form is I/N, from 1/N to N/N", fix="--shard 1/4")
    return int(one) - 1, int(all_)


def _ramp(told: str, place: Place) -> float:
    if not told:
        return 500.0 if place.firestore and not place.emulator else 0.0
    if told == "off":
        return 0.0
    try:
        rate = float(told)
    except ValueError:
        rate = 0.0
    if not 1 <= rate <= 1e6:
        raise UsageFault(f"--ramp {told!r} is no rate", cause="rows a second, from 1 on, or off", fix="--ramp 500")
    return rate


def check_wishes(asked: Asked) -> None:
    """That one wish does not rule out the other."""
    _require_another(asked, "--save-mapping", asked.save_mapping)
    if asked.resume and asked.restart:
        raise UsageFault(
            "--resume goes on with an import, and --restart leaves it",
            cause="both were given",
            fix="leave one of them out",
        )


def check_rejects(asked: Asked, home: Path) -> None:
    """That the file which --rejects names may be written. Where no file is named, one that is free will be found."""
    from xgw.importer.rejects_file import replaceable

    path = asked.rejects
    _require_another(asked, "--rejects", path)
    if path and not replaceable(home, path):
        raise UsageFault(
            f"--rejects {path}: there is such a file already",
            cause="no import wrote it from here, or it was changed since: it may be somebody's work",
            fix="name another file, or move that one away",
        )


def _require_another(asked: Asked, flag: str, path: Path | None) -> None:
    """The file to be imported is not written over, by whatever name it goes."""
    if path and os.path.exists(path) and os.path.exists(asked.file) and path.samefile(asked.file):
        raise UsageFault(
            f"{flag} {path} is the file that is to be imported", cause="it would be written over", fix="name another"
        )


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        cause = (error.strerror if isinstance(error, OSError) else "") or "it is not UTF-8"
        raise UsageFault(f"{path} cannot be read", cause=cause, fix="name a saved mapping") from error


def save_mapping(path: Path, made: FieldMap) -> None:
    """The mapping in force, as a file to be edited and used again. It appears, or takes the place of an older one, when it is
    whole."""
    from xgw.importer.mapping_file import save

    plain = os.path.isfile(path) or not os.path.exists(path)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new") if plain else path  # a pipe is written to
    try:
        fresh.write_text(save(made), encoding="utf-8")
        if plain:
            os.replace(fresh, path)
    except OSError as error:
        if plain and os.path.exists(fresh):
            fresh.unlink()
        raise UsageFault(
            f"{path} cannot be written", cause=error.strerror or str(error), fix="name another file"
        ) from error
