"""The stores that the suite holds to the same contract. One more store is one more entry in KINDS."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from gateway_runtime.contacts.store import ContactStore
from gateway_runtime.contacts.stores import store_of
from tests.helpers.firestore_emulator import EMULATOR, emulator

T = TypeVar("T")


@contextmanager
def sqlite(folder: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    yield f"sqlite://{folder}/contacts.db", {}


@contextmanager
def firestore(_folder: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    found = emulator()
    yield f"firestore://{found.project()}", {EMULATOR: found.host}


KINDS: Mapping[str, Callable[[Path], AbstractContextManager[tuple[str, Mapping[str, str]]]]] = {
    "firestore": firestore,
    "sqlite": sqlite,
}
"""Kind -> the URL of an empty store, and the environment a process needs to reach it."""


class Stage:
    """An open store in a loop of its own, and as many tenants as a test wishes."""

    def __init__(self, kind: str, url: str, env: Mapping[str, str]) -> None:
        self.kind, self.url, self.env = kind, url, env
        self._runner = asyncio.Runner()
        self._names = (f"tenant-{os.getpid()}-{number}" for number in itertools.count())
        self.store: ContactStore = store_of(url)
        self.run(self.store.open())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def tenant(self) -> str:
        """One that nobody has used before."""
        return next(self._names)

    def close(self) -> None:
        self.run(self.store.close())
        self._runner.close()


NO_LIMITS = {"RATE_LIMIT_ADDRESS": "off", "RATE_LIMIT_USER": "off"}
