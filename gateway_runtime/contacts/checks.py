"""What one field of a contact may hold: a check takes a value as it came and returns it as it is kept, or raises.

The importer passes millions of values through here, so the usual value takes one look: plain text is known by
`isprintable`, a plain address by one regular expression. Everything else goes the long way, with the same outcome.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

TYPES = ("person", "organization")
RELATIONSHIPS = ("prospect", "lead", "customer", "partner", "vendor", "investor", "other")
STATUSES = ("active", "inactive", "archived")

NAME_LENGTH, EMAIL_LENGTH, SOURCE_LENGTH, BY_LENGTH = 200, 254, 64, 256
CUSTOM_KEYS, CUSTOM_KEY_LENGTH, CUSTOM_TEXT_LENGTH = 100, 64, 1000
"""Characters, and keys of customFields."""
MOST = 2**53 - 1
"""The largest whole number that every reader of JSON keeps exactly."""

CustomValue = str | int | float | bool | None

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++"
_LABEL = r"(?!-)[a-z0-9-]{1,63}+"
_PLAIN_ADDRESS = re.compile(
    rf"{_ATOM}(?:\.{_ATOM})*+@(?:{_LABEL}(?<!-)\.)++(?!(?:arpa|invalid|local|localhost|onion|test)\Z){_LABEL}(?<=[a-z])"
)
"""Addresses without two hyphens in a row that email-validator accepts as they are; it is asked about all others (a property
test holds the two equal)."""
_LINE = re.compile("[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*")
_LINES = re.compile("[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*")
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d))?", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
FIRST, LAST = (
    (end - _EPOCH) // _MICROSECOND for end in (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
)
"""The years 1 to 9999 in UTC: what RFC 3339 can write, and what Firestore keeps."""


class InvalidContact(Exception):
    """A contact that cannot be kept: which field, a code that stays, and words that never repeat the value."""

    def __init__(self, field: str, code: str, message: str) -> None:
        self.field, self.code, self.message = field, code, message
        super().__init__(f"{field}: {message}" if field else message)


def text(field: str, value: object, limit: int) -> str:
    """One line of text without the blanks around it."""
    if not isinstance(value, str):
        raise InvalidContact(field, "NOT_TEXT", "must be text")
    found = value.strip()
    if len(found) > limit:
        raise InvalidContact(field, "TOO_LONG", f"may hold {limit} characters")
    if not found.isprintable() and not _LINE.fullmatch(found):
        raise InvalidContact(field, "BAD_CHARACTER", "holds a control character or half a surrogate pair")
    return found


def name(value: object) -> str:
    """A name: there is one."""
    found = text("name", value, NAME_LENGTH)
    if not found:
        raise InvalidContact("name", "REQUIRED", "is required")
    return found


def email(value: object) -> str:
    """An address in its one spelling (the domain in lower case, Unicode composed), or "" for none. No DNS is asked."""
    if not isinstance(value, str):
        raise InvalidContact("email", "NOT_TEXT", "must be text")
    found = value.strip()
    if len(found) > EMAIL_LENGTH:
        raise InvalidContact("email", "TOO_LONG", f"may hold {EMAIL_LENGTH} characters")
    if "--" not in found:  # xn-- and its like stand in domains that are more than their letters
        if not found or _PLAIN_ADDRESS.fullmatch(found):
            return found
        local, _, domain = found.rpartition("@")
        if found.isascii() and _PLAIN_ADDRESS.fullmatch(lowered := f"{local}@{domain.lower()}"):
            return lowered
    return _validated(found)


def _validated(value: str) -> str:
    from email_validator import EmailNotValidError, validate_email

    try:
        found = validate_email(value, check_deliverability=False).normalized
    except EmailNotValidError:
        raise InvalidContact("email", "NOT_AN_ADDRESS", "must be an e-mail address") from None
    if len(found) > EMAIL_LENGTH:
        raise InvalidContact("email", "TOO_LONG", f"may hold {EMAIL_LENGTH} characters")
    return found


def source(value: object) -> str:
    """Where a contact came from, in a word or two."""
    return text("source", value, SOURCE_LENGTH)


def created_by(value: object) -> str:
    """Who made it."""
    return text("createdBy", value, BY_LENGTH)


def choice(field: str, *words: str) -> Callable[[object], str]:
    """One of a few words, exactly."""
    allowed = frozenset(words)

    def check(value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise InvalidContact(field, "NOT_ONE_OF", f"must be one of {', '.join(words)}")
        return value

    return check


def count(field: str) -> Callable[[object], int]:
    """A whole number from 0."""

    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidContact(field, "NOT_WHOLE", "must be a whole number")
        if not 0 <= value <= MOST:
            raise InvalidContact(field, "OUT_OF_RANGE", f"must lie between 0 and {MOST}")
        return value

    return check


def moment(field: str) -> Callable[[object], int]:
    """A moment as RFC 3339 writes it, or a date for its midnight in UTC: microseconds since the epoch, the rest cut off."""

    def check(value: object) -> int:
        found = _MOMENT.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise InvalidContact(field, "NOT_A_TIME", "must be a time as in 2026-01-31T08:15:00Z")
        date, hour, minute, second, fraction, zone = found.groups()
        offset = "+00:00" if zone is None or zone in "Zz" else zone
        try:
            at = datetime.fromisoformat(f"{date}T{hour or '00'}:{minute or '00'}:{second or '00'}{offset}")
            return since_epoch(at) + int(((fraction or "") + "000000")[:6])
        except (ValueError, OverflowError):
            raise InvalidContact(
                field, "NOT_A_TIME", "must be a time that exists, in the years 1 to 9999 UTC"
            ) from None

    return check


def since_epoch(at: datetime) -> int:
    """A moment as it is kept: microseconds. OverflowError when its zone takes it out of the years 1 to 9999 in UTC."""
    found = (at - _EPOCH) // _MICROSECOND
    if not FIRST <= found <= LAST:
        raise OverflowError("no such year in UTC")
    return found


def rfc3339(microseconds: int) -> str:
    """A kept moment as the API shows it: UTC, six digits. One that no year has is shown as the nearest that can be written:
    it must not take the page down on which it stands."""
    shown = min(max(microseconds, FIRST), LAST)
    return (_EPOCH + timedelta(microseconds=shown)).isoformat(timespec="microseconds")[:-6] + "Z"


def custom_key(key: object) -> str:
    """The name of a custom field."""
    if not isinstance(key, str) or not 1 <= len(key) <= CUSTOM_KEY_LENGTH or not _LINE.fullmatch(key):
        raise InvalidContact(
            "customFields", "BAD_KEY", f"keys are 1 to {CUSTOM_KEY_LENGTH} characters without control characters"
        )
    if key.startswith("__"):
        raise InvalidContact("customFields", "BAD_KEY", "keys do not begin with __")
    return key


def custom_value(value: object) -> CustomValue:
    """A value of a custom field: text, a number, true, false or null. Texts may have several lines."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if len(value) > CUSTOM_TEXT_LENGTH:
            raise InvalidContact("customFields", "TOO_LONG", f"values may hold {CUSTOM_TEXT_LENGTH} characters")
        if not value.isprintable() and not _LINES.fullmatch(value):
            raise InvalidContact("customFields", "BAD_CHARACTER", "a value holds a control character")
        return value
    if isinstance(value, int):
        if abs(value) > MOST:
            raise InvalidContact("customFields", "OUT_OF_RANGE", f"whole numbers lie between -{MOST} and {MOST}")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidContact("customFields", "OUT_OF_RANGE", "numbers are finite")
        return value
    raise InvalidContact("customFields", "NOT_FLAT", "values are text, numbers, true, false or null")


