"""The settings of the contacts: their rows in the table."""

from __future__ import annotations

from gateway_runtime.contacts.stores import checked
from gateway_runtime.setting_types import Setting, one_of, whole
from gateway_runtime.upstream.settings import secret


class PageBound(int):
    """The most contacts on a page; 0 for as many as there are, which is said `off`."""

    @classmethod
    def parse(cls, text: str) -> PageBound:
        """From 1..1000, or off; ValueError."""
        try:
            return cls(0 if text == "off" else whole(1, 1000)(text))
        except ValueError:
            raise ValueError("must be a whole number from 1 to 1000, or off") from None

    def __str__(self) -> str:
        return int.__repr__(self) if self else "off"


ROWS: tuple[Setting, ...] = (
    Setting(
        "CONTACTS_STORE",
        checked,
        "a URL",
        "Where the contacts are: `sqlite:///ABSOLUTE/PATH` or `firestore://PROJECT[/DATABASE]`. Required for the role `crm`.",
    ),
    Setting("CONTACTS_PAGE_DEFAULT", whole(1, 1000), "1..1000", "Contacts on a page when the caller names no limit."),
    Setting(
        "CONTACTS_PAGE_MAX",
        PageBound.parse,
        "1..1000, off",
        "The highest limit a caller may name. `off` is the plan's state before step 1.4: without a limit every contact there "
        "is goes into one answer.",
    ),
    Setting(
        "CONTACTS_BATCH",
        one_of("on", "off"),
        "on off",
        "Whether many contacts can be made in one request, `POST /contacts/batch`. `off` is the plan's state before step 3.2.",
    ),
    Setting(
        "CONTACTS_CURSOR_KEY",
        secret,
        "16..512 characters",
        "Signs the cursors; the same for all instances. Unset: a key made of CONTACTS_STORE, which whoever knows that can make "
        "too. Either way a cursor opens nothing: the tenant is always the token's.",
        secret=True,
    ),
)
