from __future__ import annotations

import pytest
from google.api_core import exceptions
from google.cloud import run_v2

from tests.helpers.local_cloud import FAILED, PARENT, SUCCEEDED, LocalCloud, eventually, latest, short, to


@pytest.fixture
def pair(cloud: LocalCloud) -> tuple[str, str]:
    """Two revisions; the second one serves."""
    cloud.create()
    cloud.deploy("app@sha256:2")
    first, second = cloud.revision_names()
    return first, second


def shift(cloud: LocalCloud, *targets: run_v2.TrafficTarget) -> run_v2.Service:
    return cloud.update(run_v2.Service(name=f"{PARENT}/services/shop", traffic=targets), "traffic")


def test_a_split_is_told_in_traffic_and_in_traffic_statuses(cloud: LocalCloud, pair):
    first, second = pair
    service = shift(cloud, to(first, 90), to(second, 10))
    assert [(s.revision, s.percent) for s in service.traffic_statuses] == [(first, 90), (second, 10)]
    assert cloud.shares() == [(first, 90, ""), (second, 10, "")]
    assert cloud.revision_names() == [first, second]


def test_a_tag_answers_at_the_front_doors_own_url(cloud: LocalCloud, pair):
    first, second = pair
    service = shift(cloud, to(second, 100), to(first, 0, "old"))
    (status,) = [status for status in service.traffic_statuses if status.tag]
    assert (status.revision, status.percent, status.uri) == (first, 0, cloud.door.tag_url("shop", "old"))
    assert first in cloud.instances.up


def test_the_old_revision_runs_again_before_traffic_comes_back_to_it(cloud: LocalCloud, pair):
    first, _ = pair
    eventually(lambda: first not in cloud.instances.up)
    mark = len(cloud.journal)
    shift(cloud, to(first, 100))
    events = [event[:2] for event in cloud.journal[mark:]]
    assert events.index(("start", first)) < events.index(("routes", "shop"))


def test_a_revision_keeps_its_instance_while_it_has_a_tag(cloud: LocalCloud, pair):
    first, second = pair
    shift(cloud, to(second, 100), to(first, 0, "old"))
    cloud.deploy("app@sha256:3")
    assert {first, second} <= set(cloud.instances.up)
    shift(cloud, to(second, 100))
    eventually(lambda: first not in cloud.instances.up)


def test_pinned_traffic_gives_a_new_revision_nothing(cloud: LocalCloud, pair):
    first, _ = pair
    shift(cloud, to(first, 100))
    service = cloud.deploy("app@sha256:3")
    third = short(service.latest_ready_revision)
    assert third not in [revision for revision, *_ in cloud.shares()]
    assert service.terminal_condition.state == SUCCEEDED
    assert cloud.shares() == [(first, 100, "")]
    shift(cloud, latest())
    assert cloud.shares() == [(third, 100, "")]


def test_empty_traffic_means_all_to_the_latest(cloud: LocalCloud, pair):
    first, second = pair
    shift(cloud, to(first, 100))
    assert shift(cloud).traffic == [latest()]
    assert cloud.shares() == [(second, 100, "")]


def test_a_canary_is_deployed_with_a_tag_and_without_traffic(cloud: LocalCloud):
    first = short(cloud.create().latest_ready_revision)
    service = cloud.get()
    service.template.containers[0].image = "app@sha256:2"
    service.template.revision = "shop-next"
    service.traffic = [to(first, 100), to("shop-next", 0, "next")]
    cloud.update(service)
    assert cloud.shares() == [(first, 100, ""), ("shop-next", 0, "next")]
    assert set(cloud.instances.up) == {first, "shop-next"}


def test_a_new_revision_may_take_all_traffic_by_name(cloud: LocalCloud):
    cloud.create()
    service = cloud.get()
    service.template.containers[0].image = "app@sha256:2"
    service.template.revision = "shop-next"
    service.traffic = [to("shop-next", 100)]
    cloud.update(service)
    assert cloud.shares() == [("shop-next", 100, "")]


@pytest.mark.parametrize(
    ("targets", "error"),
    [
        (lambda a, b: [to(a, 50), to(b, 40)], exceptions.InvalidArgument),
        (lambda a, b: [to(a, 100), to(b, 1)], exceptions.InvalidArgument),
        (lambda a, b: [to(a, 120), to(b, -20)], exceptions.InvalidArgument),
        (lambda a, b: [to("shop-none", 100)], exceptions.FailedPrecondition),
        (lambda a, b: [to(a, 100), to("shop-none", 0, "x")], exceptions.FailedPrecondition),
        (lambda a, b: [to(a, 100, "x"), to(b, 0, "x")], exceptions.InvalidArgument),
        (lambda a, b: [to(a, 100, "Not_A_Label")], exceptions.InvalidArgument),
        (lambda a, b: [to("", 100)], exceptions.InvalidArgument),
        (lambda a, b: [to(f"{PARENT}/services/shop/revisions/{a}", 100)], exceptions.InvalidArgument),
        (lambda a, b: [run_v2.TrafficTarget(type_=1, revision=a, percent=100)], exceptions.InvalidArgument),
        (lambda a, b: [run_v2.TrafficTarget(revision=a, percent=100)], exceptions.InvalidArgument),
    ],
)
def test_illegal_traffic_is_refused_and_changes_nothing(cloud: LocalCloud, pair, targets, error):
    before = cloud.get()
    with pytest.raises(error):
        shift(cloud, *targets(*pair))
    assert cloud.get() == before


def test_another_services_revision_is_unknown(cloud: LocalCloud, pair):
    other = short(cloud.create(name="other").latest_ready_revision)
    with pytest.raises(exceptions.FailedPrecondition):
        shift(cloud, to(other, 100))


def test_traffic_to_a_revision_that_never_was_ready_is_refused(cloud: LocalCloud, pair):
    with pytest.raises(exceptions.GoogleAPICallError):
        cloud.deploy("crash")
    bad = short(cloud.get().latest_created_revision)
    with pytest.raises(exceptions.FailedPrecondition, match="is not ready and cannot serve traffic"):
        shift(cloud, to(bad, 100))


def test_traffic_stays_when_the_old_revision_does_not_start_again(cloud: LocalCloud, pair):
    first, second = pair
    eventually(lambda: first not in cloud.instances.up)
    cloud.instances.refuse.add(first)
    with pytest.raises(exceptions.GoogleAPICallError, match=first):
        shift(cloud, to(first, 100))
    service = cloud.get()
    assert service.terminal_condition.state == FAILED
    assert cloud.shares() == [(second, 100, "")]
    assert service.traffic_statuses[0].percent == 100
    cloud.instances.refuse.clear()
    assert shift(cloud, to(first, 100)).terminal_condition.state == SUCCEEDED
    assert cloud.shares() == [(first, 100, "")]
