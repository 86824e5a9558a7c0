"""Counts every request: how many, how they ended, how long they took, how many there are now."""

from __future__ import annotations

import time
from collections.abc import Awaitable

from gateway_runtime.asgi import Handler, Request, Response
from gateway_runtime.metrics import Metrics

_CLASSES = ("", "1xx", "2xx", "3xx", "4xx", "5xx")
NO_ROUTE = "none"
"""The route of a request that reached none: refused by a layer, or unknown."""


class Measure:
    """The outermost layer. A request counts when its answer has gone out or been given up (499: the client left)."""

    def __init__(self, inner: Handler, metrics: Metrics) -> None:
        self._inner = inner
        self._requests = metrics.counter("gateway_requests_total", "Requests that ended.", "route", "status")
        self._seconds = metrics.histogram(
            "gateway_request_seconds", "From a request's head to its answer's last byte.", "route"
        )
        self._in_flight = 0
        metrics.gauge("gateway_requests_in_flight", "Requests under way.", read=lambda: [((), self._in_flight)])

    def __call__(self, request: Request) -> Awaitable[Response]:
        self._in_flight += 1
        request.at_end.append(lambda: self._ended(request))
        return self._inner(request)

    def _ended(self, request: Request) -> None:
        self._in_flight -= 1
        route = request.routes[0].pattern if request.routes else NO_ROUTE
        status = request.status
        self._requests.add(route, "499" if status == 499 else _CLASSES[status // 100])
        self._seconds.observe(time.monotonic() - request.started, route)
