from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from google.api_core import exceptions

from tests.helpers.local_cloud import PARENT, SUCCEEDED, LocalCloud, eventually, short, to


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., LocalCloud]]:
    """Start a server on the same state as the one before, which is killed."""
    clouds: list[LocalCloud] = []

    def start(**how) -> LocalCloud:
        if clouds:
            clouds[-1].kill()
        clouds.append(LocalCloud(tmp_path, **how))
        return clouds[-1]

    yield start
    clouds[-1].kill()


def test_services_revisions_and_traffic_come_back_after_a_restart(start):
    cloud = start()
    cloud.create()
    first = short(cloud.get().latest_ready_revision)
    second = short(cloud.deploy("app@sha256:2").latest_ready_revision)
    service = cloud.get()
    service.traffic = [to(first, 60), to(second, 40), to(first, 0, "old")]
    before = cloud.update(service, "traffic")
    cloud = start()
    assert cloud.get() == before
    assert cloud.revision_names() == [first, second]
    assert cloud.shares() == [(first, 60, ""), (second, 40, ""), (first, 0, "old")]
    assert set(cloud.instances.up) == {first, second}


def test_revisions_without_traffic_or_tag_are_not_started_by_a_restart(start):
    cloud = start()
    cloud.create()
    cloud.deploy("app@sha256:2")
    cloud = start()
    assert set(cloud.instances.up) == {cloud.revision_names()[1]}


def test_a_restart_does_not_move_the_etag(start):
    etag = start().create().etag
    assert start(first_port=30000).get().etag == etag


def test_urls_are_told_anew_when_the_front_door_had_to_move(start):
    cloud = start()
    first = short(cloud.create().latest_ready_revision)
    service = cloud.get()
    service.traffic = [to(first, 100, "now")]
    cloud.update(service)
    cloud = start(first_port=30000)
    service = cloud.get()
    assert service.uri == cloud.door.service_url("shop")
    assert service.traffic_statuses[0].uri == cloud.door.tag_url("shop", "now")
    assert ":3000" in service.uri


def test_an_update_in_progress_at_the_kill_is_finished_after_the_restart(start):
    cloud = start()
    cloud.create()
    service = cloud.get()
    service.template.containers[0].image = "gated"
    name = cloud.begin_update(service).operation.name
    eventually(lambda: cloud.journal[-1][0] == "start")
    cloud = start()
    assert cloud.get().reconciling
    assert not cloud.operations.get_operation(name).done
    old, new = cloud.revision_names()
    assert cloud.shares() == [(old, 100, "")]
    cloud.call(cloud.instances.gate.set)
    assert cloud.wait(name).done
    service = cloud.get()
    assert service.terminal_condition.state == SUCCEEDED
    assert cloud.shares() == [(new, 100, "")]
    assert len(cloud.revision_names()) == 2


def test_a_creation_in_progress_at_the_kill_is_finished_after_the_restart(start):
    cloud = start()
    name = cloud.begin_create("gated").operation.name
    cloud = start()
    cloud.call(cloud.instances.gate.set)
    assert cloud.wait(name).HasField("response")
    assert cloud.get().terminal_condition.state == SUCCEEDED


def test_queued_updates_are_finished_in_their_order_after_the_restart(start):
    cloud = start()
    cloud.create()
    for image in ("gated@1", "gated@2", "app@3"):
        service = cloud.get()
        service.template.containers[0].image = image
        last = cloud.begin_update(service).operation.name
    cloud = start()
    cloud.call(cloud.instances.gate.set)
    assert cloud.wait(last).HasField("response")
    starts = [name for kind, name, *_ in cloud.journal if kind == "start"]
    assert list(dict.fromkeys(starts)) == cloud.revision_names()
    service = cloud.get()
    assert service.generation == service.observed_generation == 4


def test_a_deletion_survives_the_kill(start):
    cloud = start(linger_s=60)
    service = cloud.create()
    name = cloud.services.delete_service(name=service.name).operation.name
    cloud = start()
    assert cloud.wait(name).done
    with pytest.raises(exceptions.NotFound):
        cloud.get()


def test_a_finished_operation_is_still_told_after_the_restart(start):
    cloud = start()
    operation = cloud.begin_create("crash")
    with pytest.raises(exceptions.GoogleAPICallError):
        operation.result(timeout=60)
    told = start().operations.get_operation(operation.operation.name)
    assert told.done
    assert told.error.code == 9
    assert "failed to start" in told.error.message


def test_a_revision_that_no_longer_starts_keeps_its_traffic_after_a_restart(start):
    before = start().create()
    revision = short(before.latest_ready_revision)
    cloud = start(refuse=(revision,))
    assert cloud.get() == before
    assert cloud.shares() == [(revision, 100, "")]
    assert cloud.instances.up == {}


def test_operations_are_listed_newest_first(start):
    cloud = start()
    cloud.create(name="one")
    cloud.create(name="two")
    cloud = start()
    response = cloud.services.list_operations({"name": PARENT})
    assert [operation.done for operation in response.operations] == [True, True]
