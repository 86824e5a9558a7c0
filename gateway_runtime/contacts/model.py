"""What a contact is (plan 3.2: its fields), and how one is made and changed from what a caller sent."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

from gateway_runtime.contacts.addresses import address_key
from gateway_runtime.contacts.checks import (
    CHECKS,
    RELATIONSHIPS,
    STATUSES,
    TYPES,
    CustomValue,
    InvalidContact,
    custom_key,
    custom_value,
    require_room,
    rfc3339,
)

__all__ = [
    "ATTRIBUTES", "DEFAULTS", "ID", "READ_ONLY", "RELATIONSHIPS", "STATUSES", "TYPES", "WRITABLE", "Contact", "CustomValue",
    "InvalidContact", "accept", "contact_id", "edit", "id_for", "shown",
]  # fmt: skip

ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What the id of a contact looks like."""

ATTRIBUTES: Mapping[str, str] = MappingProxyType(
    {
        "id": "id",
        "type": "type",
        "name": "name",
        "email": "email",
        "relationshipType": "relationship_type",
        "status": "status",
        "source": "source",
        "interactionCount": "interaction_count",
        "emailCount": "email_count",
        "slackMessageCount": "slack_message_count",
        "createdAt": "created_at",
        "updatedAt": "updated_at",
        "createdBy": "created_by",
        "customFields": "custom_fields",
    }
)
"""Field as the API names it -> attribute of a Contact, in the order in which they are shown."""
READ_ONLY = frozenset(("id", "createdAt", "updatedAt", "createdBy"))
"""What the service itself says about a contact."""
WRITABLE = frozenset(ATTRIBUTES) - READ_ONLY
DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "type": "person",
        "email": "",
        "relationshipType": "prospect",
        "status": "active",
        "source": "manual",
        "interactionCount": 0,
        "emailCount": 0,
        "slackMessageCount": 0,
        "customFields": MappingProxyType({}),
    }
)
"""What a field holds that nobody gave (plan 3.2). `name` has no default: it is required."""


@dataclass(frozen=True, slots=True)
class Contact:
    """One contact of one tenant. `id` is unique within the tenant; times are microseconds since the epoch, UTC.

    `mark` says which write made this state and is shown to nobody. `version` is the store's: opaque, another one after
    every change, "" for what is not stored yet; it is the ETag of the API and no part of what two contacts are compared by.
    """

    id: str
    type: str
    name: str
    email: str
    relationship_type: str
    status: str
    source: str
    interaction_count: int
    email_count: int
    slack_message_count: int
    created_at: int
    updated_at: int
    created_by: str
    custom_fields: Mapping[str, CustomValue]
    mark: str = ""
    version: str = field(default="", compare=False)


def contact_id(tenant: str, key: str) -> str:
    """The id of what a tenant calls `key`: 32 hex digits of BLAKE2b over both, length-prefixed, so that no two pairs meet."""
    first, second = tenant.encode(), key.encode()
    return blake2b(b"%d:%b%d:%b" % (len(first), first, len(second), second), digest_size=16).hexdigest()


def id_for(tenant: str, email: str) -> str:
    """The id of a new contact: it follows from the address in any case of letters (`address_key`); without one it is drawn."""
    return contact_id(tenant, address_key(email)) if email else secrets.token_hex(16)


def accept(data: object, *, tenant: str, now: int, by: str, mark: str) -> Contact:
    """A new contact from what a caller sent; InvalidContact names the first field that will not do."""
    values = dict(DEFAULTS)
    for key, value in _fields(data).items():
        values[key] = CHECKS[key](value)
    if "name" not in values:
        raise InvalidContact("name", "REQUIRED", "is required")
    made = {ATTRIBUTES[key]: value for key, value in values.items()}
    return Contact(id=id_for(tenant, made["email"]), created_at=now, updated_at=now, created_by=by, mark=mark, **made)


def edit(contact: Contact, data: object, *, now: int, mark: str) -> Contact:
    """The contact with what a merge patch says (RFC 7396): null takes a field back to its default, or a custom field away.

    The id stays, whatever happens to the address. Its version stays too: the one the patch was made against.
    """
    values: dict[str, Any] = {}
    for key, value in _fields(data).items():
        if key == "customFields" and isinstance(value, Mapping):
            values["custom_fields"] = _merged(contact.custom_fields, value)
        elif value is None and key in DEFAULTS:
            values[ATTRIBUTES[key]] = DEFAULTS[key]
        elif value is None:
            raise InvalidContact(key, "REQUIRED", "is required")
        else:
            values[ATTRIBUTES[key]] = CHECKS[key](value)
    return replace(contact, **values, updated_at=max(now, contact.updated_at), mark=mark)


def shown(contact: Contact) -> dict[str, Any]:
    """The contact as the API shows it."""
    found = {key: getattr(contact, attribute) for key, attribute in ATTRIBUTES.items()}
    found["createdAt"], found["updatedAt"] = rfc3339(contact.created_at), rfc3339(contact.updated_at)
    found["customFields"] = dict(contact.custom_fields)
    return found


def _fields(data: object) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise InvalidContact("", "NOT_AN_OBJECT", "a contact is an object")
    for key in data:
        if key not in WRITABLE:
            if key in READ_ONLY:
                raise InvalidContact(key, "READ_ONLY", "is set by the service")
            raise InvalidContact(ascii(str(key)[:40])[1:-1], "UNKNOWN_FIELD", "there is no such field")
    return data


def _merged(before: Mapping[str, CustomValue], patch: Mapping[str, object]) -> dict[str, CustomValue]:
    after = dict(before)
    for key, value in patch.items():
        if value is None:
            after.pop(key, None)
        else:
            after[custom_key(key)] = custom_value(value)
    require_room(len(before), len(after))
    return after
