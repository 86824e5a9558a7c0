"""Which column becomes which field: suggested from the header, decided by who imports, refused while it is ambiguous."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from gateway_runtime.contacts.model import RELATIONSHIPS, STATUSES, TYPES
from xgw.errors import UsageFault
from xgw.importer.columns import CUSTOM, EXPORTS, FIELDS, FIRST, GENERAL, LAST, Export, plain_name
from xgw.importer.reasons import shown

WORDS: Mapping[str, Sequence[str]] = MappingProxyType(
    {"type": TYPES, "relationshipType": RELATIONSHIPS, "status": STATUSES}
)
"""Fields that know a few words only."""
UNMAPPED = ("drop", "custom")
ANY = "*"
"""In a table of values: every other spelling."""


@dataclass(frozen=True)
class FieldMap:
    """What becomes of every column.

    `fields`: field (or customFields.NAME) -> columns, joined by a blank; a name says "First Name", "Last Name".
    `values`: field -> spelling in lower case -> word. The field's own words are known in any case without being named.
    `unmapped`: "drop" the other columns, or keep each as a custom field of its name. `date_formats`: as strptime reads them,
    in UTC where they have no zone; RFC 3339 is always read. `made_for` names the program whose export was recognised.
    `neutralised`: formula cells carry an apostrophe that is taken away (our own export). `separator` stands between
    several addresses in one cell, of which the first is the e-mail.
    """

    fields: Mapping[str, tuple[str, ...]]
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unmapped: str = "drop"
    date_formats: tuple[str, ...] = ()
    made_for: str = ""
    neutralised: bool = False
    separator: str = ""

    def others(self, columns: Sequence[str]) -> list[str]:
        """The columns that no field names, in the file's order."""
        used = {column for sources in self.fields.values() for column in sources}
        return [column for column in columns if column not in used]


def choose(
    columns: Sequence[str], flags: Iterable[str] = (), *, unmapped: str = "", saved: FieldMap | None = None
) -> FieldMap:
    """The mapping to import with: a saved one or the suggestion, with the flags FIELD=COLUMN over it.

    A field named twice joins its columns; FIELD= alone takes a field out. UsageFault for a name that is not there, for
    a column that two fields want, while a field has several candidates and no flag decides, and without a name.
    """
    asked = _asked(flags, columns)
    base, unclear = (saved, {}) if saved else suggest(columns)
    decided = {name: sources for name, sources in asked.items() if sources}
    taken = {column for sources in decided.values() for column in sources}
    kept = {
        name: sources for name, sources in base.fields.items() if name not in asked and not taken.intersection(sources)
    }
    for name, candidates in unclear.items():
        free = [column for column in candidates if column not in taken]
        if name in asked or not free:
            continue
        if base.made_for and name in WORDS:
            raise UsageFault(
                f"column {shown(free[0])} could be {name}",
                cause=f"in an export of {base.made_for} it may hold words of its own",
                fix=f"--map '{name}={shown(free[0])}' takes it, --map {name}= leaves it away",
            )
        if len(free) > 1:
            listed = ", ".join(shown(column) for column in free)
            raise UsageFault(
                f"{len(free)} columns could be {name}: {listed}",
                cause="the header alone does not decide",
                fix=f"--map '{name}={shown(free[0])}'",
            )
        kept[name] = (free[0],)
    made = replace(base, fields=_ordered({**kept, **decided}), unmapped=unmapped or base.unmapped)
    check(made, columns)
    return made


def suggest(columns: Sequence[str]) -> tuple[FieldMap, dict[str, list[str]]]:
    """What the header suggests, and the fields for which several columns would do (they are in no mapping).

    A field that knows a few words only is unclear in a recognised export when its table names no column for it and one is
    called like it: it may hold words of the program's own.
    """
    export = _recognised(columns)
    fields: dict[str, tuple[str, ...]] = {}
    if export:
        plain = {plain_name(column): column for column in columns}
        for name, sources in export.fields.items():
            if found := tuple(column for source in sources if (column := _called(source, columns, plain))):
                fields[name] = found
    used = {column for sources in fields.values() for column in sources}
    candidates: dict[str, list[str]] = {}
    for column in columns:
        target = GENERAL.get(plain_name(column))
        if column.startswith(CUSTOM) and len(column) > len(CUSTOM):
            fields[column] = (column,)
        elif (
            target and target not in fields and column not in used and not (export and _foreign(export, column, target))
        ):
            candidates.setdefault(target, []).append(column)
    _join_name(fields, candidates)
    unclear = {name: found for name, found in candidates.items() if len(found) > 1 or (export and name in WORDS)}
    fields |= {name: (found[0],) for name, found in candidates.items() if name not in unclear}
    made = FieldMap(fields=_ordered(fields))
    if export:
        values = {name: table for name, table in export.values.items() if name in fields}
        made = replace(
            made,
            values=values,
            date_formats=export.date_formats,
            made_for=export.name,
            neutralised=export.neutralised,
            separator=export.separator,
        )
    return made, unclear


