"""Writes one line about every request, and decides which requests' lines are kept."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Any

from gateway_runtime.asgi import Handler, Request, Response
from gateway_runtime.logs import Log, quoted, sampled


class AccessLog:
    """One line per request, after its last byte (plan 1.9, requirement MON-1).

    Sampling is per request, decided from its trace, so that a story is kept or dropped whole and two services keep the
    same ones; what ended at 400 or above is always kept. Each line carries the rate, so that counts can be scaled up.
    No query values, no bodies, no fields of the request but its User-Agent.
    """

    def __init__(self, inner: Handler, log: Log, *, rate: float) -> None:
        self._inner = inner
        self._log = log
        self._rate = rate
        self._debug = log.wants("debug")

    def __call__(self, request: Request) -> Awaitable[Response]:
        request.kept = sampled(request.trace, self._rate)
        if self._debug:
            request.debug = []
        request.at_end.append(lambda: self._record(request))
        return self._inner(request)

    def _record(self, request: Request) -> None:
        failed = request.status >= 400 or request.error is not None
        if not (request.kept or failed):
            return
        for at, message, fields in request.debug or ():
            self._log.write("debug", message, at=at, requestId=request.id, trace=request.trace, **fields)
        path = request.raw_path.decode("latin-1")[:1024]
        level = "error" if request.status >= 500 or request.error else "warning" if failed else "info"
        message = f"{request.method} {path} {request.status}"
        latency = f"{time.monotonic() - request.started:.6f}s"
        agent = (request.header(b"user-agent") or b"")[:256].decode("latin-1")
        if self._log.json and request.problem is None:
            # The one line every request writes: put together as text, which takes a tenth of what encoding a dict does.
            text = (
                f'"httpRequest":{{"requestMethod":{quoted(request.method)},"requestUrl":{quoted(path)},'
                f'"status":{request.status},"latency":"{latency}","responseSize":"{request.sent}",'
                f'"userAgent":{quoted(agent)}}},"requestId":{quoted(request.id)},"sampleRate":{self._rate}'
            )
            if self._log.write_text(level, message, text, trace=request.trace):
                return
        http = {
            "requestMethod": request.method,
            "requestUrl": path,
            "status": request.status,
            "latency": latency,
            "responseSize": str(request.sent),
            "userAgent": agent,
        }
        refused: dict[str, Any] = {}
        if request.problem is not None:
            refused = {"code": request.problem.code, "reason": str(request.problem)[:512]}
            if request.problem.details:
                refused["details"] = request.problem.details
        self._log.write(
            level,
            message,
            httpRequest=http,
            requestId=request.id,
            sampleRate=self._rate,
            trace=request.trace,
            **refused,
        )
