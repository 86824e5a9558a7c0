from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.contacts_stage import KINDS, NO_LIMITS, Stage
from tests.helpers.gateway_process import Running, running


@pytest.fixture(scope="module", params=sorted(KINDS))
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with KINDS[request.param](tmp_path_factory.mktemp("store")) as (url, env), pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        made = Stage(request.param, url, env)
        yield made
        made.close()


@pytest.fixture(scope="module")
def crm(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The crm role on the same store."""
    with running(tmp_path_factory.mktemp("crm"), ROLE="crm", CONTACTS_STORE=stage.url, **NO_LIMITS, **stage.env) as it:
        yield it
