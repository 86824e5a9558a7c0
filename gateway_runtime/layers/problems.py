"""Turns exceptions into the standard error answer. A refusal is in the access line; a fault has a line of its own, and what
nobody foresaw has its stack in it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from gateway_runtime.asgi import JSON, Handler, Request, Response
from gateway_runtime.errors import ClientGone, Problem, forget, short_stack, stack_of
from gateway_runtime.logs import Log


class Problems:
    """Whatever the inner layers raise becomes an answer here, inside Cors, so that a browser can read it.

    `full` (ERROR_DETAIL=full) adds stack and details to the answer.
    """

    def __init__(self, inner: Handler, log: Log, *, full: bool) -> None:
        self._inner = inner
        self._log = log
        self._full = full

    async def __call__(self, request: Request) -> Response:
        try:
            return await self._inner(request)
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001  this is the place that turns every exception into an answer
            return self.answer(error, request)

    def answer(self, error: Exception, request: Request) -> Response:
        """The error answer to an exception, which is logged and has no traceback any more."""
        known = error if isinstance(error, Problem) else Problem("INTERNAL_ERROR")
        self.record(error, request, known)
        response = envelope(known, request.id, shown=error if self._full else None)
        forget(error)
        return response

    def record(self, error: Exception, request: Request, known: Problem | None = None) -> None:
        """A refusal (4xx) goes into the request's access line. Anything else is ours or an upstream's fault: a line of its
        own at ERROR, with details.

        The stack is for what nobody foresaw. A Problem was raised on purpose, by a line that gave its reason, and there is
        one for every request while an upstream is down: its stack would be kilobytes of what the reason says in a word.
        """
        if known is not None and known.status < 500:
            request.problem = known
            return
        details: dict[str, Any] = {}
        stack: dict[str, Any] = {}
        if isinstance(error, Problem):
            details = error.details
        else:
            stack["stack_trace"] = short_stack(error)
        said = ": ".join(str(details[key]) for key in ("upstream", "reason") if key in details)
        self._log.write(
            "error",
            f"{known.code if known else 'ANSWER_CUT_SHORT'}: {said or error}",
            trace=request.trace,
            requestId=request.id,
            requestMethod=request.method,
            path=request.raw_path.decode("latin-1"),
            details=details,
            **stack,
        )


def envelope(problem: Problem, request_id: str, *, shown: Exception | None = None) -> Response:
    """The answer to a problem; `shown` is the exception whose stack and details go with it (ERROR_DETAIL=full)."""
    error: dict[str, Any] = {
        "code": problem.code,
        "message": problem.message,
        "requestId": request_id,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if shown is not None:
        error["stack"] = stack_of(shown)
        error["details"] = {"type": type(shown).__name__, "error": str(shown), **problem.details}
    body = json.dumps({"error": error, **problem.beside}, default=str).encode()
    return Response(problem.status, [(b"content-type", JSON), (b"cache-control", b"no-store"), *problem.headers], body)
