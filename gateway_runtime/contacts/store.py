"""Where contacts are kept: what every store must do, and how it says that something did not happen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

from gateway_runtime.contacts.model import Contact

FaultKind = Literal["unavailable", "denied", "unauthenticated", "full", "busy"]
PAGE_BYTES = 6 * 1024 * 1024
"""What the contacts of a page with a limit of PAGE_LIMIT or less hold at most: as an answer they stay below the 10 MiB that a
gateway passes on, and a few callers cannot fill the memory. Above that limit it is the caller who wants all of it."""
PAGE_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """Some contacts in order of their ids, and whether there are more."""

    items: tuple[Contact, ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was answered to a request with an Idempotency-Key: kept for 24 hours at least, so that it can be said again.

    `fingerprint` is the request's, `made_at` microseconds since the epoch.
    """

    key: str
    fingerprint: str
    status: int
    body: bytes
    made_at: int


@dataclass(frozen=True, slots=True)
class Write:
    """One row of a bulk write. `replace` and `remove` hold only if the stored version is `version`; `remove` without one
    holds whatever is there, and needs of the contact only its id."""

    kind: Literal["create", "replace", "remove"]
    contact: Contact
    version: str = ""


class Outcome(Enum):
    """What became of one row."""

    DONE = "done"
    EXISTS = "exists"
    """A create found a contact with this id, made by another write: it was left alone."""
    CHANGED = "changed"
    """The stored version is another one: it was left alone."""
    GONE = "gone"
    """There is none to replace or remove."""
    TOO_LARGE = "too large"
    """The store cannot hold so large a contact."""
    INVALID = "invalid"
    """The store does not take this contact, whoever sends it: a value is none that it knows."""


@dataclass(frozen=True, slots=True)
class Written:
    """The outcome of one row; with DONE (but for a remove) the version it has now, else the version that stands there, ""
    where the store does not know or there is none."""

    outcome: Outcome
    version: str = ""


class Exists(Exception):
    """Nothing was added: the tenant has contacts with these ids already."""

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = tuple(ids)
        super().__init__(f"{len(self.ids)} contacts exist")


class Changed(Exception):
    """Nothing was written: the stored version is another one, or the contact is gone."""


class ReceiptTaken(Exception):
    """Nothing was added: there is a receipt with this key."""


class TooLarge(Exception):
    """Nothing was added: all of it does not fit into one commit of this store."""


class StoreFault(Exception):
    """The store cannot do it now. `unavailable`: the retries are used up; `denied`: it may not;
    `unauthenticated`: it was shown no credentials, or not the right ones; `full`: no room is left;
    `busy`: somebody else held it for too long. The detail is for the log and never holds data of a contact."""

    def __init__(self, kind: FaultKind, detail: str = "") -> None:
        self.kind: FaultKind = kind
        self.detail = detail
        super().__init__(f"{kind}: {detail}" if detail else kind)


class SchemaFault(Exception):
    """The store holds data in a form this version does not know; one line says what to do."""


class ContactStore(Protocol):
    """The contacts of all tenants. Every method names the tenant; none ever shows another one's contact.

    Pages are in order of the ids, as bytes: an id is a hash, so a page needs no sequential index, and what is added never
    shifts a page. Retries live in here, are few, and end in a StoreFault. A write that is tried again may meet its own
    first attempt: a stored contact with the `mark` of the one to be written counts as written by it.
    """

    async def open(self) -> None:
        """Makes it ready; StoreFault or SchemaFault when it cannot be used."""

    async def close(self) -> None:
        """Lets go of what it holds."""

    async def page(self, tenant: str, *, limit: int, status: str = "", type: str = "", after: str = "") -> Page:
        """The first `limit` contacts whose id comes after `after`, of one status and type when those are given; fewer, but
        one at least and `has_more`, when they would hold more than PAGE_BYTES."""
        ...

    async def get(self, tenant: str, id: str) -> Contact | None:
        """One contact, or None."""
        ...

    async def get_many(self, tenant: str, ids: Sequence[str]) -> dict[str, Contact]:
        """Those of the named contacts that are there, by id."""
        ...

    async def add(
        self, tenant: str, contacts: Sequence[Contact], *, receipt: Receipt | None = None
    ) -> tuple[Contact, ...]:
        """Stores all of them and the receipt in one commit, or nothing: Exists, ReceiptTaken (which goes first), TooLarge.
        The ids are different from each other, else ValueError. A receipt older than 24 hours counts as not there."""
        ...

    async def replace(self, tenant: str, contact: Contact, *, version: str) -> Contact:
        """Puts the contact in the place of the stored one of that version; Changed."""
        ...

    async def remove(self, tenant: str, id: str, *, version: str = "") -> bool:
        """Takes a contact away, of that version when one is given; False when there is none, Changed when it is another."""
        ...

    async def count(self, tenant: str, *, status: str = "", type: str = "") -> int:
        """How many there are, counted where they lie."""
        ...

    async def receipt(self, tenant: str, key: str) -> Receipt | None:
        """The receipt of a key, if it is not older than 24 hours."""
        ...

    async def write(self, tenant: str, writes: Sequence[Write]) -> list[Written]:
        """Many rows at once, each with its own outcome and not all or nothing; the ids are different, else ValueError."""
        ...
