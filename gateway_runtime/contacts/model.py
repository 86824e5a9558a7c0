"""What a contact is, and what makes one acceptable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

STATUSES = ("active", "inactive", "archived")
TYPES = ("lead", "customer", "partner", "vendor")
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+")
_TEXTS = {"name": 200, "email": 254, "company": 200, "phone": 50}


class InvalidContact(Exception):
    """A contact that cannot be stored; the message names the field."""


@dataclass(frozen=True)
class Contact:
    """One contact of one tenant. `id` is unique within the tenant; times are ISO 8601, UTC."""

    id: str
    name: str
    email: str
    type: str
    status: str
    company: str
    phone: str
    created_at: str

    def to_json(self) -> dict[str, Any]:
        """The contact as the API shows it."""
        shown = asdict(self)
        shown["createdAt"] = shown.pop("created_at")
        return shown


def accept(data: object, *, id: str, created_at: str) -> Contact:
    """A contact from what a caller sent; InvalidContact when a field is missing, unknown, too long or not allowed."""
    if not isinstance(data, Mapping):
        raise InvalidContact("the body must be an object")
    unknown = sorted(str(key) for key in data.keys() - _TEXTS.keys() - {"type", "status"})
    if unknown:
        raise InvalidContact(f"unknown field {unknown[0][:40]!a}")
    texts = {name: _text(data.get(name, ""), name, limit) for name, limit in _TEXTS.items()}
    if not texts["name"]:
        raise InvalidContact("name is required")
    if not _EMAIL.fullmatch(texts["email"]):
        raise InvalidContact("email must be an address")
    kind, status = data.get("type", "lead"), data.get("status", "active")
    if kind not in TYPES:
        raise InvalidContact(f"type must be one of {', '.join(TYPES)}")
    if status not in STATUSES:
        raise InvalidContact(f"status must be one of {', '.join(STATUSES)}")
    return Contact(id=id, type=kind, status=status, created_at=created_at, **texts)


def _text(value: object, name: str, limit: int) -> str:
    if not isinstance(value, str) or len(value) > limit or any(ord(c) < 32 or 0xD7FF < ord(c) < 0xE000 for c in value):
        raise InvalidContact(f"{name} must be text of at most {limit} characters without control characters")
    return value.strip()
