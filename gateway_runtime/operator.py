"""Who may look inside: numbers and details that are nobody else's business."""

from __future__ import annotations

import hmac

from gateway_runtime.asgi import Request
from gateway_runtime.errors import Problem


class Operator:
    """Whoever sends OPERATOR_TOKEN. Without such a token configured there is no operator, and nothing to see."""

    def __init__(self, token: str) -> None:
        self._token = token.encode("ascii")

    def is_here(self, request: Request) -> bool:
        """Whether the request shows the token; compared in constant time."""
        scheme, _, shown = (request.header(b"authorization") or b"").partition(b" ")
        return bool(self._token) and scheme.lower() == b"bearer" and hmac.compare_digest(shown.strip(), self._token)

    def require(self, request: Request) -> None:
        """Problem: 404 when there is no operator at all, 401 when this is not the one."""
        if not self._token:
            raise Problem("NOT_FOUND")
        if not self.is_here(request):
            raise Problem("UNAUTHENTICATED", headers=((b"www-authenticate", b'Bearer realm="operator"'),))
