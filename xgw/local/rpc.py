"""gRPC without generated servicers: a method is a name, two message classes and a coroutine function.

The wheels of Google's clients carry messages but no service descriptors, so each API module lists its methods in a
table. A Refusal becomes its status; anything else that escapes becomes INTERNAL with a sentence, never a hang.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc

from xgw.local.messages import Message
from xgw.local.refusal import Refusal, invalid

log = logging.getLogger(__name__)
Answer = Callable[[Message], Awaitable[Message]]


@dataclass(frozen=True)
class Method:
    """One unary RPC."""

    request: Any
    response: Any
    answer: Answer


def generic_handler(service: str, methods: Mapping[str, Method]) -> Any:
    """The handler grpc takes for one service; methods that are not listed answer UNIMPLEMENTED."""
    return grpc.method_handlers_generic_handler(
        service,
        {
            name: grpc.unary_unary_rpc_method_handler(
                _guarded(f"{service}/{name}", method.answer),
                request_deserializer=method.request.FromString,
                response_serializer=method.response.SerializeToString,
            )
            for name, method in methods.items()
        },
    )


def _guarded(name: str, answer: Answer) -> Callable[[Message, Any], Awaitable[Message]]:
    async def handle(request: Message, context: Any) -> Message:
        try:
            return await answer(request)
        except Refusal as refusal:
            await context.abort(grpc.StatusCode[refusal.code], refusal.message)
        except Exception as error:
            log.exception("%s", name)
            await context.abort(grpc.StatusCode.INTERNAL, f"Internal error: {type(error).__name__}: {error}")

    return handle


def page_token(position: str) -> str:
    """An opaque token for a place in a list."""
    return base64.urlsafe_b64encode(position.encode()).decode()


def page_position(token: str) -> str:
    """The place back from its token; empty for no token."""
    try:
        return base64.urlsafe_b64decode(token.encode()).decode()
    except (binascii.Error, ValueError):
        invalid(f"page_token: {token!r} was not given out by this server.")


def page_number(token: str) -> int:
    """The same for lists numbered from 1; 0 for no token."""
    position = page_position(token)
    if not token:
        return 0
    if not position.isdecimal():
        invalid(f"page_token: {token!r} was not given out by this server.")
    return int(position)


def page_limit(size: int, *, default: int = 100, most: int = 1000) -> int:
    """How many items to answer with; negative sizes are refused, larger ones cut (AIP-158)."""
    if size < 0:
        invalid(f"page_size: {size} must not be negative.")
    return min(size or default, most)
