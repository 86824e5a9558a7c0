"""Lets nobody in without a valid token, except on public routes."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from gateway_runtime.asgi import Handler, Request, Response
from gateway_runtime.auth.identity import Identity
from gateway_runtime.auth.refusals import ambiguous, missing, not_configured
from gateway_runtime.auth.verifier import Verifier

TWO = "There is more than one Authorization field"
ELSEWHERE = "A token belongs in the Authorization field and nowhere else"
_BEARER = re.compile(rb"(?i:bearer) +([^ ]+)")
_IN_QUERY = re.compile(
    rb"(?i:(?:^|[&;])(?:access_?token|id_?token|auth_?token|authorization|bearer|jwt)=)|=eyJ[A-Za-z0-9_-]+\."
)


class Auth:
    """Sets `request.identity` from the token in the Authorization field.

    Secure by default: what no route calls public needs a token, paths that are not there included, and without a
    `verifier` (nobody said whose tokens to believe) such a request is answered with 503. A token in a cookie counts for
    nothing; one in the query is refused, since a URL ends up in logs and histories (RFC 6750 2.3, 5.3).
    """

    def __init__(self, inner: Handler, verifier: Verifier | None, is_public: Callable[[Request], bool]) -> None:
        self._inner = inner
        self._verifier = verifier
        self._is_public = is_public

    def __call__(self, request: Request) -> Awaitable[Response]:
        if self._is_public(request):
            return self._inner(request)
        if self._verifier is None:
            raise ambiguous(TWO) if twice(request) else not_configured()
        token = token_of(request)
        identity = self._verifier.remembered(token)
        if identity is None:
            return self._verified(request, self._verifier, token)
        request.identity = identity
        return self._inner(request)

    async def _verified(self, request: Request, verifier: Verifier, token: bytes) -> Response:
        request.identity = await verifier.verify(token)
        return await self._inner(request)


def twice(request: Request) -> bool:
    """Whether there is more than one Authorization field."""
    return request.header(b"authorization") is None and request.joined(b"authorization") is not None


def token_of(request: Request) -> bytes:
    """The token in the one Authorization field; Problem 400 or 401 when it is not there, not alone, or elsewhere too."""
    if twice(request):
        raise ambiguous(TWO)
    given = request.header(b"authorization")
    if request.query and token_in_query(request.query):
        raise missing(ELSEWHERE) if given is None else ambiguous(ELSEWHERE)
    token = None if given is None else bearer(given)
    if token is None:
        raise missing()
    return token


def bearer(authorization: bytes) -> bytes | None:
    """The token in an Authorization field; None when it holds something else."""
    match = _BEARER.fullmatch(authorization)
    return match[1] if match else None


def token_in_query(query: bytes) -> bool:
    """Whether something in the query is a token, or is called like one."""
    return _IN_QUERY.search(query) is not None


def who(request: Request) -> Identity:
    """The identity of a request on a route that is not public."""
    if request.identity is None:
        raise missing()  # cannot be: Auth is outside of every handler. Closed, if it ever were.
    return request.identity
