"""Idempotency-Key: a request that is sent again has its effect once and gets the same answer.

The answer is kept as a receipt, in the very commit that has the effect, so that there is never one without the other. The
same key with another body is refused. While the first request is under way a second one is told to come back; when it
reaches another process, the store lets only one of the two commit. A refused request leaves no receipt: its key may be used
again with a mended body. Keys belong to the tenant and are kept for 24 hours.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b

from gateway_runtime.asgi import Request
from gateway_runtime.contacts.store import ContactStore, Receipt, ReceiptTaken
from gateway_runtime.errors import Problem

FIELD = b"idempotency-key"
REPLAYED = (b"idempotent-replayed", b"true")
"""What an answer carries that was given before."""
_KEY = re.compile(rb"[\x21-\x7e]{1,255}")

Make = Callable[[int, Receipt | None], Awaitable[Receipt]]
"""Has the effect at the moment it is given (microseconds since the epoch), and returns the answer as a receipt. The receipt it
is given, without status and body, is the one to complete and to keep with the effect; None when no key was shown."""


class Idempotency:
    """Sees to it that a request has its effect once."""

    def __init__(self, store: ContactStore) -> None:
        self._store = store
        self._under_way: set[tuple[str, str]] = set()

    async def once(self, request: Request, tenant: str, body: bytes, make: Make) -> tuple[Receipt, bool]:
        """The answer, and whether it was given before. Problem when the key is no key, in use, or another request's."""
        key = _key(request)
        now = time.time_ns() // 1000
        if key is None:
            return await make(now, None), False
        told = blake2b(b"\0".join((request.method.encode(), request.path.encode(), body)), digest_size=16).hexdigest()
        with self._alone(tenant, key):
            before = await self._before(tenant, key, told)
            if before is not None:
                return before, True
            try:
                return await make(now, Receipt(key, told, 0, b"", now)), False
            except ReceiptTaken:
                before = await self._before(tenant, key, told)
            if before is None:
                raise _in_use()
            return before, True

    async def _before(self, tenant: str, key: str, told: str) -> Receipt | None:
        receipt = await self._store.receipt(tenant, key)
        if receipt is not None and receipt.fingerprint != told:
            raise Problem("IDEMPOTENCY_KEY_REUSED")
        return receipt

    @contextmanager
    def _alone(self, tenant: str, key: str) -> Iterator[None]:
        if (tenant, key) in self._under_way:
            raise _in_use()
        self._under_way.add((tenant, key))
        try:
            yield
        finally:
            self._under_way.discard((tenant, key))


def _in_use() -> Problem:
    return Problem("IDEMPOTENCY_KEY_IN_USE", headers=((b"retry-after", b"1"),))


def _key(request: Request) -> str | None:
    given = [value for name, value in request.headers if name == FIELD]
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise Problem("VALIDATION_FAILED", "Idempotency-Key must be 1 to 255 visible ASCII characters, given once")
    return given[0].decode("ascii")
