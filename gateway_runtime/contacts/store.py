"""Where contacts are kept: what every store must do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gateway_runtime.contacts.model import Contact


@dataclass(frozen=True)
class Page:
    """Some contacts in order of their ids, and whether there are more."""

    items: tuple[Contact, ...]
    has_more: bool


class ContactStore(Protocol):
    """The contacts of all tenants. Every method names the tenant; none ever shows another one's contact."""

    async def open(self) -> None:
        """Makes it ready; raises when it cannot be used."""

    async def page(self, tenant: str, *, limit: int, status: str = "", type: str = "", after: str = "") -> Page:
        """The first `limit` contacts whose id comes after `after`, of one status and type when those are given."""
        ...

    async def get(self, tenant: str, id: str) -> Contact | None:
        """One contact, or None."""
        ...

    async def add(self, tenant: str, contact: Contact) -> bool:
        """Stores a contact; False, and nothing changed, when the tenant has one with this id."""
        ...

    async def close(self) -> None:
        """Lets go of what it holds."""
