"""The stores to measure with: for each, the environment of a crm process on a new, empty one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path


@contextmanager
def sqlite(folder: Path) -> Iterator[Mapping[str, str]]:
    yield {"CONTACTS_STORE": f"sqlite://{folder}/contacts.db"}


STORES: Mapping[str, Callable[[Path], AbstractContextManager[Mapping[str, str]]]] = {"sqlite": sqlite}
