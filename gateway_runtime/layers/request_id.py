"""Names every request, and finds the trace it belongs to."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable

from gateway_runtime.asgi import Handler, Request, Response

_ID = re.compile(rb"[A-Za-z0-9._~-]{1,128}")
_TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(?:-.*)?", re.DOTALL
)
_CLOUD = re.compile(rb"([0-9a-fA-F]{32})(?:/[0-9]{1,20})?(?:;o=([0-9]))?")


class RequestId:
    """Sets `request.id` and `request.trace`, and answers with X-Request-Id.

    A well-formed X-Request-Id of the caller is kept, so that its story and ours have one name. The trace is W3C
    `traceparent` first, then X-Cloud-Trace-Context; a request without either starts its own.
    """

    def __init__(self, inner: Handler) -> None:
        self._inner = inner

    def __call__(self, request: Request) -> Awaitable[Response]:
        given = request.header(b"x-request-id")
        found, request.trace_flags = trace_of(request)
        request.trace = found or f"{random.getrandbits(128) or 1:032x}"
        request.id = given.decode("ascii") if given and _ID.fullmatch(given) else request.trace
        request.answer_fields.append((b"x-request-id", request.id.encode("ascii")))
        return self._inner(request)


def trace_of(request: Request) -> tuple[str, str]:
    """The trace id (32 lower-case hex digits) and flags a request arrived with; an empty id when none is valid."""
    parent = request.header(b"traceparent")
    # Version 00 has exactly four fields (Trace Context 3.2.2); a later one may have more.
    if parent and (match := _TRACEPARENT.fullmatch(parent)) and (len(parent) == 55 or parent[:2] != b"00"):
        return match[1].decode("ascii"), match[2].decode("ascii")
    cloud = request.header(b"x-cloud-trace-context")
    if cloud and (match := _CLOUD.fullmatch(cloud)) and match[1].strip(b"0"):
        return match[1].decode("ascii").lower(), "01" if match[2] == b"1" else "00"
    return "", "00"
