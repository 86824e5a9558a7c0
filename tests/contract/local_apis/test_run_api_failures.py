from __future__ import annotations

import pytest
from google.api_core import exceptions
from google.cloud import run_v2

from tests.helpers.local_cloud import FAILED, PARENT, SUCCEEDED, LocalCloud, condition, latest, short, to

REASON = run_v2.Condition.CommonReason
REVISION_REASON = run_v2.Condition.RevisionReason


def test_a_revision_that_does_not_start_fails_the_service_and_gets_no_traffic(cloud: LocalCloud):
    good = cloud.create()
    operation_error = "failed to start and listen on the port defined provided by the PORT=8080 environment variable"
    with pytest.raises(exceptions.GoogleAPICallError, match=operation_error):
        cloud.deploy("crash")
    service = cloud.get()
    assert service.terminal_condition.state == FAILED
    assert service.terminal_condition.reason == REASON.REVISION_FAILED
    assert operation_error in service.terminal_condition.message
    assert condition(service, "ConfigurationsReady").state == FAILED
    assert condition(service, "RoutesReady").state == SUCCEEDED
    assert not service.reconciling
    assert service.latest_ready_revision == good.latest_ready_revision
    assert service.latest_created_revision != good.latest_created_revision
    assert (service.generation, service.observed_generation) == (2, 1)
    assert cloud.shares() == [(short(good.latest_ready_revision), 100, "")]
    bad = cloud.revision(short(service.latest_created_revision))
    ready = condition(bad, "Ready")
    assert (ready.state, ready.revision_reason) == (FAILED, REVISION_REASON.HEALTH_CHECK_CONTAINER_ERROR)
    assert ready.message.startswith(f"Revision '{short(bad.name)}' is not ready and cannot serve traffic. The user-")


def interface(network: str, subnetwork: str) -> run_v2.VpcAccess:
    return run_v2.VpcAccess(network_interfaces=[{"network": network, "subnetwork": subnetwork}])


@pytest.mark.parametrize(
    ("access", "ready"),
    [
        (interface("default", "default"), True),
        (interface("projects/p/global/networks/default", ""), True),
        (interface("other", "default"), False),
        (interface("default", "other"), False),
        (run_v2.VpcAccess(connector="projects/p/locations/r/connectors/c"), False),
    ],
)
def test_a_revision_on_a_network_that_is_not_there_does_not_become_ready(cloud: LocalCloud, access, ready):
    cloud.create()
    service = cloud.get()
    service.template.vpc_access = access
    if ready:
        cloud.update(service)
        return
    with pytest.raises(exceptions.GoogleAPICallError, match="not found: the embedded cloud has the network 'default'"):
        cloud.update(service)
    bad = cloud.revision(short(cloud.get().latest_created_revision))
    assert condition(bad, "Ready").reason == REASON.VPC_NETWORK_NOT_FOUND


@pytest.mark.parametrize(
    ("image", "reason"),
    [("missing", REASON.CONTAINER_MISSING), ("secret", REASON.SECRETS_ACCESS_CHECK_FAILED)],
)
def test_what_the_revision_lacks_is_told_as_its_reason(cloud: LocalCloud, image, reason):
    cloud.create()
    service = cloud.get()
    container = service.template.containers[0]
    container.image = image
    if image == "secret":
        source = run_v2.EnvVarSource(secret_key_ref=run_v2.SecretKeySelector(secret="s", version="1"))
        container.env.append(run_v2.EnvVar(name="KEY", value_source=source))
    with pytest.raises(exceptions.GoogleAPICallError):
        cloud.update(service)
    bad = cloud.revision(short(cloud.get().latest_created_revision))
    assert condition(bad, "Ready").reason == reason
    assert cloud.get().terminal_condition.reason == REASON.REVISION_FAILED


