"""Calls to Firestore: where it is, how long we wait for it, which errors are tried again, and what an error means to us.

The client's own retries are off (`retry=None`): they would go on for 60 s, also after RESOURCE_EXHAUSTED for a request that is
too large. A write that is tried again may meet its own first attempt; the store knows it by its mark.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud.firestore_v1.services.firestore import FirestoreAsyncClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcAsyncIOTransport

from gateway_runtime.contacts.store import FaultKind, StoreFault

T = TypeVar("T")

EMULATOR = "FIRESTORE_EMULATOR_HOST"
AS_OWNER = (("authorization", "Bearer owner"),)
"""What the emulator takes for somebody who may do everything."""
FAULTS = (GoogleAPICallError, GoogleAuthError, grpc.RpcError)
_HOST = "firestore.googleapis.com:443"
_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # After a fault a channel waits a second, then ever longer up to two minutes, and fails every call until then.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2000),
    ("grpc.max_reconnect_backoff_ms", 2000),
)
_Code = grpc.StatusCode

AGAIN = frozenset({_Code.UNAVAILABLE, _Code.RESOURCE_EXHAUSTED, _Code.ABORTED, _Code.DEADLINE_EXCEEDED, _Code.INTERNAL})
"""What is tried again. Everything else stays what it is, above all PERMISSION_DENIED."""
KIND: dict[grpc.StatusCode, FaultKind] = {
    _Code.ABORTED: "busy",
    _Code.PERMISSION_DENIED: "denied",
    _Code.UNAUTHENTICATED: "unauthenticated",
    _Code.INVALID_ARGUMENT: "denied",
    _Code.NOT_FOUND: "denied",  # the database
}
"""What the others become is "unavailable"."""
_BY_NUMBER = {code.value[0]: code for code in _Code}


@dataclass(frozen=True)
class Patience:
    """How long a call to the store may take with all its attempts, one attempt alone, and the waits in between (seconds)."""

    total: float = 25
    attempt: float = 10
    first: float = 0.1
    most: float = 4


class Tries:
    """The attempts of one call."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._clock = asyncio.get_running_loop().time
        self._end = self._clock() + patience.total
        self._count = 0

    def timeout(self) -> float:
        """Seconds for the next attempt."""
        return min(self._patience.attempt, max(0.1, self._end - self._clock()))

    async def again(self, code: grpc.StatusCode, what: str) -> None:
        """Waits before the next attempt, each time up to twice as long; StoreFault when it may not be, or no time is left."""
        if code not in AGAIN:
            raise StoreFault(KIND.get(code, "unavailable"), f"{what}: {code.name}") from None
        most = min(self._patience.most, self._patience.first * 2**self._count)
        wait = most * random.uniform(0.5, 1)  # noqa: S311  spreads, protects nothing
        self._count += 1
        if self._clock() + wait >= self._end:
            raise StoreFault(KIND.get(code, "unavailable"), f"{what}: {code.name}, {self._count} times") from None
        await asyncio.sleep(wait)


async def patiently(patience: Patience, what: str, call: Callable[[float], Awaitable[T]]) -> T:
    """A call that may be made any number of times. `call` gets the seconds it may take."""
    tries = Tries(patience)
    while True:
        try:
            return await call(tries.timeout())
        except FAULTS as error:
            await tries.again(code_of(error), what)


def code_of(error: BaseException) -> grpc.StatusCode:
    """The status of what a call raised. Only the code is kept: messages of Firestore name documents."""
    if isinstance(error, GoogleAPICallError):
        return error.grpc_status_code or _Code.UNKNOWN
    if isinstance(error, TransportError):
        return _Code.UNAVAILABLE
    if isinstance(error, GoogleAuthError):
        return _Code.UNAUTHENTICATED
    code = getattr(error, "code", None)
    return code() if callable(code) else _Code.UNKNOWN


def code_named(number: int) -> grpc.StatusCode:
    """The status with this number, as one row of a BatchWrite has it."""
    return _BY_NUMBER.get(number, _Code.UNKNOWN)


def connect() -> tuple[FirestoreAsyncClient, Any, tuple[tuple[str, str], ...]]:
    """A client, its channel and what each call says besides: to the emulator of FIRESTORE_EMULATOR_HOST, or to Google Cloud
    with the credentials of the environment. StoreFault when there are none."""
    transport = FirestoreGrpcAsyncIOTransport
    emulator = os.environ.get(EMULATOR, "")
    if emulator:
        channel = grpc.aio.insecure_channel(emulator, options=(*_OPTIONS, ("grpc.enable_http_proxy", 0)))
    else:
        try:
            channel = transport.create_channel(_HOST, scopes=transport.AUTH_SCOPES, options=_OPTIONS)
        except GoogleAuthError as error:
            raise StoreFault("unauthenticated", f"no credentials: {type(error).__name__}") from None
    return FirestoreAsyncClient(transport=transport(channel=channel)), channel, AS_OWNER if emulator else ()
