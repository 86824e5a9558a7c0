"""One Commit that adds contacts and a receipt, or nothing; and what to think when it did not go through."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import grpc
from google.cloud.firestore_v1.types import firestore

from gateway_runtime.contacts.firestore import documents
from gateway_runtime.contacts.firestore.rows import LARGEST, LOOK
from gateway_runtime.contacts.model import Contact
from gateway_runtime.contacts.store import Exists, Receipt, ReceiptTaken, TooLarge

MASK = (documents.MARK, "token", "madeAt")
"""The fields that `Add.settled` reads."""
_REQUEST = firestore.CommitRequest.pb()


class Add:
    """The contacts by their documents' names, the receipt by its, and what is known by now.

    `token` stands in the receipt: a stored receipt that holds it proves that this very commit went through. Without a
    receipt the marks of the contacts do, once an attempt has gone without an answer.
    """

    def __init__(
        self,
        database: str,
        contacts: Mapping[str, Contact],
        receipt: tuple[str, Receipt] | None,
        *,
        token: str,
        most: int,
    ) -> None:
        self._database, self._contacts, self._receipt = database, contacts, receipt
        self._token, self._most = token, most
        self._stale = ""  # the version of a receipt that is past its time and stands in the way
        self._tried = False

    @property
    def names(self) -> list[str]:
        """Every document that is concerned."""
        return [*self._contacts, *([self._receipt[0]] if self._receipt else [])]

    def request(self) -> Any:
        """The CommitRequest; TooLarge when Firestore would not take it."""
        request = _REQUEST(database=self._database)
        for name, contact in self._contacts.items():
            write = request.writes.add()
            documents.fill(write.update, name, contact)
            write.current_document.exists = False
        if self._receipt:
            name, receipt = self._receipt
            write = request.writes.add()
            documents.fill_receipt(write.update, name, receipt, self._token)
            if not (self._stale and documents.put_version(write.current_document.update_time, self._stale)):
                write.current_document.exists = False
        if request.ByteSize() > self._most or any(write.ByteSize() > LARGEST for write in request.writes):
            raise TooLarge
        return request

    def added(self, answer: Any) -> tuple[Contact, ...]:
        """The contacts with the versions that a CommitResponse gives them."""
        results = list(answer.write_results)[: len(self._contacts)]
        return tuple(
            replace(contact, version=documents.version_of(result.update_time))
            for contact, result in zip(self._contacts.values(), results, strict=True)
        )

    def unclear(self, code: grpc.StatusCode) -> None:
        """An attempt ended without an answer about the documents: it may have gone through."""
        self._tried = self._tried or code not in LOOK

    def settled(self, found: Mapping[str, Any]) -> tuple[Contact, ...] | None:
        """What the stored documents say about a commit that was refused: the contacts when an earlier attempt had made it,
        None when nothing stands in the way any more; else ReceiptTaken or Exists."""
        if self._receipt and self._receipt[0] in found:
            stored = found[self._receipt[0]]
            if documents.text_of(stored, "token") == self._token:
                return self._made(found)
            if documents.made_at(stored) > horizon():
                raise ReceiptTaken
            self._stale = documents.version_of(stored.update_time)
        else:
            self._stale = ""
        there = [contact for name, contact in self._contacts.items() if name in found]
        if not self._receipt and self._tried and len(there) == len(self._contacts) and self._own(found):
            return self._made(found)
        if there:
            raise Exists([contact.id for contact in there])
        return None

    def _own(self, found: Mapping[str, Any]) -> list[str]:
        """The names whose documents are still as this commit made them."""
        return [
            name
            for name, contact in self._contacts.items()
            if name in found and contact.mark and documents.text_of(found[name], documents.MARK) == contact.mark
        ]

    def _made(self, found: Mapping[str, Any]) -> tuple[Contact, ...]:
        """A contact that somebody has changed since has a version that we do not know."""
        versions = {name: documents.version_of(found[name].update_time) for name in self._own(found)}
        return tuple(replace(contact, version=versions.get(name, "")) for name, contact in self._contacts.items())


def horizon() -> int:
    """Receipts made at this moment or earlier count as not there (microseconds since the epoch)."""
    return int((time.time() - documents.KEPT_SECONDS) * 1_000_000)
