"""Requests and endings for the layers, without a server: real handlers, nothing replaced."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gateway_runtime.asgi import Request, Response


def request(
    method: str = "GET",
    raw_path: bytes = b"/",
    *,
    query: bytes = b"",
    headers: tuple[tuple[bytes, bytes], ...] = (),
    body: bytes = b"",
) -> Request:
    """A request as the server would hand it over."""

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {"method": method, "raw_path": raw_path, "query_string": query, "headers": headers, "scheme": "http"}
    return Request({**scope, "client": ("192.0.2.1", 1)}, receive)


def answers(status: int = 200, *headers: tuple[bytes, bytes]) -> Callable[[Request], Awaitable[Response]]:
    """A handler that always answers this."""

    async def handler(_: Request) -> Response:
        return Response(status, headers, b"{}")

    return handler


def raises(error: BaseException) -> Callable[[Request], Awaitable[Response]]:
    """A handler that always fails with this."""

    async def handler(_: Request) -> Response:
        raise error

    return handler
