"""Cross-origin rules (requirement SEC-4)."""

from __future__ import annotations

from gateway_runtime.asgi import Handler, Request, Response, add_vary
from gateway_runtime.origins import OriginPolicy

METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
ALLOWED = b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Prefer, X-Request-Id, traceparent, tracestate"
EXPOSED = b"ETag, Idempotent-Replayed, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id"
VARY = (b"vary", b"Origin")
PREFLIGHT_VARY = (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")


class Cors:
    """Says which pages may read an answer. The browser enforces it; nothing is refused here.

    A page that may not read gets the ordinary answer without Access-Control-Allow-Origin: no error, and no line in the
    error log for every stranger's page (plan 1.8 throws, which is a 500). A preflight is answered here and never passed
    on.
    """

    def __init__(self, inner: Handler, policy: OriginPolicy, *, max_age: int) -> None:
        self._inner = inner
        self._policy = policy
        self._preflight = (
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", ALLOWED),
            (b"access-control-max-age", b"%d" % max_age),
        )

    async def __call__(self, request: Request) -> Response:
        origin = request.header(b"origin")
        allowed = origin is not None and self._policy.allows(origin.decode("latin-1"))
        if request.method == "OPTIONS" and origin is not None and request.header(b"access-control-request-method"):
            return Response(204, [PREFLIGHT_VARY, *((*_grant(origin), *self._preflight) if allowed else ())])
        response = await self._inner(request)
        add_vary(response, b"origin", VARY)
        if allowed and origin is not None:
            response.headers += (*_grant(origin), (b"access-control-expose-headers", EXPOSED))
        return response


def _grant(origin: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return (b"access-control-allow-origin", origin), (b"access-control-allow-credentials", b"true")