def test_a_first_revision_that_fails_leaves_a_service_without_traffic(cloud: LocalCloud):
    with pytest.raises(exceptions.GoogleAPICallError):
        cloud.create("crash")
    service = cloud.get()
    assert service.terminal_condition.state == FAILED
    assert (service.latest_ready_revision, list(service.traffic_statuses), service.observed_generation) == ("", [], 0)
    assert cloud.shares() == []
    fixed = cloud.deploy("app@sha256:2")
    assert fixed.terminal_condition.state == SUCCEEDED
    assert fixed.observed_generation == 2


def test_traffic_can_be_moved_while_the_latest_revision_is_a_failed_one(cloud: LocalCloud):
    cloud.create()
    cloud.deploy("app@sha256:2")
    first, second = cloud.revision_names()
    with pytest.raises(exceptions.GoogleAPICallError):
        cloud.deploy("crash")
    service = cloud.update(run_v2.Service(name=f"{PARENT}/services/shop", traffic=[to(first, 100)]), "traffic")
    assert cloud.shares() == [(first, 100, "")]
    assert service.observed_generation == service.generation
    assert short(service.latest_ready_revision) == second
    assert service.terminal_condition.state == FAILED
    assert condition(service, "RoutesReady").state == SUCCEEDED


def test_a_failed_canary_leaves_traffic_and_tags_alone(cloud: LocalCloud):
    first = short(cloud.create().latest_ready_revision)
    service = cloud.get()
    service.template.containers[0].image = "crash"
    service.template.revision = "shop-next"
    service.traffic = [to(first, 100), to("shop-next", 0, "next")]
    with pytest.raises(exceptions.GoogleAPICallError):
        cloud.update(service)
    assert cloud.shares() == [(first, 100, "")]
    assert [status.tag for status in cloud.get().traffic_statuses] == [""]


def test_a_tag_left_on_a_failed_revision_holds_up_nothing(cloud: LocalCloud):
    first = short(cloud.create().latest_ready_revision)
    service = cloud.get()
    service.template.containers[0].image = "crash"
    service.template.revision = "shop-next"
    service.traffic = [latest(), to("shop-next", 0, "next")]
    with pytest.raises(exceptions.GoogleAPICallError):
        cloud.update(service)
    fixed = cloud.deploy("app@sha256:2")
    assert fixed.terminal_condition.state == SUCCEEDED
    assert [target.tag for target in fixed.traffic] == ["", "next"]
    assert [status.tag for status in fixed.traffic_statuses] == [""]
    assert first not in [revision for revision, *_ in cloud.shares()]


def test_a_defect_of_the_embedded_cloud_ends_the_operation_with_an_internal_error(cloud: LocalCloud):
    cloud.create()
    with pytest.raises(exceptions.GoogleAPICallError, match="the supervisor itself broke"):
        cloud.deploy("broken")
    service = cloud.get()
    assert not service.reconciling
    assert service.terminal_condition.reason == REASON.INTERNAL


@pytest.mark.parametrize("which", ["latest", "serving", "tagged", "wished"])
def test_a_revision_that_is_needed_cannot_be_deleted(cloud: LocalCloud, which):
    cloud.create()
    cloud.deploy("app@sha256:2")
    first, second = cloud.revision_names()
    name = f"{PARENT}/services/shop"
    shares = {
        "latest": [to(first, 100)],
        "serving": [to(first, 100)],
        "tagged": [to(second, 100), to(first, 0, "old")],
        "wished": [to(first, 1), to(second, 99)],
    }
    cloud.update(run_v2.Service(name=name, traffic=shares[which]), "traffic")
    doomed = second if which == "latest" else first
    with pytest.raises(exceptions.FailedPrecondition):
        cloud.revisions.delete_revision(name=f"{name}/revisions/{doomed}")
    assert len(cloud.revision_names()) == 2


def test_a_revision_nobody_needs_can_be_deleted(cloud: LocalCloud):
    cloud.create()
    cloud.deploy("app@sha256:2")
    first, second = cloud.revision_names()
    gone = cloud.revisions.delete_revision(name=f"{PARENT}/services/shop/revisions/{first}").result(timeout=60)
    assert isinstance(gone, run_v2.Revision)
    assert cloud.revision_names() == [second]
    assert first not in cloud.instances.up
