"""The description and the routes of a process say the same, whatever its settings made of the routes."""

from __future__ import annotations

import asyncio
import json
import re
from functools import cache
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway_runtime.app import role_of
from gateway_runtime.errors import CODES
from gateway_runtime.logs import Log
from gateway_runtime.metrics import Metrics
from gateway_runtime.rate.configured import Redis
from gateway_runtime.routes import Route
from gateway_runtime.settings import read
from gateway_runtime.stream.path import PATHS
from gateway_runtime.stream.stream import Stream
from tests.helpers.gateway_request import request

VERBS = {"get", "head", "post", "put", "patch", "delete"}
PROCESSES = {
    "default": {},
    "everything on": {"DIAGNOSTICS": "on", "WS": "on"},
    "no stream": {"WS": "off"},
    "other routes": {"ROUTES": "crm:/v9:/contacts@5,crm:/raw,slack:/a,slack:/b:/c,gmail:/d", "DIAGNOSTICS": "on"},
    "two of contacts": {"ROUTES": "crm:/old:/contacts,crm:/new:/contacts"},
}


@cache
def routes(process: str) -> tuple[Route, ...]:
    """The routes of a gateway with these settings, the stream's included."""
    settings, metrics = read(PROCESSES[process]), Metrics()
    log = Log()
    shared = Redis(settings, log, metrics).shared
    stream = Stream(settings, log, metrics, shared, None) if settings.ws == "on" else None
    return role_of(settings, metrics, {}, stream).routes


@cache
def described(process: str) -> Any:
    """What its /openapi.json says."""
    handler = next(route.handler for route in routes(process) if route.pattern == "/openapi.json")
    answer = asyncio.run(handler(request("GET", b"/openapi.json")))
    assert isinstance(answer.body, bytes)
    return json.loads(answer.body)


def rows(process: str) -> dict[str, set[str]]:
    """Pattern -> methods."""
    found: dict[str, set[str]] = {}
    for route in routes(process):
        found.setdefault(route.pattern, set()).update(method.lower() for method in route.methods)
    return found


def pattern_of(path: str, process: str) -> str:
    """The route that serves a described path: its own, or the longest `*` above it."""
    table = rows(process)
    if path in table:
        return path
    fitting = [pattern for pattern in table if pattern.endswith("/*") and f"{path}/".startswith(pattern[:-1])]
    return max(fitting, key=len)


def operations(process: str) -> list[tuple[str, str, Any]]:
    return [(p, verb, item[verb]) for p, item in described(process)["paths"].items() for verb in VERBS & set(item)]


@pytest.fixture(params=PROCESSES)
def process(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("process", ["everything on", "other routes"])  # between them every kind of path there is
def test_the_description_is_valid_openapi(process: str) -> None:
    assert [str(error) for error in OpenAPIV31SpecValidator(described(process)).iter_errors()] == []


def test_every_route_is_described_and_nothing_else(process: str) -> None:
    assert {pattern_of(path, process) for path in described(process)["paths"]} == set(rows(process))


def test_a_described_method_is_a_routed_method(process: str) -> None:
    for path, item in described(process)["paths"].items():
        found, allowed = VERBS & set(item), rows(process)[pattern_of(path, process)]
        assert found <= allowed, path
        assert "get" in found or path.endswith("/batch"), path
        if path in rows(process) or "{rest}" in path:
            assert found == allowed, path


def test_public_in_the_description_is_public_in_the_table(process: str) -> None:
    public = {route.pattern for route in routes(process) if route.public}
    for path, verb, operation in operations(process):
        guarded = operation.get("security", described(process)["security"]) == [{"bearer": []}]
        assert guarded is (pattern_of(path, process) not in public), (path, verb)


def test_the_stream_is_described_by_default_and_not_when_it_is_off() -> None:
    assert set(PATHS) <= set(described("default")["paths"])
    assert not set(PATHS) & set(described("no stream")["paths"])


def test_operations_have_names_of_their_own_and_only_known_tags(process: str) -> None:
    names = [operation["operationId"] for _, _, operation in operations(process)]
    assert len(set(names)) == len(names)
    tags = {tag["name"] for tag in described(process)["tags"]}
    assert {tag for _, _, operation in operations(process) for tag in operation["tags"]} <= tags


def test_the_names_of_operations_stay_what_clients_were_generated_with() -> None:
    names = {operation["operationId"] for _, _, operation in operations("default")}
    assert {"health", "contacts_page", "contacts_add", "contact_change", "slack_get", "gmail_delete"} <= names


def test_placeholders_are_parameters_and_references_lead_somewhere(process: str) -> None:
    document = described(process)
    for path, item in document["paths"].items():
        given = {p["name"] for p in item.get("parameters", ()) if p.get("in") == "path"}
        assert set(re.findall(r"\{(\w+)\}", path)) == given
    for ref in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)):
        node = document
        for part in ref.split("/"):
            node = node[part]


def test_described_errors_are_the_errors_we_have() -> None:
    responses = described("default")["components"]["responses"]
    assert {int(name[1:4]) for name in responses} == {status for status, _ in CODES.values()}
