"""The settings of the contacts: their rows in the table."""

from __future__ import annotations

from gateway_runtime.contacts.stores import checked
from gateway_runtime.setting_types import Setting

ROWS: tuple[Setting, ...] = (
    Setting(
        "CONTACTS_STORE",
        checked,
        "a URL",
        "Where the contacts are: `sqlite:///ABSOLUTE/PATH` or `firestore://PROJECT[/DATABASE]`. Required for the role `crm`.",
    ),
)
