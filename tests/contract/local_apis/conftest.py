"""A fresh embedded cloud for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.local_cloud import LocalCloud


@pytest.fixture
def cloud(tmp_path) -> Iterator[LocalCloud]:
    cloud = LocalCloud(tmp_path)
    yield cloud
    cloud.kill()
