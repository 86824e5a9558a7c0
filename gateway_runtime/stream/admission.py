"""Lets a client in: whose token it shows, and whether there is a place."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from gateway_runtime.auth.refusals import ambiguous, missing, not_configured
from gateway_runtime.errors import Problem
from gateway_runtime.layers.auth import bearer
from gateway_runtime.stream.reasons import refusal

if TYPE_CHECKING:
    from gateway_runtime.auth.identity import Identity
    from gateway_runtime.auth.verifier import Verifier
    from gateway_runtime.stream.leases import Leases
    from gateway_runtime.stream.session import Session


class Admission:
    """The verifier that HTTP has, and the places."""

    def __init__(self, verifier: Verifier | None, leases: Leases) -> None:
        self._verifier = verifier
        self._leases = leases

    async def admit(self, session: Session, auth: object) -> dict[str, Any] | None:
        """Sets the identity and takes a place; what the client is told when it is not let in."""
        try:
            identity = await self._who(session, auth)
        except Problem as problem:
            return refusal(problem.code, problem.message)
        user = user_key(identity)
        full = await self._leases.take(user, session.sid)
        if full is not None:
            return refusal(full)
        session.user, session.identity = user, identity
        if session.closing is not None:  # it left meanwhile
            session.user = b""
            self._leases.free(session.sid)
        return None

    async def _who(self, session: Session, auth: object) -> Identity:
        """From the token in CONNECT's `auth`, or in the Authorization field of the handshake; never from the query."""
        if self._verifier is None:
            raise not_configured()
        shown = [] if session.authorization is None else [bearer(session.authorization)]
        if isinstance(auth, dict) and "token" in auth:
            token = auth["token"]
            shown.append(token.encode("ascii", "replace") if isinstance(token, str) else None)
        if len(set(shown)) > 1:
            raise ambiguous("There are two tokens that differ")
        token = shown[0] if shown else None
        if not token:
            raise missing()
        return self._verifier.remembered(token) or await self._verifier.verify(token)


def user_key(identity: Identity) -> bytes:
    """A user within its tenant, as a key that shows neither."""
    tenant, user = identity.tenant.encode(), identity.user.encode()
    return sha256(b"%d:%b%b" % (len(tenant), tenant, user)).hexdigest()[:32].encode()
