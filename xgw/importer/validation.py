"""A row becomes a contact, or is refused with a code: what the mapping says is worked out once, before the first row."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from gateway_runtime.contacts.checks import (
    CHECKS,
    CUSTOM_KEYS,
    MOST,
    InvalidContact,
    custom_key,
    custom_value,
    require_room,
    since_epoch,
)
from gateway_runtime.contacts.model import ATTRIBUTES, DEFAULTS, Contact, contact_id, id_for
from xgw.errors import UsageFault
from xgw.importer.columns import CUSTOM, OWN
from xgw.importer.mapping import ANY, WORDS, FieldMap
from xgw.importer.neutral import plain
from xgw.importer.reasons import shown

_SLOTS = {name: place for place, name in enumerate(name for name in ATTRIBUTES if name not in ("id", "customFields"))}
_EMAIL = _SLOTS["email"]

Check = Callable[[str], Any]


@dataclass(frozen=True)
class Refusal:
    """Why a row is no contact: a code of REASONS, the column(s), words, and the value as it may be shown; what else is wrong with
    it stands in `also`."""

    code: str
    column: str
    reason: str
    example: str
    also: tuple[Refusal, ...] = ()


class _Unknown(InvalidContact):
    """A word that a field does not know."""


class Validator:
    """`validator(row, number)` is the contact of a row, or its Refusal.

    A contact's id follows from its e-mail, whatever the case of its letters, or from the column `key`, as it stands there
    without the blanks around it. An empty cell leaves a field at its default: `now` for the times, `by` for createdBy,
    "import" for the source. `mark` is "RUN:ROW". `now` is microseconds since the
    epoch. In an export of ours a row without an e-mail keeps the id it has.
    """

    def __init__(
        self, made: FieldMap, columns: Sequence[str], *, tenant: str, run: str, now: int, by: str, key: str = "email"
    ) -> None:
        self.columns, self.tenant, self.run, self.neutralised = tuple(columns), tenant, run, made.neutralised
        self.places = places = {column: place for place, column in enumerate(columns)}
        single = {name: sources for name, sources in made.fields.items() if not name.startswith(CUSTOM)}
        self.sources = single
        self.single = [(_SLOTS[n], places[f[0]], _check(n, made)) for n, f in single.items() if len(f) == 1]
        self.joined = [
            (_SLOTS[name], [places[source] for source in sources], _check(name, made))
            for name, sources in single.items()
            if len(sources) > 1
        ]
        self.custom = _customs(made, columns, places)
        self.custom_places = dict(self.custom)
        self.key = _key_place(key, made, places)
        self.of_key = id_for if self.key is None else contact_id
        self.id = places.get("id") if made.made_for == OWN and self.key is None else None
        defaults = {**DEFAULTS, "name": "", "source": "import", "createdAt": now, "updatedAt": now, "createdBy": by}
        self.defaults = [defaults[name] for name in _SLOTS]

    def __call__(self, row: list[str], number: int) -> Contact | Refusal:
        if self.neutralised:
            row = [plain(cell) if cell[:1] == "'" else cell for cell in row]
        values = self.defaults.copy()
        name = ""
        try:
            for slot, place, check in self.single:
                if cell := row[place]:
                    found = check(cell)
                    if found != "":
                        values[slot] = found
            for slot, places, check in self.joined:
                found = check(" ".join([cell for place in places if (cell := row[place].strip())]))
                if found != "":
                    values[slot] = found
            if not values[_NAME]:
                CHECKS["name"]("")
            custom = {}
            for name, places in self.custom:
                cell = row[places[0]] if len(places) == 1 else " ".join([c for p in places if (c := row[p].strip())])
                if cell and (self.neutralised or not cell.isspace()):  # in our own export a few blanks are a value
                    custom[name] = custom_value(cell)
            require_room(0, len(custom))
        except InvalidContact as error:
            return self._refused(row, self._mismatches(row) or [(name, error)])
        key = values[_EMAIL] if self.key is None else row[self.key].strip()
        if not key and not self.own_id(row):
            return self._keyless(row)
        values += (custom, f"{self.run}:{number}")
        return Contact(self.of_key(self.tenant, key) if key else self.own_id(row), *values)

    def own_id(self, row: list[str]) -> str:
        """The id that a row of an export of ours holds; nothing where rows are told apart by something else."""
        return row[self.id] if self.id is not None and _ID.fullmatch(row[self.id]) else ""

    def given(self, row: list[str]) -> frozenset[str]:
        """The fields (customFields.NAME among them) for which the row holds a value."""
        found = {name for name, sources in self.sources.items() if any(row[self.places[s]].strip() for s in sources)}
        return frozenset(found | {CUSTOM + name for name, places in self.custom if self._said(row, places)})

    def _said(self, row: list[str], places: Sequence[int]) -> str:
        """What the row says of a custom field; nothing when it says nothing."""
        cell = row[places[0]] if len(places) == 1 else _together(row, places)
        return cell if self.neutralised or not cell.isspace() else ""

    def _mismatches(self, row: list[str]) -> list[tuple[str, InvalidContact]]:
        """Everything that is wrong with a row, in the order in which a row is looked at; of custom fields the first hundred that
        it fills in: more are too many whatever they hold. Only refused rows are asked."""
        found: list[tuple[str, InvalidContact]] = []

        def tried(name: str, check: Check, text: str) -> Any:
            try:
                return check(text) if text else ""
            except InvalidContact as error:
                found.append((name, error))
                return None

        names = [tried("", check, row[place]) for slot, place, check in self.single if slot == _NAME]
        for slot, place, check in self.single:
            if slot != _NAME:
                tried("", check, row[place])
        for slot, places, check in self.joined:
            text = tried("", check, _together(row, places))
            names += [text] if slot == _NAME else []
        if names == [""] or not names:
            tried("", lambda _: CHECKS["name"](""), "-")
        said = [(name, text) for name, places in self.custom if (text := self._said(row, places))]
        for name, text in said[:CUSTOM_KEYS]:
            tried(name, custom_value, text)
        tried("", lambda _: require_room(0, len(said)), "-")
        return found

    def _refused(self, row: list[str], wrong: Sequence[tuple[str, InvalidContact]]) -> Refusal:
        if self._empty(row):
            return Refusal("EMPTY_ROW", "", "every field is empty", "")
        first, *others = [self._refusal(row, name, error) for name, error in wrong]
        return replace(first, also=tuple(others))

    def _refusal(self, row: list[str], name: str, error: InvalidContact) -> Refusal:
        custom = self.custom_places.get(name) if error.field == "customFields" else None
        name = name if custom else error.field
        sources = tuple(self.columns[place] for place in custom) if custom else self.sources.get(name, ())
        value = " ".join(row[self.places[source]] for source in sources)
        field = f"{CUSTOM}{shown(name)}" if custom else name
        column = " + ".join(shown(source) for source in sources)
        return Refusal(error.code, column, f"{field}: {error.args[0].partition(': ')[2]}", shown(value))

    def _keyless(self, row: list[str]) -> Refusal:
        if self._empty(row):
            return Refusal("EMPTY_ROW", "", "every field is empty", "")
        sources = self.sources.get("email", ()) if self.key is None else (self.columns[self.key],)
        column = " + ".join(shown(source) for source in sources)
        return Refusal("NO_KEY", column, "nothing tells this contact from another", "")

    def _empty(self, row: list[str]) -> bool:
        return not any(cell.strip() for cell in row[: len(self.columns)])


def _together(row: list[str], places: Sequence[int]) -> str:
    return " ".join([cell for place in places if (cell := row[place].strip())])


_NAME = _SLOTS["name"]
_ID = re.compile("[0-9a-f]{32}")


def _key_place(key: str, made: FieldMap, places: Mapping[str, int]) -> int | None:
    if key == "email":
        if "email" not in made.fields:
            fix = "--map email=COLUMN, or --key COLUMN to tell contacts apart by another column"
            cause = f"columns: {', '.join(map(shown, [*places][:12]))}"
            raise UsageFault("no column is the e-mail, which tells contacts apart", cause=cause, fix=fix)
        return None
    if key not in places:
        raise UsageFault(
            f"--key: the file has no column '{shown(key)}'",
            cause=f"columns: {', '.join(map(shown, [*places][:12]))}",
            fix="--key one of them",
        )
    return places[key]


def _customs(made: FieldMap, columns: Sequence[str], places: Mapping[str, int]) -> list[tuple[str, list[int]]]:
    found = {name.removeprefix(CUSTOM): sources for name, sources in made.fields.items() if name.startswith(CUSTOM)}
    if made.unmapped == "custom":
        found = {column: (column,) for column in made.others(columns) if column not in found} | found
    for name in found:
        try:
            custom_key(name)
        except InvalidContact as error:
            raise UsageFault(
                f"no custom field can be named '{shown(name)}'",
                cause=str(error),
                fix=f"--map 'customFields.NAME={shown(name)}'",
            ) from error
    return [(name, [places[source] for source in sources]) for name, sources in found.items()]


def _check(name: str, made: FieldMap) -> Check:
    """How a cell becomes the value of that field."""
    if name in WORDS:
        return _word(name, WORDS[name], made.values.get(name, {}))
    if name.endswith("Count"):
        return _count(name)
    if name in ("createdAt", "updatedAt"):
        return _moment(name, made.date_formats)
    if name == "email":
        return _first_address(made.separator) if made.separator else _address
    return CHECKS[name]


def _address(cell: str) -> str:
    """Without an @ it is no address: the most usual mistake need not go the long way, which costs 80 microseconds."""
    if "@" not in cell and cell.strip():
        raise InvalidContact("email", "NOT_AN_ADDRESS", "must be an e-mail address")
    return str(CHECKS["email"](cell))


def _first_address(separator: str) -> Check:
    bare = separator.strip() or separator
    return lambda cell: _address(next((part.strip() for part in cell.split(bare) if part.strip()), cell))


def _word(name: str, words: Sequence[str], table: Mapping[str, str]) -> Check:
    known = {word.casefold(): word for word in words} | {
        key.casefold(): word for key, word in table.items() if key != ANY
    }
    other = table.get(ANY)

    def check(cell: str) -> str:
        if (found := known.get(cell)) is not None:
            return found
        spelled = cell.strip().casefold()
        found = known.get(spelled, other) if spelled else ""
        if found is None:
            raise _Unknown(name, "UNKNOWN_VALUE", f"must be one of {', '.join(words)}, or named in [values.{name}]")
        return found

    return check


def _count(name: str) -> Check:
    def check(cell: str) -> int | str:
        digits = cell.strip()
        if not digits:
            return ""
        sign = digits[0] in "+-"
        if not (digits[sign:].isascii() and digits[sign:].isdigit()):
            raise InvalidContact(name, "NOT_WHOLE", "must be a whole number in digits")
        if len(digits) > 30 or not 0 <= (found := int(digits)) <= MOST:
            raise InvalidContact(name, "OUT_OF_RANGE", f"must lie between 0 and {MOST}")
        return found

    return check


def _moment(name: str, date_formats: Sequence[str]) -> Check:
    rfc3339 = CHECKS[name]

    def check(cell: str) -> int | str:
        text = cell.strip()
        if not text:
            return ""
        try:
            return int(rfc3339(text))
        except InvalidContact:
            if not date_formats:
                raise
        for date_format in date_formats:
            with suppress(ValueError, OverflowError, re.error):  # strptime makes a pattern of the form
                at = datetime.strptime(text, date_format)  # noqa: DTZ007 - it may have a zone
                return since_epoch(at if at.tzinfo else at.replace(tzinfo=UTC))
        forms = " or ".join(map(shown, date_formats))
        raise InvalidContact(name, "NOT_A_TIME", f"must be a time as {forms} writes it")

    return check
