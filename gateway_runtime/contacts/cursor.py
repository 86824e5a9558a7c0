"""Where the next page begins, as a word that only this service makes (plan 1.4: `nextCursor`).

The word holds the id of the last contact of a page and a MAC over it, the tenant, the filter and the form of the word. The
place is found by comparing ids and no contact is looked up: it stays good when the contact it names is deleted. For another
tenant, for another filter or with a byte changed it is no cursor at all.

The MAC keeps places from being mixed up. It is not what keeps tenants apart: every query of a store names the tenant of the
verified token, so that whoever could forge a cursor would reach no contact that a filter of their own does not reach.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from hashlib import blake2b

from gateway_runtime.contacts.model import ID
from gateway_runtime.errors import Problem

FORM = b"\x01"
LONGEST = 200
"""Characters of a cursor."""
_MAC = 16


class Cursors:
    """Makes and reads cursors. Processes with the same key, or without one the same store, read each other's."""

    def __init__(self, key: str, store: str) -> None:
        own = key.encode() or b"of the store " + store.encode()
        self._key = blake2b(own, digest_size=32, person=b"contacts cursor").digest()

    def make(self, tenant: str, status: str, type: str, last: str) -> str:
        """The cursor to what comes after the contact `last` in this tenant's list with this filter."""
        place = last.encode("ascii")
        return base64.urlsafe_b64encode(FORM + self._mac(tenant, status, type, place) + place).rstrip(b"=").decode()

    def read(self, tenant: str, status: str, type: str, cursor: str) -> str:
        """The id after which to go on; Problem INVALID_CURSOR."""
        try:
            if len(cursor) > LONGEST:
                raise ValueError
            text = cursor.encode("ascii")
            data = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
            mac, place = data[1 : 1 + _MAC], data[1 + _MAC :]
            if base64.urlsafe_b64encode(data).rstrip(b"=") != text or data[:1] != FORM:
                raise ValueError  # a second spelling of the same bytes is no cursor of ours
            if not hmac.compare_digest(mac, self._mac(tenant, status, type, place)):
                raise ValueError
            last = place.decode("ascii")
            if not ID.fullmatch(last):
                raise ValueError
        except (ValueError, binascii.Error):
            raise Problem("INVALID_CURSOR") from None
        return last

    def _mac(self, tenant: str, status: str, type: str, place: bytes) -> bytes:
        told = blake2b(FORM, key=self._key, digest_size=_MAC)
        for part in (tenant.encode(), status.encode(), type.encode(), place):
            told.update(b"%d:" % len(part) + part)  # length-prefixed: no two lists of parts give one text
        return told.digest()
