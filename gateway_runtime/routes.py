"""The route table: data, and the one function that looks a request up in it.

A pattern is a canonical path. `{name}` stands for one segment; a last segment `*` for any number of them, none
included. The most exact pattern wins: whole paths before placeholders before `*`, and among those the longest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass

from gateway_runtime.asgi import Handler, Request, Response
from gateway_runtime.errors import Problem

READ = ("GET", "HEAD")
ANY = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
REMEMBERED, SHORT = 1024, 256
"""Paths whose routes are remembered, and their greatest length: a table is read slower than a name is looked up."""
KNOWN = frozenset((*ANY, "OPTIONS"))


@dataclass(frozen=True)
class Route:
    """One row: which methods of which path go where. Without `public` the caller must have shown a valid token."""

    methods: tuple[str, ...]
    pattern: str
    handler: Handler
    public: bool = False


class Router:
    """The innermost layer: finds the route of a request and calls it. 404, 405 with Allow, and 501 are raised."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._exact: dict[str, list[Route]] = {}
        shaped: dict[tuple[str, ...], list[Route]] = {}
        for route in routes:
            if route.pattern.endswith("/*") or "{" in route.pattern:
                shaped.setdefault(tuple(route.pattern.split("/")), []).append(route)
            else:
                self._exact.setdefault(route.pattern, []).append(route)
        self._known: dict[str, tuple[list[Route], dict[str, str]]] = {}
        self._shaped = sorted(shaped.items(), key=_exactness)

    def find(self, request: Request) -> Sequence[Route]:
        """The routes of the request's path, whatever its method; kept in the request. Problem: no path, no such method."""
        if request.routes is None:
            path = request.path
            if request.method not in KNOWN:
                raise Problem("NOT_IMPLEMENTED", method=request.method)
            request.routes = self._exact.get(path) or self._shape(path, request.params)
        return request.routes

    def is_public(self, request: Request) -> bool:
        """Whether the request needs no token. A path that is not there needs one: strangers learn no inventory."""
        routes = self.find(request)
        for route in routes:
            if request.method in route.methods:
                return route.public
        return any(route.public for route in routes)  # it will be 405, with Allow

    def __call__(self, request: Request) -> Awaitable[Response]:
        routes = self.find(request)
        if not routes:
            raise Problem("NOT_FOUND")
        for route in routes:
            if request.method in route.methods:
                if request.debug is not None:
                    request.note("route matched", pattern=route.pattern)
                return route.handler(request)
        allow = ", ".join(sorted({method for route in routes for method in route.methods}))
        raise Problem("METHOD_NOT_ALLOWED", headers=[(b"allow", allow.encode("ascii"))])

    def _shape(self, path: str, params: dict[str, str]) -> list[Route]:
        known = self._known.get(path)
        if known is None:
            known = self._match(path)
            if len(path) <= SHORT:
                if len(self._known) >= REMEMBERED:
                    self._known.clear()
                self._known[path] = known
        routes, found = known
        params.update(found)
        return routes

    def _match(self, path: str) -> tuple[list[Route], dict[str, str]]:
        parts = path.split("/")
        for shape, routes in self._shaped:
            found = _fit(shape, parts)
            if found is not None:
                return routes, found
        return [], {}


def _exactness(row: tuple[tuple[str, ...], list[Route]]) -> tuple[bool, int, int]:
    shape = row[0]
    return shape[-1] == "*", -len(shape), sum(part.startswith("{") for part in shape)


def _fit(shape: tuple[str, ...], parts: list[str]) -> dict[str, str] | None:
    """What the placeholders stand for when the path has this shape, else None."""
    fixed = shape[:-1] if shape[-1] == "*" else shape
    if len(parts) < len(fixed) or (fixed is shape and len(parts) != len(shape)):
        return None
    found = {}
    for want, part in zip(fixed, parts, strict=False):
        if want.startswith("{"):
            if not part:
                return None
            found[want[1:-1]] = part
        elif want != part:
            return None
    return found
