from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_runtime.asgi import Handler, Request, Response
from gateway_runtime.errors import Problem
from gateway_runtime.paths import canonical_path
from gateway_runtime.routes import ANY, READ, Route, Router
from tests.helpers.gateway_request import request


def named(name: str) -> Handler:
    async def handler(asked: Request) -> Response:
        return Response(200, [(b"route", name.encode())], repr(asked.params).encode())

    return handler


ROUTER = Router(
    [
        Route(ANY, "/api/*", named("api")),
        Route(ANY, "/api/crm/contacts/*", named("contacts")),
        Route(READ, "/health", named("health")),
        Route(READ, "/contacts", named("list")),
        Route(("POST",), "/contacts", named("add")),
        Route(READ, "/contacts/{id}", named("one")),
        Route(READ, "/contacts/{id}/notes", named("notes")),
    ]
)


def routed(method: str, path: bytes) -> tuple[bytes, bytes]:
    response = asyncio.run(ROUTER(request(method, path)))
    assert isinstance(response.body, bytes)
    return response.header(b"route") or b"", response.body


@pytest.mark.parametrize(
    ("method", "path", "name", "params"),
    [
        ("GET", b"/health", b"health", b"{}"),
        ("HEAD", b"/health", b"health", b"{}"),
        ("GET", b"/contacts", b"list", b"{}"),
        ("POST", b"/contacts", b"add", b"{}"),
        ("GET", b"/contacts/7", b"one", b"{'id': '7'}"),
        ("GET", b"/contacts/7/notes", b"notes", b"{'id': '7'}"),
        ("GET", b"/api", b"api", b"{}"),
        ("DELETE", b"/api/a/b", b"api", b"{}"),
        ("GET", b"/api/crm/contacts", b"contacts", b"{}"),
        ("GET", b"/api/crm/contacts/9", b"contacts", b"{}"),
        ("GET", b"/api/crm/contactsx", b"api", b"{}"),
        ("GET", b"/%68ealth", b"health", b"{}"),
    ],
)
def test_the_most_exact_pattern_wins(method: str, path: bytes, name: bytes, params: bytes) -> None:
    assert routed(method, path) == (name, params)


@pytest.mark.parametrize(
    "path", [b"/", b"/Health", b"/health/", b"/health.", b"/apix", b"/contacts/", b"/contacts/7/other", b"/%41pi"]
)
def test_an_unknown_path_is_not_found(path: bytes) -> None:
    with pytest.raises(Problem) as caught:
        routed("GET", path)
    assert caught.value.code == "NOT_FOUND"


def test_a_known_path_with_another_method_says_which_are_allowed() -> None:
    with pytest.raises(Problem) as caught:
        routed("DELETE", b"/contacts")
    assert caught.value.code == "METHOD_NOT_ALLOWED"
    assert caught.value.headers == [(b"allow", b"GET, HEAD, POST")]


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "get", "PROPFIND"])
def test_a_method_nobody_here_knows_is_not_implemented(method: str) -> None:
    with pytest.raises(Problem) as caught:
        routed(method, b"/health")
    assert caught.value.code == "NOT_IMPLEMENTED"


PIECES = st.sampled_from([b"/", b"api", b"contacts", b"health", b"crm", b"%61pi", b"%2e", b"..", b"x", b"%20", b";"])


@given(st.lists(PIECES, max_size=8).map(b"".join))
def test_a_path_and_its_canonical_spelling_are_routed_alike(tail: bytes) -> None:
    def outcome(raw: bytes) -> object:
        try:
            return routed("GET", raw)
        except Problem as problem:
            return problem.code

    try:
        canonical = canonical_path(b"/" + tail)
    except Problem:
        assert outcome(b"/" + tail) == "BAD_REQUEST"
        return
    assert outcome(b"/" + tail) == outcome(canonical.encode("ascii"))
