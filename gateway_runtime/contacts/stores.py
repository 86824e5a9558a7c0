"""Which store a URL means. Only the store that is named is imported."""

from __future__ import annotations

import re

from gateway_runtime.contacts.store import ContactStore

WANTED = "must be sqlite:///ABSOLUTE/PATH or firestore://PROJECT[/DATABASE]"
_SQLITE = re.compile(r"sqlite://(/[^\x00-\x1f?#]+)")
_FIRESTORE = re.compile(
    r"firestore://((?:[a-z0-9.-]{1,100}:)?[a-z][a-z0-9-]{0,62})(?:/([a-z][a-z0-9-]{2,62}|\(default\)))?"
)


def checked(url: str) -> str:
    """The URL, when it names a store; ValueError says what would do. Nothing is opened or imported."""
    if not _SQLITE.fullmatch(url) and not _FIRESTORE.fullmatch(url):
        raise ValueError(WANTED)
    return url


def store_of(url: str) -> ContactStore:
    """The store a URL means, not yet open: `sqlite:///abs/path` (the path as it is, nothing is decoded), or
    `firestore://PROJECT[/DATABASE]`, where FIRESTORE_EMULATOR_HOST is honoured. ValueError."""
    if found := _SQLITE.fullmatch(url):
        from gateway_runtime.contacts.sqlite import SqliteContacts

        return SqliteContacts(found[1])
    if found := _FIRESTORE.fullmatch(url):
        from gateway_runtime.contacts.firestore import FirestoreContacts

        return FirestoreContacts(found[1], found[2] or "(default)")
    raise ValueError(WANTED)