def require_room(before: int, after: int) -> None:
    """InvalidContact when a contact would have too many custom fields. One that has them already, as others wrote it, may be
    changed as long as it does not get more: else nobody could take any away."""
    if after > max(CUSTOM_KEYS, before):
        raise InvalidContact("customFields", "TOO_MANY", f"may hold {CUSTOM_KEYS} keys")


def custom_fields(value: object) -> Mapping[str, CustomValue]:
    """All custom fields: flat, and not too many."""
    if not isinstance(value, Mapping):
        raise InvalidContact("customFields", "NOT_AN_OBJECT", "must be an object")
    require_room(0, len(value))
    return {custom_key(key): custom_value(item) for key, item in value.items()}


CHECKS: Mapping[str, Callable[[object], Any]] = MappingProxyType(
    {
        "type": choice("type", *TYPES),
        "name": name,
        "email": email,
        "relationshipType": choice("relationshipType", *RELATIONSHIPS),
        "status": choice("status", *STATUSES),
        "source": source,
        "interactionCount": count("interactionCount"),
        "emailCount": count("emailCount"),
        "slackMessageCount": count("slackMessageCount"),
        "createdAt": moment("createdAt"),
        "updatedAt": moment("updatedAt"),
        "createdBy": created_by,
        "customFields": custom_fields,
    }
)
"""Field as the API names it -> its check."""
