"""The application as `build` makes it, driven over ASGI, when one of its own layers breaks; and what a page may then read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway_runtime.app import build
from gateway_runtime.asgi import Edge
from gateway_runtime.errors import CODES
from gateway_runtime.layers.access_log import AccessLog
from gateway_runtime.layers.auth import Auth
from gateway_runtime.layers.cors import Cors
from gateway_runtime.layers.request_id import RequestId
from gateway_runtime.logs import Log
from gateway_runtime.settings import read
from tests.helpers import tokens
from tests.helpers.gateway_request import raises

PAGE = b"https://app.example"
SAID = "broken at 10.0.0.3 in /srv/secret.py"


@dataclass
class Said:
    """One answer, and every line that was logged."""

    status: int
    fields: dict[str, str]
    body: bytes
    lines: list[dict[str, Any]]


def ask(
    folder: Path, path: str, *headers: tuple[bytes, bytes], times: int = 1, breaks: type | None = None, **env: str
) -> Said:
    """The last of `times` answers of an application; the layer inside of `breaks` raises."""
    with (folder / "log").open("wb") as sink:
        log = Log(fd=sink.fileno())
        edge = build(read({**tokens.settings(), "CORS_ALLOWED_ORIGINS": PAGE.decode(), **env}), log)
        if breaks is not None:
            layer_of(edge, breaks)._inner = raises(RuntimeError(SAID))
        status, fields, body = asyncio.run(asked(edge, path, headers, times))
        log.close()
    lines = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    return Said(status, fields, body, lines)


def layer_of(edge: Edge, kind: type) -> Any:
    layer: Any = edge._handler
    while not isinstance(layer, kind):
        layer = layer._inner
    return layer


async def asked(
    edge: Edge, path: str, headers: tuple[tuple[bytes, bytes], ...], times: int
) -> tuple[int, dict[str, str], bytes]:
    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "raw_path": path.encode(), "query_string": b"", "scheme": "http",
        "headers": list(headers), "client": ("192.0.2.1", 1),
    }  # fmt: skip
    for _ in range(times):
        sent.clear()
        await edge(dict(scope), receive, send)
    fields = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], fields, b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize("outer", [RequestId, AccessLog, Cors])
def test_a_layer_outside_of_problems_that_breaks_is_a_500_in_the_standard_body(outer: type, tmp_path: Path) -> None:
    found = ask(tmp_path, "/health", (b"x-request-id", b"story-1"), breaks=outer)
    assert (found.status, found.fields["content-type"]) == (500, "application/json")
    error = json.loads(found.body)["error"]
    assert error.keys() == {"code", "message", "requestId", "timestamp"}
    assert (error["code"], error["message"]) == ("INTERNAL_ERROR", CODES["INTERNAL_ERROR"][1])
    assert error["requestId"] == found.fields["x-request-id"] == "story-1"
    for word in (b"Traceback", b"RuntimeError", b"10.0.0.3", b"secret", b"gateway_runtime"):
        assert word not in found.body


@pytest.mark.parametrize("outer", [RequestId, AccessLog, Cors])
def test_the_break_is_in_the_log_once_with_its_stack(outer: type, tmp_path: Path) -> None:
    found = ask(tmp_path, "/health", (b"x-request-id", b"story-1"), breaks=outer)
    told = [line for line in found.lines if "stack_trace" in line]
    assert [(line["severity"], line["message"]) for line in told] == [("ERROR", f"INTERNAL_ERROR: {SAID}")]
    assert told[0]["requestId"] == "story-1"
    assert told[0]["stack_trace"].endswith(f"RuntimeError: {SAID}\n")
    lines_of_access = [line for line in found.lines if line["message"] == "GET /health 500"]
    assert len(lines_of_access) == (outer is not RequestId)  # who breaks in place of the access log writes no such line


@pytest.mark.parametrize(
    ("status", "path", "more"),
    [
        (401, "/api/v2/slack/x", {}),
        (404, "/metrics", {}),
        (429, "/health/deep", {"times": 3, "RATE_LIMIT_ADDRESS": "1/600"}),
        (500, "/health", {"breaks": Auth}),
        (503, "/api/v2/slack/x", {"token": True}),
    ],
)
def test_an_allowed_page_can_read_every_refusal_and_a_strangers_cannot(
    status: int, path: str, more: dict[str, Any], tmp_path: Path
) -> None:
    shown = [(b"authorization", tokens.bearer().partition(": ")[2].encode())] if more.pop("token", False) else []
    found = ask(tmp_path, path, (b"origin", PAGE), *shown, **more)
    assert found.status == status
    assert found.fields["access-control-allow-origin"] == PAGE.decode()
    assert {"Retry-After", "X-Request-Id"} <= set(found.fields["access-control-expose-headers"].split(", "))
    assert "Origin" in found.fields["vary"]
    stranger = ask(tmp_path, path, (b"origin", b"https://evil.example"), *shown, **more)
    assert (stranger.status, "Origin" in stranger.fields["vary"]) == (status, True)
    assert not [name for name in stranger.fields if name.startswith("access-control-")]
