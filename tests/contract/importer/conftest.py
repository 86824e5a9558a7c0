from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.helpers.contacts_stage import KINDS
from tests.helpers.import_stage import Desk

_numbers = itertools.count()


@pytest.fixture(scope="module", params=sorted(KINDS))
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Mapping[str, str]]]:
    with KINDS[request.param](tmp_path_factory.mktemp("store")) as found:
        yield found


@pytest.fixture
def desk(place: tuple[str, Mapping[str, str]], tmp_path: Path) -> Desk:
    """A home of its own and a tenant that nobody has used."""
    return Desk(tmp_path, *place, tenant=f"tenant-{os.getpid()}-{next(_numbers)}")
