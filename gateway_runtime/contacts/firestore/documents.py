"""Contacts and receipts as Firestore documents, in raw protobuf: the library's wrappers cost twenty times the encoding.

| | |
|---|---|
| a contact | tenants/{tenant}/contacts/{id}, the fields as the API names them, and `mark` |
| a receipt | tenants/{tenant}/receipts/{key}, removed by Firestore itself at `expireAt` (a TTL policy) |

Names are encoded injectively where Firestore forbids them ("/", ".", "..", `__x__`, more than 1500 bytes). The encoding of
an id also keeps the order of ids as bytes, because pages are in that order.
"""

from __future__ import annotations

import json
import zlib
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import quote

from gateway_runtime.contacts.model import ATTRIBUTES, DEFAULTS, ID, Contact
from gateway_runtime.contacts.store import Receipt

CONTACTS, RECEIPTS = "contacts", "receipts"
MARK: Final = "mark"
FIELDS = (*(key for key in ATTRIBUTES if key != "id"), MARK)
"""What a contact's document holds. Fields of others are left alone."""
RECEIPT_FIELDS = ("fingerprint", "status", "body", "madeAt", "expireAt", "token")
"""What a receipt's document holds."""
KEPT_SECONDS = 24 * 3600
"""How long a receipt holds; Firestore removes it within a day after that."""

_TEXTS = tuple((key, ATTRIBUTES[key]) for key in ("type", "name", "email", "relationshipType", "status", "source"))
_COUNTS = tuple((key, ATTRIBUTES[key]) for key in ("interactionCount", "emailCount", "slackMessageCount"))
_LONGEST = 1500
_MICROSECONDS = 1_000_000


def segment(name: str) -> str:
    """Any text as one segment of a document's path. Different texts stay different."""
    found = quote(name, safe="")
    if found in (".", "..") or found.startswith("__"):
        found = f"%{ord(found[0]):02X}{found[1:]}"
    if not found or len(found) > _LONGEST:
        return "=" + blake2b(name.encode(), digest_size=32).hexdigest()
    return found


def id_segment(id: str) -> str:
    """The id of a contact as a segment. "__" at its front becomes "_^", which sorts where "__" did among ids."""
    if not ID.fullmatch(id):
        return segment(id)
    return f"_^{id[2:]}" if id.startswith("__") else id


def id_of(name: str) -> str:
    """The id in a document's name."""
    found = name.rpartition("/")[2]
    return f"__{found[2:]}" if found.startswith("_^") else found


def fill(target: Any, name: str, contact: Contact) -> None:
    """Write the contact into a Document message that is still empty."""
    target.name = name
    fields = target.fields
    for key, attribute in _TEXTS:
        fields[key].string_value = getattr(contact, attribute)
    for key, attribute in _COUNTS:
        fields[key].integer_value = getattr(contact, attribute)
    _put_time(fields["createdAt"], contact.created_at)
    _put_time(fields["updatedAt"], contact.updated_at)
    fields["createdBy"].string_value = contact.created_by
    fields[MARK].string_value = contact.mark
    custom = fields["customFields"].map_value
    custom.SetInParent()
    for key, value in contact.custom_fields.items():
        _put(custom.fields[key], value)


def contact_of(found: Any) -> Contact:
    """The contact in a Document message. A field that is missing, or of another kind than ours, has its default: such
    documents were made by others."""
    fields = found.fields
    values: dict[str, Any] = {}
    for key, attribute in _TEXTS:
        values[attribute] = fields[key].string_value if _is(fields, key, "string_value") else DEFAULTS.get(key, "")
    for key, attribute in _COUNTS:
        values[attribute] = fields[key].integer_value if _is(fields, key, "integer_value") else 0
    for key, attribute, instead in (
        ("createdAt", "created_at", found.create_time),
        ("updatedAt", "updated_at", found.update_time),
    ):
        values[attribute] = _time_of(fields[key].timestamp_value if _is(fields, key, "timestamp_value") else instead)
    custom = fields["customFields"].map_value.fields if _is(fields, "customFields", "map_value") else {}
    return Contact(
        id=id_of(found.name),
        **values,
        created_by=text_of(found, "createdBy"),
        custom_fields={key: _taken(custom[key]) for key in custom},
        mark=text_of(found, MARK),
        version=version_of(found.update_time),
    )


