"""What a row does to a contact that is there already: one rule a field, decided before the import begins."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from gateway_runtime.contacts.checks import InvalidContact, require_room
from gateway_runtime.contacts.model import ATTRIBUTES, Contact
from xgw.importer.columns import CUSTOM

Rule = Literal["skip", "fill", "overwrite"]
OnDuplicate = Literal["skip", "update", "fill", "fail"]


@dataclass(frozen=True)
class Policy:
    """`rules` holds the fields (as the API names them; "customFields.KEY") that are treated otherwise than the rest.

    skip      a contact that is there stays as it is
    update    what the row says replaces what is there; an empty cell says nothing
    fill      what the row says goes where nothing is
    fail      the import stops at the first row that is a duplicate
    """

    on_duplicate: OnDuplicate = "skip"
    rules: Mapping[str, Rule] = field(default_factory=dict)

    @property
    def writes(self) -> bool:
        """Whether a contact that is there may be changed."""
        return self.on_duplicate in ("update", "fill")

    def rule(self, name: str) -> Rule:
        """What happens to this field."""
        usual: Rule = "overwrite" if self.on_duplicate == "update" else "fill"
        return self.rules.get(name, usual)


def says_the_same(stored: Contact, row: Contact, given: Collection[str]) -> bool:
    """True when everything the row says stands there already; who made it, and when, is not the row's to say again."""
    return all(name in _FIXED or _value(stored, name) == _value(row, name) for name in given)


def merged(stored: Contact, row: Contact, given: Collection[str], policy: Policy) -> Contact:
    """The stored contact with what the row may change; equal to the stored one when that is nothing.

    The id, the creation and the version stay; `updated_at` does not go back, and the mark becomes the row's.
    """
    values: dict[str, Any] = {}
    custom = dict(stored.custom_fields)
    for name in given:
        said, there, rule = _value(row, name), _value(stored, name), policy.rule(name)
        if name in _FIXED or said == there or rule == "skip" or (rule == "fill" and there not in ("", None)):
            continue
        if name.startswith(CUSTOM):
            custom[name.removeprefix(CUSTOM)] = said
        else:
            values[ATTRIBUTES[name]] = said
    if custom != dict(stored.custom_fields):
        values["custom_fields"] = custom
    if not values:
        return stored
    return replace(stored, **{"updated_at": max(row.updated_at, stored.updated_at), **values, "mark": row.mark})


def too_many(stored: Contact, changed: Contact) -> bool:
    """Whether the change gives the contact more custom fields than one may have; one that has more already may keep them."""
    try:
        require_room(len(stored.custom_fields), len(changed.custom_fields))
    except InvalidContact:
        return True
    return False


_FIXED = frozenset(("id", "createdAt", "createdBy", "updatedAt"))
"""What a contact that is there keeps, whatever a row says."""


def _value(contact: Contact, name: str) -> Any:
    if name.startswith(CUSTOM):
        return contact.custom_fields.get(name.removeprefix(CUSTOM))
    return getattr(contact, ATTRIBUTES[name])