def check(made: FieldMap, columns: Sequence[str]) -> None:
    """That this mapping fits these columns. UsageFault says what does not."""
    there = frozenset(columns)  # there may be tens of thousands
    for name, sources in made.fields.items():
        _known(name)
        for source in sources:
            if source not in there:
                raise _no_column(source, columns, name)
    if made.unmapped not in UNMAPPED:
        raise UsageFault(
            f"unmapped is '{shown(made.unmapped)}'", cause="no such word", fix=f"one of {', '.join(UNMAPPED)}"
        )
    if "name" not in made.fields:
        raise UsageFault(
            "no column is the name, and every contact has one",
            cause=f"columns: {', '.join(shown(column) for column in columns[:12])}{' …' if len(columns) > 12 else ''}",
            fix="--map name=COLUMN (give it twice to join two columns)",
        )
    for name, table in made.values.items():
        words = WORDS.get(name)
        if words is None:
            raise UsageFault(
                f"{shown(name)} has a table of values",
                cause=f"only {', '.join(WORDS)} can have one",
                fix="leave it away",
            )
        for spelling, word in table.items():
            if word not in words:
                raise UsageFault(
                    f"{name}: '{shown(spelling)}' becomes '{shown(word)}'",
                    cause="no such word",
                    fix=f"one of {', '.join(words)}",
                )


def _asked(flags: Iterable[str], columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    asked: dict[str, tuple[str, ...]] = {}
    for flag in flags:
        name, equals, column = flag.partition("=")
        if not equals:
            raise UsageFault(
                f"--map '{shown(flag)}' has no =",
                cause="the form is FIELD=COLUMN",
                fix="--map FIELD=COLUMN, as in --map email='E-mail'",
            )
        _known(name)
        if not column:
            asked[name] = ()
            continue
        same = [c for c in columns if c == column] or [c for c in columns if c.casefold() == column.strip().casefold()]
        if len(same) != 1:
            raise _no_column(column, columns, name)
        asked[name] = (*asked.get(name, ()), same[0])
    return asked


def _known(name: str) -> None:
    if name in FIELDS or (name.startswith(CUSTOM) and len(name) > len(CUSTOM)):
        return
    close = difflib.get_close_matches(name, FIELDS, 1)
    cause = f"its fields: {', '.join(FIELDS)}"
    fix = f"did you mean {close[0]}?" if close else "name one of them, or customFields.NAME"
    raise UsageFault(f"a contact has no field '{shown(name)}'", cause=cause, fix=fix)


def _no_column(column: str, columns: Sequence[str], name: str) -> UsageFault:
    close = difflib.get_close_matches(column, columns, 1)
    fix = f"did you mean '{shown(close[0])}'?" if close else f"columns: {', '.join(shown(c) for c in columns[:12])}"
    return UsageFault(f"the file has no column '{shown(column)}'", cause=f"{name} is mapped to it", fix=fix)


def _recognised(columns: Sequence[str]) -> Export | None:
    have = set(columns)

    def signed(signs: Iterable[str]) -> bool:
        return all(not have.isdisjoint(sign.split("|")) for sign in signs)

    return next((e for e in EXPORTS if signed(e.signs) or (e.capitals and signed(map(str.upper, e.signs)))), None)


def _foreign(export: Export, column: str, target: str) -> bool:
    """Whether a column of an export is not ours whatever it is called: its table knows the name, and words of its own."""
    return target in (FIRST, LAST, "name") or plain_name(column) in map(plain_name, export.foreign)


def _called(names: str, columns: Sequence[str], plain: Mapping[str, str]) -> str:
    """The column that has one of these names, or nothing; the earlier name before the later, the very name before one like it."""
    for name in names.split("|"):
        if column := name if name in columns else plain.get(plain_name(name), ""):
            return column
    return ""


def _join_name(fields: dict[str, tuple[str, ...]], candidates: dict[str, list[str]]) -> None:
    """First and last name make the name where no column holds it whole; several firsts or lasts leave it unclear."""
    first, last = candidates.pop(FIRST, []), candidates.pop(LAST, [])
    if "name" in fields or candidates.get("name"):
        return
    if len(first) <= 1 and len(last) <= 1:
        if first or last:
            fields["name"] = (*first, *last)
    else:
        candidates["name"] = [*first, *last]


def _ordered(fields: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    places = {name: place for place, name in enumerate(FIELDS)}
    return dict(sorted(fields.items(), key=lambda item: (places.get(item[0], len(places)), item[0])))