def fill_receipt(target: Any, name: str, receipt: Receipt, token: str) -> None:
    """Write the receipt into an empty Document message; `token` tells this attempt from every other."""
    target.name = name
    fields = target.fields
    fields["fingerprint"].string_value = receipt.fingerprint
    fields["status"].integer_value = receipt.status
    # An answer with a thousand contacts in it may be larger than the 1 MiB a document holds.
    fields["body"].bytes_value = zlib.compress(receipt.body, 1)
    _put_time(fields["madeAt"], receipt.made_at)
    _put_time(fields["expireAt"], receipt.made_at + (KEPT_SECONDS + 3600) * _MICROSECONDS)
    fields["token"].string_value = token


def receipt_of(found: Any, key: str) -> Receipt:
    """The receipt in a Document message."""
    fields = found.fields
    body = zlib.decompress(fields["body"].bytes_value)
    return Receipt(key, fields["fingerprint"].string_value, fields["status"].integer_value, body, made_at(found))


def made_at(found: Any) -> int:
    """When a receipt was made, from its Document message."""
    return _time_of(found.fields["madeAt"].timestamp_value)


def text_of(found: Any, key: str) -> str:
    """A text field of a Document message, "" when it is not there."""
    return str(found.fields[key].string_value) if key in found.fields else ""


def version_of(moment: Any) -> str:
    """A document's update time as the version of a contact."""
    return f"{moment.seconds}.{moment.nanos:09d}"


def put_version(target: Any, version: str) -> bool:
    """Write a version into a Timestamp message; False for what never was one."""
    seconds, dot, nanos = version.partition(".")
    if not (dot and version.isascii() and seconds.isdigit() and nanos.isdigit() and len(nanos) == 9):
        return False
    if len(seconds) > 11:
        return False
    target.seconds, target.nanos = int(seconds), int(nanos)
    return True


def _is(fields: Any, key: str, kind: str) -> bool:
    return key in fields and fields[key].WhichOneof("value_type") == kind


def _put_time(value: Any, moment: int) -> None:
    seconds, rest = divmod(moment, _MICROSECONDS)
    value.timestamp_value.seconds, value.timestamp_value.nanos = seconds, rest * 1000


def _time_of(moment: Any) -> int:
    return int(moment.seconds) * _MICROSECONDS + int(moment.nanos) // 1000


def _put(value: Any, item: object) -> None:
    if item is None:
        value.null_value = 0
    elif isinstance(item, bool):
        value.boolean_value = item
    elif isinstance(item, int):
        value.integer_value = item
    elif isinstance(item, float):
        value.double_value = item
    else:
        value.string_value = item


def _taken(value: Any) -> Any:
    """A value of a custom field. What is not flat was put there by somebody else, and is shown as JSON in a text."""
    kind = value.WhichOneof("value_type")
    if kind in ("null_value", None):
        return None
    if kind in ("boolean_value", "integer_value", "double_value", "string_value"):
        return getattr(value, kind)
    return json.dumps(_nested(value), ensure_ascii=False, separators=(",", ":"))


def _nested(value: Any) -> Any:
    kind = value.WhichOneof("value_type")
    if kind == "map_value":
        return {key: _nested(value.map_value.fields[key]) for key in sorted(value.map_value.fields)}
    if kind == "array_value":
        return [_nested(item) for item in value.array_value.values]
    if kind in ("null_value", None):
        return None
    found = getattr(value, kind)
    return found if isinstance(found, bool | int | float | str) else str(found).strip()
