"""The stores to measure with: for each, the environment of a crm process on a new, empty one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path


@contextmanager
def sqlite(folder: Path) -> Iterator[Mapping[str, str]]:
    yield {"CONTACTS_STORE": f"sqlite://{folder}/contacts.db"}


@contextmanager
def firestore(_folder: Path) -> Iterator[Mapping[str, str]]:
    from tests.helpers.firestore_emulator import EMULATOR, INSTALL, missing, started

    if lacking := missing():
        raise SystemExit(f"{lacking}; to get it: {INSTALL}")
    found = started()
    yield {"CONTACTS_STORE": f"firestore://{found.project()}", EMULATOR: found.host}


STORES: Mapping[str, Callable[[Path], AbstractContextManager[Mapping[str, str]]]] = {
    "firestore": firestore,
    "sqlite": sqlite,
}
