"""A build that crashes, never listens, or takes too much memory gets no traffic, and nobody who asks the service notices."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.builds import release, users
from tests.helpers.place import Place
from xgw.errors import ExitCode
from xgw.plan.model import Outcome

pytestmark = pytest.mark.e2e

STARTUP_SECONDS = 6


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("x"), {"XGW_LOCAL_STARTUP_SECONDS": str(STARTUP_SECONDS)})
    place.ok("local", "up")
    yield place
    place.close()


BUILDS = {
    "fault-crash": "did not become ready",
    "fault-silent": "did not become ready",
    "fault-memory-at-start": "did not become ready",
    "fault-memory-under-load": "killed over its limit",
}
"""Image -> what the rejection says."""


@pytest.mark.parametrize("image", BUILDS)
def test_a_bad_build_gets_no_traffic_and_no_request_fails(place: Place, image: str) -> None:
    before, serving, revisions = place.state(), place.serving(), place.revisions()

    with users(place) as seen:
        run = release(place, image)

    assert run.exit_code is ExitCode.MISSED
    assert [result.outcome for result in run.steps] == [Outcome.REJECTED]
    assert BUILDS[image] in run.steps[0].reason
    assert seen.failed == {}
    assert place.step("build") == "reverted"
    made = set(place.revisions()) - set(revisions)
    bad = next(record.body["deltas"][0]["revision"] for record in place.records(kind="intended")[::-1])
    assert bad in made
    assert place.state() == before
    assert place.serving() != bad
    assert serving in place.revisions()
    assert served_since(place, run.id) <= {serving, place.serving()}


def served_since(place: Place, run: int) -> set[str]:
    """The revisions that the ledger says served in a run."""
    return {name for r in place.records(run=run) for name in r.body.get("serving", {}).values()}
