from __future__ import annotations

import time

import pytest
from google.api_core import exceptions

from tests.helpers.local_cloud import PARENT, LocalCloud


def test_waiting_answers_as_soon_as_the_operation_is_done(cloud: LocalCloud):
    name = cloud.begin_create("gated").operation.name
    cloud.loop.call_soon_threadsafe(cloud.loop.call_later, 0.2, cloud.instances.gate.set)
    began = time.monotonic()
    assert cloud.wait(name).done
    assert time.monotonic() - began < 25, "it waited to the end of its time"


def test_waiting_ends_at_its_own_timeout(cloud: LocalCloud):
    name = cloud.begin_create("gated").operation.name
    assert not cloud.wait(name, nanos=50_000_000).done


@pytest.mark.parametrize("call", ["get_operation", "wait_operation", "delete_operation"])
def test_an_unknown_operation_is_not_found(cloud: LocalCloud, call):
    with pytest.raises(exceptions.NotFound):
        getattr(cloud.services, call)({"name": f"{PARENT}/operations/none"})


def test_a_finished_operation_can_be_forgotten_and_one_in_progress_cannot(cloud: LocalCloud):
    operation = cloud.begin_create("gated")
    name = operation.operation.name
    with pytest.raises(exceptions.FailedPrecondition):
        cloud.services.delete_operation({"name": name})
    cloud.call(cloud.instances.gate.set)
    operation.result(timeout=60)
    cloud.services.delete_operation({"name": name})
    with pytest.raises(exceptions.NotFound):
        cloud.services.get_operation({"name": name})


def test_cancelling_is_not_implemented_as_on_cloud_run(cloud: LocalCloud):
    with pytest.raises(exceptions.MethodNotImplemented):
        cloud.operations.cancel_operation("x")


def test_operations_are_listed_in_pages(cloud: LocalCloud):
    for name in ("one", "two", "three"):
        cloud.create(name=name)
    first = cloud.services.list_operations({"name": PARENT, "page_size": 2})
    second = cloud.services.list_operations({"name": PARENT, "page_size": 2, "page_token": first.next_page_token})
    assert (len(first.operations), len(second.operations), second.next_page_token) == (2, 1, "")
    with pytest.raises(exceptions.InvalidArgument):
        cloud.services.list_operations({"name": PARENT, "filter": "done:true"})
