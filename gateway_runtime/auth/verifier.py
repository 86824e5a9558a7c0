"""Tells who sent a token, and remembers it until the token expires.

A check costs about as much as the rest of a request, so a token that was found right is kept by its SHA-256 (never itself)
in a bounded memory, the least used one going first. What that means for taking rights back:
- a key that its issuer withdraws ends every remembered token at once (`Keyring.changes`);
- a user who is disabled, or whose tokens are revoked, keeps what an ID token says until that token's `exp`, an hour at
  most with Firebase. That is so with every verifier that does not ask Firebase about every request.

Remembering makes no token live longer: a remembered one ends when the wall clock passes `exp`, or when as much time has
gone by on a clock that nobody sets, whichever is first. It stays in the memory as ended, so that turning the wall clock
back does not bring it to life again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import sha256

from gateway_runtime.auth.claims import Rules, identify
from gateway_runtime.auth.identity import Identity
from gateway_runtime.auth.keyring import Keyring
from gateway_runtime.auth.refusals import expired, invalid
from gateway_runtime.auth.token import parse, take_apart


class Verifier:
    """See the module. `room` is how many tokens are remembered; 0 checks every one every time."""

    def __init__(
        self,
        keys: Keyring,
        rules: Rules,
        *,
        room: int,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.keys = keys
        self._rules = rules
        self._room = room
        self._wall = wall
        self._steady = steady
        self._changes = keys.changes
        self._known: dict[bytes, tuple[Identity, float]] = {}

    def remembered(self, token: bytes) -> Identity | None:
        """The identity of a token that was found right before; None for another, Problem 401 for one that has expired."""
        self.keys.tend()
        if self._changes != self.keys.changes:
            self._changes = self.keys.changes
            self._known.clear()
        mark = sha256(token).digest()
        found = self._known.pop(mark, None)
        if found is None:
            return None
        self._known[mark] = found  # the youngest again
        identity, ends = found
        if self._steady() >= ends or self._wall() >= identity.expires + self._rules.leeway:
            raise expired()
        return identity

    async def verify(self, token: bytes) -> Identity:
        """The identity a token gives; Problem: 401 not right, 403 no tenant, 503 when it cannot be checked."""
        parts = take_apart(token)
        key = await self.keys.key(parts.kid)
        if not key.signed(parts.signed, parts.signature):
            raise invalid("signature")
        now = self._wall()
        identity = identify(parse(parts.payload), self._rules, now)
        if self._room and self.keys.changes == self._changes:
            if len(self._known) >= self._room:
                del self._known[next(iter(self._known))]
            self._known[sha256(token).digest()] = identity, self._steady() + identity.expires + self._rules.leeway - now
        return identity
