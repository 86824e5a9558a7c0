"""Contacts in Firestore: raw protobuf through the public GAPIC client, own retries (docs/decisions: raw protobuf)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import replace as copy
from typing import Any

import grpc
from google.cloud.firestore_v1.services.firestore import FirestoreAsyncClient
from google.cloud.firestore_v1.types import firestore

from gateway_runtime.contacts.firestore import documents
from gateway_runtime.contacts.firestore.add import MASK, Add, horizon
from gateway_runtime.contacts.firestore.calls import (
    AGAIN,
    FAULTS,
    Patience,
    Tries,
    code_named,
    code_of,
    connect,
    patiently,
)
from gateway_runtime.contacts.firestore.queries import COUNTED, count_query, page_query
from gateway_runtime.contacts.firestore.rows import LOOK, Row, Stored, looked, requests, row_of
from gateway_runtime.contacts.model import Contact
from gateway_runtime.contacts.store import (
    PAGE_BYTES,
    PAGE_LIMIT,
    Changed,
    Outcome,
    Page,
    Receipt,
    StoreFault,
    TooLarge,
    Write,
    Written,
)

LARGEST_REQUEST, EMULATOR_REQUEST = 10 * 1024 * 1024 - 64 * 1024, 4 * 1024 * 1024 - 64 * 1024
"""Bytes of one Commit: Firestore takes 10 MiB, its emulator 4; what goes with it (fields of the header) is left room for."""
_LOOKUP = 500
"""Documents of one BatchGetDocuments."""


class FirestoreContacts:
    """A ContactStore in a Firestore database in Native mode. `in_flight` bounds how many bulk requests are under way at once;
    `patience` bounds reads and single writes, `bulk` a call of `write`."""

    def __init__(
        self,
        project: str,
        database: str = "(default)",
        *,
        in_flight: int = 4,
        patience: Patience | None = None,
        bulk: Patience | None = None,
    ) -> None:
        self._database = f"projects/{project}/databases/{database}"
        self._patience = patience or Patience()
        self._bulk = bulk or patience or Patience(total=60, attempt=20)
        self._in_flight = in_flight
        self._places = asyncio.Semaphore(in_flight)
        self._opened: FirestoreAsyncClient | None = None
        self._channel: Any = None
        self._said: tuple[tuple[str, str], ...] = ()

    async def open(self) -> None:
        """See ContactStore. Reads one document that is not there: a project that cannot be used is told now."""
        self._opened, self._channel, self._said = connect()
        self._places = asyncio.Semaphore(self._in_flight)
        try:
            await self._fetch([f"{self._root('-')}/{documents.CONTACTS}/-"], Patience(total=10, attempt=5))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """See ContactStore."""
        channel, self._opened, self._channel = self._channel, None, None
        if channel is not None:
            await channel.close()

    async def page(self, tenant: str, *, limit: int, status: str = "", type: str = "", after: str = "") -> Page:
        """See ContactStore."""
        asked = page_query(
            limit=limit + 1 if limit else 0, after=self._name(tenant, after) if after else "", **_equal(status, type)
        )
        request = firestore.RunQueryRequest.pb()(parent=self._root(tenant), structured_query=asked)
        wrapped = firestore.RunQueryRequest.wrap(request)

        async def call(seconds: float) -> Page:
            answers = await self._client.run_query(wrapped, retry=None, timeout=seconds, metadata=self._said)
            items: list[Contact] = []
            size, more = 0, False
            async for answer in answers:
                found = firestore.RunQueryResponse.pb(answer)
                if not found.HasField("document"):
                    continue
                size += found.document.ByteSize()
                if items and size > PAGE_BYTES and 0 < limit <= PAGE_LIMIT:
                    answers.cancel()
                    return Page(tuple(items), True)
                if limit and len(items) == limit:
                    more = True
                else:
                    items.append(documents.contact_of(found.document))
            return Page(tuple(items), more)

        return await patiently(self._patience, "RunQuery", call)

    async def get(self, tenant: str, id: str) -> Contact | None:
        """See ContactStore."""
        return (await self.get_many(tenant, (id,))).get(id)

    async def get_many(self, tenant: str, ids: Sequence[str]) -> dict[str, Contact]:
        """See ContactStore."""
        names = {self._name(tenant, id): id for id in ids}
        found = await self._fetch(list(names))
        return {names[name]: documents.contact_of(document) for name, document in found.items()}

    async def count(self, tenant: str, *, status: str = "", type: str = "") -> int:
        """See ContactStore. An aggregation: one read is billed for up to a thousand contacts."""
        request = firestore.RunAggregationQueryRequest.pb()(
            parent=self._root(tenant), structured_aggregation_query=count_query(**_equal(status, type))
        )
        wrapped = firestore.RunAggregationQueryRequest.wrap(request)

        async def call(seconds: float) -> int:
            client = self._client
            answers = await client.run_aggregation_query(wrapped, retry=None, timeout=seconds, metadata=self._said)
            found = [firestore.RunAggregationQueryResponse.pb(answer) async for answer in answers]
            return sum(answer.result.aggregate_fields[COUNTED].integer_value for answer in found)

        return await patiently(self._patience, "RunAggregationQuery", call)

    async def receipt(self, tenant: str, key: str) -> Receipt | None:
        """See ContactStore."""
        name = self._receipt_name(tenant, key)
        document = (await self._fetch([name])).get(name)
        found = documents.receipt_of(document, key) if document is not None else None
        return found if found is not None and found.made_at > horizon() else None

    async def add(
        self, tenant: str, contacts: Sequence[Contact], *, receipt: Receipt | None = None
    ) -> tuple[Contact, ...]:
        """See ContactStore. One Commit, whose size is known before it is sent."""
        _require_distinct(contact.id for contact in contacts)
        named = {self._name(tenant, contact.id): contact for contact in contacts}
        kept = None if receipt is None else (self._receipt_name(tenant, receipt.key), receipt)
        if not named and kept is None:
            return ()
        most = EMULATOR_REQUEST if self._said else LARGEST_REQUEST
        adding = Add(self._database, named, kept, token=secrets.token_hex(8), most=most)
        tries = Tries(self._patience)
        while True:
            request = firestore.CommitRequest.wrap(adding.request())
            try:
                answer = await self._client.commit(request, retry=None, timeout=tries.timeout(), metadata=self._said)
                return adding.added(firestore.CommitResponse.pb(answer))
            except FAULTS as error:
                code = code_of(error)
            adding.unclear(code)
            if code in LOOK:
                if (made := adding.settled(await self._fetch(adding.names, mask=MASK))) is not None:
                    return made
                code = grpc.StatusCode.ABORTED  # what stood in the way has gone
            await tries.again(code, "Commit")

    async def replace(self, tenant: str, contact: Contact, *, version: str) -> Contact:
        """See ContactStore."""
        (written,) = await self._rows([Row("replace", contact.id, self._name(tenant, contact.id), contact, version)])
        if written.outcome is Outcome.TOO_LARGE:
            raise TooLarge
        if written.outcome is Outcome.INVALID:
            raise StoreFault("denied", "BatchWrite: INVALID_ARGUMENT")
        if written.outcome is not Outcome.DONE:
            raise Changed
        return copy(contact, version=written.version)

    async def remove(self, tenant: str, id: str, *, version: str = "") -> bool:
        """See ContactStore."""
        (written,) = await self._rows([Row("remove", id, self._name(tenant, id), None, version)])
        if written.outcome is Outcome.CHANGED:
            raise Changed
        return written.outcome is Outcome.DONE

    async def write(self, tenant: str, writes: Sequence[Write]) -> list[Written]:
        """See ContactStore. BatchWrite, several at once; when the store cannot go on, what is under way is waited for."""
        _require_distinct(write.contact.id for write in writes)
        return await self._rows([row_of(write, self._name(tenant, write.contact.id)) for write in writes], self._bulk)

    async def _rows(self, rows: list[Row], patience: Patience | None = None) -> list[Written]:
        tries = Tries(patience or self._patience)
        while left := [row for row in rows if row.written is None]:
            faults = await self._round(left, tries)
            unclear = {row.name: row for row in left if row.look}
            if unclear:
                found = await self._fetch(list(unclear), mask=(documents.MARK,))
                for name, row in unclear.items():
                    row.written, row.look = looked(row, _stored(found.get(name))), False
            if any(row.written is None for row in left):
                await tries.again(next(iter(faults), grpc.StatusCode.ABORTED), "BatchWrite")
        return [row.written for row in rows if row.written is not None]

    async def _round(self, rows: list[Row], tries: Tries) -> list[grpc.StatusCode]:
        """Sends the rows once; returns the faults, those first that end it."""
        client, faults = self._client, list[grpc.StatusCode]()

        async def send(request: Any, inside: list[Row]) -> None:
            try:
                faults.extend(await self._send(client, request, inside, tries.timeout()))
            finally:
                self._places.release()

        async with asyncio.TaskGroup() as group:
            for request, inside in requests(self._database, rows):
                await self._places.acquire()
                if not AGAIN.issuperset(faults):
                    self._places.release()
                    break
                group.create_task(send(request, inside))
        return sorted(faults, key=AGAIN.__contains__)

    async def _send(
        self, client: FirestoreAsyncClient, request: Any, rows: list[Row], seconds: float
    ) -> list[grpc.StatusCode]:
        """One BatchWrite: each row gets its outcome, or is to be looked at, or stays for another attempt; returns why."""
        wrapped = firestore.BatchWriteRequest.wrap(request)
        try:
            said = await client.batch_write(wrapped, retry=None, timeout=seconds, metadata=self._said)
        except FAULTS as error:
            code = code_of(error)
            if code is grpc.StatusCode.INVALID_ARGUMENT:
                return _isolated(rows)
            for row in rows:
                row.tried = True
            return [code]
        answer, faults = firestore.BatchWriteResponse.pb(said), []
        for row, status, result in zip(rows, answer.status, answer.write_results, strict=True):
            code = code_named(status.code)
            if code is grpc.StatusCode.OK:
                version = "" if row.kind == "remove" else documents.version_of(result.update_time)
                row.written = Written(Outcome.DONE, version)
            elif code in LOOK:
                row.look = True
            elif code is grpc.StatusCode.INVALID_ARGUMENT:
                row.written = Written(Outcome.INVALID)
            else:
                row.tried = True
                faults.append(code)
        return faults

    async def _fetch(
        self, names: Sequence[str], patience: Patience | None = None, mask: Sequence[str] = ()
    ) -> dict[str, Any]:
        """The documents of these names that are there, by name; only the fields of `mask`, when there is one."""
        found: dict[str, Any] = {}
        for start in range(0, len(names), _LOOKUP):
            request = firestore.BatchGetDocumentsRequest.pb()(
                database=self._database, documents=names[start : start + _LOOKUP]
            )
            if mask:
                request.mask.field_paths.extend(mask)
            wrapped = firestore.BatchGetDocumentsRequest.wrap(request)

            async def call(seconds: float, wrapped: Any = wrapped) -> list[Any]:
                client = self._client
                answers = await client.batch_get_documents(wrapped, retry=None, timeout=seconds, metadata=self._said)
                return [firestore.BatchGetDocumentsResponse.pb(answer) async for answer in answers]

            answers = await patiently(patience or self._patience, "BatchGetDocuments", call)
            found.update((answer.found.name, answer.found) for answer in answers if answer.HasField("found"))
        return found

    @property
    def _client(self) -> FirestoreAsyncClient:
        if self._opened is None:
            raise RuntimeError("the contacts are not open")
        return self._opened

    def _root(self, tenant: str) -> str:
        return f"{self._database}/documents/tenants/{documents.segment(tenant)}"

    def _name(self, tenant: str, id: str) -> str:
        return f"{self._root(tenant)}/{documents.CONTACTS}/{documents.id_segment(id)}"

    def _receipt_name(self, tenant: str, key: str) -> str:
        return f"{self._root(tenant)}/{documents.RECEIPTS}/{documents.segment(key)}"


def _isolated(rows: Sequence[Row]) -> list[grpc.StatusCode]:
    """After INVALID_ARGUMENT for a request, of which nothing was written: a row by itself is the one, of several each is sent
    by itself. (A database that takes nothing at all is told when it is opened.)"""
    if len(rows) == 1:
        rows[0].written = Written(Outcome.INVALID)
        return []
    for row in rows:
        row.alone = True
    return [grpc.StatusCode.ABORTED]


def _stored(found: Any) -> Stored | None:
    if found is None:
        return None
    return Stored(documents.text_of(found, documents.MARK), documents.version_of(found.update_time))


def _equal(status: str, type: str) -> dict[str, str]:
    return {field: value for field, value in (("status", status), ("type", type)) if value}


def _require_distinct(ids: Iterable[str]) -> None:
    listed = list(ids)
    if len(set(listed)) != len(listed):
        raise ValueError("the ids of one call must be different")
