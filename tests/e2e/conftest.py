from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.place import Place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One local target for the tests of a module, stopped and seen to be gone at its end."""
    place = Place(tmp_path_factory.mktemp("x"))
    yield place
    place.close()
