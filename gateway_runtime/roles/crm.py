"""The CRM engine: contacts over HTTP (plan 1.4, 3.2)."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import time
from dataclasses import replace

from gateway_runtime.app import Role
from gateway_runtime.asgi import JSON, Handler, Request, Response
from gateway_runtime.auth.identity import Identity
from gateway_runtime.contacts import wire
from gateway_runtime.contacts.addresses import address_key
from gateway_runtime.contacts.batch import exist, rows_of
from gateway_runtime.contacts.checks import rfc3339
from gateway_runtime.contacts.cursor import Cursors
from gateway_runtime.contacts.idempotency import REPLAYED, Idempotency
from gateway_runtime.contacts.model import ID, Contact, InvalidContact, accept, edit, id_for, shown
from gateway_runtime.contacts.store import Changed, ContactStore, Exists, Receipt, StoreFault, TooLarge
from gateway_runtime.contacts.stores import store_of
from gateway_runtime.errors import Problem, Shed
from gateway_runtime.layers.auth import who
from gateway_runtime.roles.gateway import live
from gateway_runtime.routes import READ, Route
from gateway_runtime.settings import Settings
from gateway_runtime.upstream.connection import ANSWER_LIMIT

CHANGE_SECONDS = 5.0
"""How long a change without a condition is made anew because another one came first."""
PAUSE_SECONDS, LONGEST_PAUSE = 0.01, 0.25
"""Between two rounds: a random part of the first, doubled each time, up to the second. Else those who met meet again."""
ACCEPT_PATCH = (b"accept-patch", wire.MERGE_PATCH + b", " + JSON)


def crm(settings: Settings) -> Role:
    """The role `crm`: the contacts of all tenants in one store, each shown to its own."""
    store = store_of(settings.contacts_store)
    contacts = Contacts(
        store,
        Cursors(settings.contacts_cursor_key, settings.contacts_store),
        wire.Limits.of(settings.contacts_page_default, settings.contacts_page_max),
    )
    rows: tuple[tuple[tuple[str, ...], str, Handler], ...] = (
        (READ, "/contacts", contacts.page),
        (("POST",), "/contacts", contacts.add),
        (READ, "/contacts/count", contacts.count),
        *([(("POST",), "/contacts/batch", contacts.batch)] if settings.contacts_batch == "on" else []),
        (READ, "/contacts/{id}", contacts.get),
        (("PATCH",), "/contacts/{id}", contacts.change),
        (("DELETE",), "/contacts/{id}", contacts.remove),
    )
    return Role(
        routes=(
            Route(READ, "/health", live, public=True),
            *(Route(methods, pattern, _told(handler)) for methods, pattern, handler in rows),
        ),
        start=store.open,
        stop=store.close,
    )


class Contacts:
    """The handlers. The tenant is the one in the token that this very process has verified, whoever passed it on.

    Another tenant's contact is not forbidden but not there: the answer does not tell whether it exists.
    """

    def __init__(self, store: ContactStore, cursors: Cursors, limits: wire.Limits) -> None:
        self._store, self._cursors, self._limits = store, cursors, limits
        self._idempotency = Idempotency(store)

    async def page(self, request: Request) -> Response:
        """GET /contacts?limit=&status=&type=&cursor=&count="""
        tenant = who(request).tenant
        wish = wire.list_wish(request, self._limits)
        after = self._cursors.read(tenant, wish.status, wish.type, wish.cursor) if wish.cursor else ""
        page = await self._store.page(tenant, limit=wish.limit, status=wish.status, type=wish.type, after=after)
        told: dict[str, object] = {"items": [shown(contact) for contact in page.items], "hasMore": page.has_more}
        if page.has_more:
            told["nextCursor"] = self._cursors.make(tenant, wish.status, wish.type, page.items[-1].id)
        if wish.counted:
            told["total"] = await self._store.count(tenant, status=wish.status, type=wish.type)
        return wire.answer(200, wire.encoded(told))

    async def count(self, request: Request) -> Response:
        """GET /contacts/count?status=&type="""
        status, type = wire.count_wish(request)
        return wire.answer(
            200, wire.encoded({"count": await self._store.count(who(request).tenant, status=status, type=type)})
        )

    async def get(self, request: Request) -> Response:
        """GET /contacts/{id}; 304 to who has that version."""
        wire.no_query(request)
        contact = await self._found(request)
        known = wire.tags(request, b"if-none-match")
        if known is not None and known & {contact.version, "*"}:
            return Response(304, [wire.etag(contact.version)])
        return wire.answer(200, wire.encoded(shown(contact)), wire.etag(contact.version))

    async def add(self, request: Request) -> Response:
        """POST /contacts; the id follows from the address, so that the same contact cannot be made twice."""
        wire.no_query(request)
        identity = who(request)
        body = await wire.raw_body(request, JSON)

        async def make(now: int, receipt: Receipt | None) -> Receipt:
            try:
                made = accept(
                    wire.parsed(body), tenant=identity.tenant, now=now, by=identity.user, mark=secrets.token_hex(8)
                )
            except InvalidContact as fault:
                raise _invalid(fault) from None
            done = replace(receipt or _NO_KEY, status=201, body=wire.encoded(shown(made)))
            try:
                await self._store.add(identity.tenant, [made], receipt=done if receipt else None)
            except Exists:
                raise Problem("CONFLICT", "A contact with this address exists", beside={"id": made.id}) from None
            return done

        receipt, replayed = await self._idempotency.once(request, identity.tenant, body, make)
        where = (b"location", b"/contacts/" + json.loads(receipt.body)["id"].encode("ascii"))
        return wire.answer(receipt.status, receipt.body, where, *((REPLAYED,) if replayed else ()))

    async def batch(self, request: Request) -> Response:
        """POST /contacts/batch: all of them in one commit, or none. `Prefer: return=representation` shows them whole."""
        wire.no_query(request)
        identity = who(request)
        body = await wire.raw_body(request, JSON)

        async def make(now: int, receipt: Receipt | None) -> Receipt:
            contacts = await self._rows(identity, body, now, identity.user)
            told = {"created": len(contacts), "ids": [contact.id for contact in contacts]}
            told |= {"createdAt": rfc3339(now), "createdBy": identity.user}
            done = replace(receipt or _NO_KEY, status=201, body=wire.encoded(told), made_at=now)
            try:
                await self._store.add(identity.tenant, contacts, receipt=done if receipt else None)
            except Exists as found:
                raise exist(contacts, found.ids) from None
            except TooLarge:
                raise Problem("PAYLOAD_TOO_LARGE", "These contacts do not fit into one commit; send fewer") from None
            return done

        receipt, replayed = await self._idempotency.once(request, identity.tenant, body, make)
        more = [REPLAYED] if replayed else []
        if _wants_all(request):
            told = json.loads(receipt.body)
            rows = await self._rows(identity, body, receipt.made_at, told["createdBy"])
            made = [replace(contact, id=id) for contact, id in zip(rows, told["ids"], strict=True)]
            whole = wire.encoded({"created": told["created"], "contacts": [shown(contact) for contact in made]})
            if len(whole) <= ANSWER_LIMIT:  # else a gateway would make a fault of what was stored
                more.append((b"preference-applied", b"return=representation"))
                return wire.answer(receipt.status, whole, *more)
        return wire.answer(receipt.status, receipt.body, *more)

    async def change(self, request: Request) -> Response:
        """PATCH /contacts/{id}: a merge patch (RFC 7396); with If-Match only of that version."""
        wire.no_query(request)
        body = await wire.raw_body(request, wire.MERGE_PATCH, JSON)
        patch = wire.parsed(body)
        began, pause = time.monotonic(), PAUSE_SECONDS
        while True:
            before = await self._found(request)
            _condition(request, before)
            try:
                after = edit(before, patch, now=time.time_ns() // 1000, mark=secrets.token_hex(8))
            except InvalidContact as fault:
                raise _invalid(fault) from None
            if wire.encoded(shown(replace(after, updated_at=before.updated_at))) != wire.encoded(shown(before)):
                await self._free(request, before, after)
                try:
                    before = await self._store.replace(who(request).tenant, after, version=before.version)
                except Changed:
                    if time.monotonic() - began >= CHANGE_SECONDS:
                        raise _contended() from None
                    await asyncio.sleep(random.uniform(0, pause))  # noqa: S311  not all at once, nothing more
                    pause = min(2 * pause, LONGEST_PAUSE)
                    continue
                except TooLarge:
                    raise Problem("PAYLOAD_TOO_LARGE", "The contact would be too large") from None
            return wire.answer(200, wire.encoded(shown(before)), wire.etag(before.version))

    async def remove(self, request: Request) -> Response:
        """DELETE /contacts/{id}; with If-Match only of that version."""
        wire.no_query(request)
        conditions = wire.tags(request, b"if-match")
        version = ""
        if conditions is not None and "*" not in conditions:
            found = await self._found(request)
            _condition(request, found)
            version = found.version
        try:
            if not await self._store.remove(who(request).tenant, _id(request), version=version):
                raise _nobody()
        except Changed:
            raise Problem("PRECONDITION_FAILED") from None
        return Response(204)

    async def _found(self, request: Request) -> Contact:
        contact = await self._store.get(who(request).tenant, _id(request))
        if contact is None:
            raise _nobody()
        return contact

    async def _rows(self, identity: Identity, body: bytes, now: int, by: str) -> list[Contact]:
        return await rows_of(wire.parsed(body), tenant=identity.tenant, now=now, by=by, mark=secrets.token_hex(8))

    async def _free(self, request: Request, before: Contact, after: Contact) -> None:
        """Problem when the new address is that of another contact made with it. Told for the caller's sake: what keeps two
        new contacts of one address apart is the id."""
        tenant = who(request).tenant
        if after.email and address_key(after.email) != address_key(before.email):
            other = id_for(tenant, after.email)
            if other != before.id and await self._store.get(tenant, other) is not None:
                raise Problem("CONFLICT", "A contact with this address exists", beside={"id": other})


_NO_KEY = Receipt("", "", 0, b"", 0)


def _told(handler: Handler) -> Handler:
    """The handler, with what the store could not do as an answer."""

    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except StoreFault as fault:
            if fault.kind == "busy":
                raise Shed("the contacts are busy", retry_after=1, store=fault.detail) from None
            raise Problem("SERVICE_UNAVAILABLE", reason=f"contacts: {fault}") from fault

    return answered


def _condition(request: Request, contact: Contact) -> None:
    wanted = wire.tags(request, b"if-match")
    if wanted is not None and not wanted & {contact.version, "*"}:
        raise Problem("PRECONDITION_FAILED", headers=(wire.etag(contact.version),))


def _id(request: Request) -> str:
    id = request.params["id"]
    if not ID.fullmatch(id):
        raise _nobody()
    return id


def _nobody() -> Problem:
    return Problem("NOT_FOUND", "There is no such contact")


def _contended() -> Problem:
    return Problem("CONFLICT", "Others change this contact all the time; try again", headers=((b"retry-after", b"1"),))


def _invalid(fault: InvalidContact) -> Problem:
    """The message is also in the log, where a field that the caller made up has no place."""
    told = {"field": fault.field, "code": fault.code, "message": fault.message}
    message = fault.message if fault.code == "UNKNOWN_FIELD" else str(fault)
    return Problem("VALIDATION_FAILED", message, beside={"fields": [told]})


def _wants_all(request: Request) -> bool:
    told = request.joined(b"prefer") or b""
    return any(part.split(b";")[0].strip().lower() == b"return=representation" for part in told.split(b","))
