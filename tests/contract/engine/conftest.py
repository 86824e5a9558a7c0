from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.engine import Engine, close_ledgers, deploy, target_on
from tests.helpers.local_cloud import LocalCloud
from xgw import faults


@pytest.fixture(autouse=True)
def ledgers() -> Iterator[None]:
    yield
    close_ledgers()


@pytest.fixture
def cloud(tmp_path) -> Iterator[LocalCloud]:
    (tmp_path / "cloud").mkdir()
    cloud = LocalCloud(tmp_path / "cloud")
    deploy(cloud)
    yield cloud
    faults.arm("")
    faults.watch(None)
    cloud.kill()


@pytest.fixture
def engine(cloud, tmp_path) -> Engine:
    return Engine(target_on(cloud.target, tmp_path), tmp_path)
