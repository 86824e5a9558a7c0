"""GET /openapi.json: OpenAPI 3.1 of the routes which this process has, as ROUTES, WS and DIAGNOSTICS make them.

`openapi.json` beside the code describes every kind of route once. The paths of contacts stand there without what ROUTES
strips, and `/{rest}` is any other route to a service.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from copy import deepcopy
from importlib.resources import files
from typing import Any

from gateway_runtime.asgi import JSON, Handler, Request, Response
from gateway_runtime.stream.path import PATHS
from gateway_runtime.upstream.settings import RouteRow

OWN = ("/health", "/health/deep", "/metrics", "/openapi.json")
CONTACTS = "/contacts"
ANYWHERE = (400, 405, 408, 414, 417, 421, 431, 500, 501, 503, 505)
"""What the server itself may answer to any request (`gateway_runtime/server`): described once, and named everywhere."""
VERBS = ("get", "head", "post", "put", "patch", "delete")

Items = dict[str, Any]


def description(rows: Iterable[RouteRow], open_rows: Iterable[RouteRow], *, stream: bool) -> Handler:
    """The handler; `open_rows` are the routes that need no token. Made when it is first asked for."""
    made: list[bytes] = []

    async def handler(request: Request) -> Response:
        if not made:
            made.append(json.dumps(described(rows, open_rows, stream=stream)).encode())
        return Response(200, [(b"content-type", JSON), (b"cache-control", b"public, max-age=300")], made[0])

    return handler


def described(rows: Iterable[RouteRow], open_rows: Iterable[RouteRow], *, stream: bool) -> Items:
    """The whole document."""
    document: Items = json.loads(files("gateway_runtime").joinpath("openapi.json").read_text())
    kinds = document["paths"]
    paths: Items = {path: kinds[path] for path in OWN}
    if stream:
        paths |= {path: deepcopy(kinds[PATHS[0]]) for path in PATHS}
    for row in rows:
        paths |= _of(row, kinds)
    for row in open_rows:
        paths |= {path: _open(item) for path, item in _of(row, kinds).items()}
    _complete(paths)
    document["paths"] = paths
    return document


def _of(row: RouteRow, kinds: Items) -> Items:
    """The paths of one row of ROUTES. What the CRM has at `/contacts` is known; of the rest only where it goes."""
    if row.upstream == "crm" and row.kept == CONTACTS:
        return {f"{row.strip}{path}": deepcopy(item) for path, item in kinds.items() if path.startswith(CONTACTS)}
    item = deepcopy(kinds["/{rest}"])
    for verb in VERBS:
        item[verb] |= {"operationId": f"{row.upstream}_{verb}", "tags": [row.upstream]}
    return {f"{row.strip}{row.kept}/{{rest}}": item}


def _open(item: Items) -> Items:
    for verb in VERBS:
        item[verb]["security"] = []
    return item


def _complete(paths: Items) -> None:
    """Gives every operation the answers that any may have, and a name of its own."""
    seen: dict[str, int] = {}
    for item in paths.values():
        for verb in VERBS:
            if verb not in item:
                continue
            operation = item[verb]
            for status in ANYWHERE:
                operation["responses"].setdefault(str(status), {"$ref": f"#/components/responses/E{status}"})
            name = operation["operationId"]
            seen[name] = seen.get(name, 0) + 1
            if seen[name] > 1:
                operation["operationId"] = f"{name}_{seen[name]}"
