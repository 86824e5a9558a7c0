"""The CRM engine: contacts over HTTP."""

from __future__ import annotations

import json
import secrets
import time
from urllib.parse import parse_qsl

from gateway_runtime.app import Role
from gateway_runtime.asgi import JSON, Request, Response
from gateway_runtime.contacts.model import STATUSES, TYPES, InvalidContact, accept, shown
from gateway_runtime.contacts.store import ContactStore, Exists
from gateway_runtime.contacts.stores import store_of
from gateway_runtime.errors import Problem
from gateway_runtime.layers.auth import who
from gateway_runtime.roles.gateway import live
from gateway_runtime.routes import READ, Route
from gateway_runtime.settings import Settings

DEFAULT_LIMIT, HIGHEST_LIMIT = 50, 100
"""Contacts on a page (plan 1.4)."""


def crm(settings: Settings) -> Role:
    """The role `crm`: the contacts of all tenants in one file, each shown to its own."""
    store = store_of(settings.contacts_store)
    contacts = Contacts(store)
    return Role(
        routes=(
            Route(READ, "/health", live, public=True),
            Route(READ, "/contacts", contacts.page),
            Route(("POST",), "/contacts", contacts.add),
            Route(READ, "/contacts/{id}", contacts.get),
        ),
        start=store.open,
        stop=store.close,
    )


class Contacts:
    """The handlers. The tenant is the one in the token that this very process has verified, whoever passed it on.

    Another tenant's contact is not forbidden but not there: the answer does not tell whether it exists.
    """

    def __init__(self, store: ContactStore) -> None:
        self._store = store

    async def page(self, request: Request) -> Response:
        """GET /contacts?limit=&status=&type="""
        wish = _query(request)
        page = await self._store.page(
            who(request).tenant,
            limit=_limit(wish.get("limit")),
            status=_choice(wish, "status", STATUSES),
            type=_choice(wish, "type", TYPES),
        )
        return _answer(200, {"items": [shown(contact) for contact in page.items], "hasMore": page.has_more})

    async def get(self, request: Request) -> Response:
        """GET /contacts/{id}"""
        contact = await self._store.get(who(request).tenant, request.params["id"])
        if contact is None:
            raise Problem("NOT_FOUND", "There is no such contact")
        return _answer(200, shown(contact))

    async def add(self, request: Request) -> Response:
        """POST /contacts; the id follows from the address, so that the same contact cannot be made twice."""
        tenant = who(request).tenant
        data = await _read(request)
        now, by = time.time_ns() // 1000, who(request).user
        try:
            made = accept(data, tenant=tenant, now=now, by=by, mark=secrets.token_hex(8))
            await self._store.add(tenant, [made])
        except InvalidContact as fault:
            raise Problem("VALIDATION_FAILED", str(fault)) from None
        except Exists:
            raise Problem("CONFLICT", "A contact with this address exists") from None
        answer = _answer(201, shown(made))
        answer.headers.append((b"location", b"/contacts/" + made.id.encode("ascii")))
        return answer


def _query(request: Request) -> dict[str, str]:
    try:
        pairs = parse_qsl(request.query.decode("ascii"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise Problem("VALIDATION_FAILED", "The query has too many parts") from None
    wish = dict(pairs)
    if len(wish) != len(pairs) or wish.keys() - {"limit", "status", "type"}:
        raise Problem("VALIDATION_FAILED", "The query may hold limit, status and type, once each")
    return wish


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= HIGHEST_LIMIT):
        raise Problem("VALIDATION_FAILED", f"limit must be a whole number from 1 to {HIGHEST_LIMIT}")
    return int(text)


def _choice(wish: dict[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = wish.get(name, "")
    if name in wish and value not in allowed:
        raise Problem("VALIDATION_FAILED", f"{name} must be one of {', '.join(allowed)}")
    return value


async def _read(request: Request) -> object:
    kind = (request.header(b"content-type") or b"").split(b";")[0].strip().lower()
    if kind != JSON:
        raise Problem("UNSUPPORTED_MEDIA_TYPE")
    try:
        return json.loads((await request.body()).decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise Problem("BAD_REQUEST", "The body is not JSON in UTF-8") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _answer(status: int, data: object) -> Response:
    return Response(status, [(b"content-type", JSON)], json.dumps(data, separators=(",", ":")).encode())
