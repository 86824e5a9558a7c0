"""A mapping as a file: TOML of version 1, for people to read and change, checked in full before anything is read."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence

from xgw.errors import UsageFault
from xgw.importer.mapping import ANY, FieldMap
from xgw.importer.reasons import shown

VERSION = 1
KEYS: Mapping[str, str] = {
    "version": f"of this format: {VERSION}",
    "made_for": "the program whose export it was made for; only told",
    "unmapped": 'what becomes of columns that nothing names: "drop" (default) or "custom", a custom field each',
    "date_format": "how times are written, as `strptime` reads it, in UTC unless it has %z, or a list of such forms; RFC 3339 is "
    "always read",
    "separator": "what stands between several addresses in one cell, of which the first is the e-mail",
    "neutralised": "whether formula cells carry an apostrophe that is to be taken away; true for an export of xgw",
    "[fields]": "field = column, or a list of columns to be joined by a blank; customFields.NAME in quotes",
    "[values.FIELD]": f'spelling = word, for type, relationshipType and status, in any case; "{ANY}" is every other spelling',
}
"""What stands in a mapping file."""


def save(made: FieldMap) -> str:
    """The text of the file."""
    lines = [
        "# Mapping of columns for xgw contacts import. Edit it, and use it with --mapping FILE.",
        f"version = {VERSION}",
    ]
    if made.made_for:
        lines.append(f"made_for = {_text(made.made_for)}")
    lines.append(f"unmapped = {_text(made.unmapped)}")
    if made.date_formats:
        lines.append(f"date_format = {_texts(made.date_formats)}")
    if made.separator:
        lines.append(f"separator = {_text(made.separator)}")
    if made.neutralised:
        lines.append("neutralised = true")
    lines += ["", "[fields]"]
    for name, sources in made.fields.items():
        lines.append(f"{_key(name)} = {_texts(sources)}")
    for name, table in made.values.items():
        lines += [
            "",
            f"[values.{_key(name)}]",
            *(f"{_text(spelling)} = {_text(word)}" for spelling, word in table.items()),
        ]
    return "\n".join(lines) + "\n"


def load(text: str, name: str = "the mapping file") -> FieldMap:
    """The mapping that a text holds. Whether it fits a header is `choose`'s to say."""
    try:
        tree = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageFault(
            f"{name} is not valid TOML", cause=str(error) or "nested too deeply", fix="correct it"
        ) from error
    known = {key.strip("[]").partition(".")[0] for key in KEYS}
    if unknown := sorted(tree.keys() - known):
        raise UsageFault(
            f"{name}: there is no key '{shown(unknown[0])}'",
            cause=f"known: {', '.join(sorted(known))}",
            fix="correct it",
        )
    if tree.get("version") != VERSION or isinstance(tree.get("version"), bool):
        raise UsageFault(
            f"{name} has version {shown(str(tree.get('version')))}",
            cause=f"this xgw reads {VERSION}",
            fix="save it anew",
        )
    neutralised = tree.get("neutralised", False)
    if not isinstance(neutralised, bool):
        raise UsageFault(
            f"{name}: neutralised must be true or false", cause="it is something else", fix="write true or false"
        )
    return FieldMap(
        fields={
            key: _sources(value, f"{name}: fields.{shown(key)}") for key, value in _table(tree, "fields", name).items()
        },
        values={
            key: _spellings(value, f"{name}: values.{shown(key)}")
            for key, value in _table(tree, "values", name).items()
        },
        unmapped=_string(tree.get("unmapped", "drop"), f"{name}: unmapped"),
        date_formats=tuple(filter(None, _strings(tree.get("date_format", []), f"{name}: date_format"))),
        made_for=_string(tree.get("made_for", ""), f"{name}: made_for"),
        neutralised=neutralised,
        separator=_string(tree.get("separator", ""), f"{name}: separator"),
    )


def _table(tree: Mapping[str, object], key: str, name: str) -> dict[str, object]:
    found = tree.get(key, {})
    if not isinstance(found, dict):
        raise UsageFault(f"{name}: {key} must be a table", cause="it is a value", fix=f"write [{key}] above its lines")
    return found


def _string(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise UsageFault(f"{where} must be text in quotes", cause="it is something else", fix="put it in quotes")
    return value


def _sources(value: object, where: str) -> tuple[str, ...]:
    if isinstance(value, dict):
        raise UsageFault(
            f"{where} is a table",
            cause="a dot outside quotes begins one",
            fix='write customFields.NAME in quotes: "customFields.company" = "Company"',
        )
    found = _strings(value, where)
    if not found:
        raise UsageFault(f"{where} names no column", cause="the list is empty", fix="leave the line away")
    return found


def _strings(value: object, where: str) -> tuple[str, ...]:
    return tuple(_string(item, where) for item in (value if isinstance(value, list) else [value]))


def _spellings(value: object, where: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise UsageFault(
            f"{where} must be a table",
            cause="it is a value",
            fix=f"write [{where.rpartition(': ')[2]}] above its lines",
        )
    return {key.strip().casefold(): _string(word, where) for key, word in value.items()}


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else _text(name)


def _texts(values: Sequence[str]) -> str:
    return _text(values[0]) if len(values) == 1 else f"[{', '.join(map(_text, values))}]"


def _text(value: str) -> str:
    """A basic string of TOML; JSON writes the same but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
