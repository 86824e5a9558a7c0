"""A verifier over real keys, and what becomes of a request with a given token: real layers, nothing replaced."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import cache

from gateway_runtime.asgi import Request, Response
from gateway_runtime.auth.claims import Rules
from gateway_runtime.auth.identity import Identity
from gateway_runtime.auth.keyring import Keyring, KeySet
from gateway_runtime.auth.verifier import Verifier
from gateway_runtime.errors import Problem
from gateway_runtime.layers.auth import Auth
from gateway_runtime.logs import Log
from tests.helpers.gateway_request import request
from tests.helpers.tokens import AUDIENCE, ISSUER, Issuer, issuer, jwks

RULES = Rules(ISSUER, AUDIENCE)


class Source:
    """Hands out key sets, and counts how often it was asked. `fails` makes it raise, `held` wait until it is set."""

    def __init__(self, body: bytes, good_for: float = 3600) -> None:
        self.body, self.good_for, self.reads, self.fails = body, good_for, 0, False
        self.held: asyncio.Event | None = None

    async def __call__(self) -> KeySet:
        self.reads += 1
        await asyncio.sleep(0)
        if self.held is not None:
            await self.held.wait()
        if self.fails:
            raise OSError("no connection")
        return KeySet(self.body, self.good_for)


class Clock:
    """Time that moves when it is told to."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@cache
def _nowhere() -> Log:
    return Log("error", fd=os.open(os.devnull, os.O_WRONLY))


def keyring(source: Source, **how: object) -> Keyring:
    return Keyring(source, _nowhere(), **{"refetch": 30.0, "stale": 86400.0, **how})  # type: ignore[arg-type]


def verifier(*issuers: Issuer, rules: Rules = RULES, room: int = 100, **clocks: Callable[[], float]) -> Verifier:
    return Verifier(keyring(Source(jwks(*(issuers or (issuer(),))))), rules, room=room, **clocks)


async def shown(checker: Verifier | None, *headers: tuple[bytes, bytes], query: bytes = b"") -> Identity | Problem:
    """The identity that a handler behind Auth sees, or the Problem that kept the request from it."""

    async def handler(_: Request) -> Response:
        return Response(200)

    asked = request(headers=headers, query=query)
    try:
        await Auth(handler, checker, lambda _: False)(asked)
    except Problem as problem:
        return problem
    assert asked.identity is not None
    return asked.identity


def judged(token: str | bytes, checker: Verifier | None = None) -> Identity | Problem:
    """What becomes of a request that shows this token."""
    text = token.encode("utf-8", "surrogatepass") if isinstance(token, str) else token
    return asyncio.run(shown(checker or verifier(), (b"authorization", b"Bearer " + text)))
