from __future__ import annotations

import asyncio

import grpc
import pytest
from google.api_core import exceptions
from google.cloud import run_v2

from tests.helpers.local_cloud import PARENT, PATIENCE, SUCCEEDED, LocalCloud, condition, latest, short


def test_a_created_service_is_ready_with_its_defaults_filled_in(cloud: LocalCloud):
    service = cloud.create()
    container = service.template.containers[0]
    assert dict(container.resources.limits) == {"cpu": "1", "memory": "512Mi"}
    assert container.resources.cpu_idle
    assert container.ports[0].container_port == 8080
    assert service.template.max_instance_request_concurrency == 80
    assert service.template.timeout.total_seconds() == 300
    assert service.template.execution_environment == 0
    assert (service.generation, service.observed_generation, service.reconciling) == (1, 1, False)
    assert service.terminal_condition.type_ == "Ready"
    assert service.terminal_condition.state == SUCCEEDED
    assert {c.type_ for c in service.conditions} == {"RoutesReady", "ConfigurationsReady"}
    assert service.latest_ready_revision == service.latest_created_revision
    assert service.latest_ready_revision.startswith(f"{PARENT}/services/shop/revisions/shop-00001-")
    assert service.traffic == [latest()]
    assert service.uri == cloud.door.service_url("shop")
    assert list(service.urls) == [service.uri]
    assert service.etag
    assert service.uid
    assert service.create_time


def test_resources_given_without_cpu_idle_mean_cpu_always_allocated(cloud: LocalCloud):
    container = run_v2.Container(image="app", resources=run_v2.ResourceRequirements(limits={"memory": "1Gi"}))
    service = run_v2.Service(template=run_v2.RevisionTemplate(containers=[container]))
    made = cloud.services.create_service(parent=PARENT, service_id="shop", service=service).result(timeout=PATIENCE)
    resources = made.template.containers[0].resources
    assert dict(resources.limits) == {"cpu": "1", "memory": "1Gi"}
    assert not resources.cpu_idle


def test_the_operation_tells_the_service_in_response_and_metadata(cloud: LocalCloud):
    operation = cloud.begin_create()
    assert operation.result(timeout=PATIENCE).name == f"{PARENT}/services/shop"
    assert operation.metadata.name == f"{PARENT}/services/shop"
    assert isinstance(operation.metadata, run_v2.Service)


def test_the_revision_is_told_with_what_it_was_made_from(cloud: LocalCloud):
    name = short(cloud.create(max_instance_request_concurrency=7).latest_created_revision)
    revision = cloud.revision(name)
    assert revision.service == "shop"
    assert revision.containers[0].image == "app@sha256:1"
    assert revision.max_instance_request_concurrency == 7
    assert condition(revision, "Ready").state == SUCCEEDED
    assert condition(revision, "Active").state == SUCCEEDED
    assert not revision.reconciling


def test_an_instance_gets_what_the_template_says(cloud: LocalCloud):
    container = run_v2.Container(
        image="app",
        env=[run_v2.EnvVar(name="COLOUR", value="blue")],
        resources=run_v2.ResourceRequirements(limits={"memory": "1Gi", "cpu": "2"}),
        ports=[run_v2.ContainerPort(container_port=9000)],
    )
    service = run_v2.Service(
        template=run_v2.RevisionTemplate(containers=[container], timeout={"seconds": 60}),
    )
    cloud.services.create_service(parent=PARENT, service_id="shop", service=service).result(timeout=PATIENCE)
    (spec,) = cloud.instances.up.values()
    assert (spec.service, spec.image, dict(spec.env)) == ("shop", "app", {"COLOUR": "blue"})
    assert (spec.memory_bytes, spec.timeout_s, spec.concurrency, spec.port) == (2**30, 60.0, 80, 9000)


def test_services_are_listed_newest_first_in_pages(cloud: LocalCloud):
    for name in ("one", "two", "three"):
        cloud.create(name=name)
    request = run_v2.ListServicesRequest(parent=PARENT, page_size=2)
    pager = cloud.services.list_services(request=request)
    pages = [[short(service.name) for service in page.services] for page in pager.pages]
    assert pages == [["three", "two"], ["one"]]


def test_revisions_of_one_and_of_all_services_are_listed(cloud: LocalCloud):
    cloud.create(name="one")
    cloud.create(name="two")
    cloud.deploy("app@sha256:2", "two")
    assert len(cloud.revision_names("one")) == 1
    assert [name[:9] for name in cloud.revision_names("two")] == ["two-00001", "two-00002"]
    everything = cloud.revisions.list_revisions(parent=f"{PARENT}/services/-")
    assert len(list(everything)) == 3


def test_another_location_is_empty_and_cannot_be_written(cloud: LocalCloud):
    cloud.create()
    elsewhere = "projects/other/locations/europe-west1"
    assert list(cloud.services.list_services(parent=elsewhere)) == []
    with pytest.raises(exceptions.PermissionDenied):
        cloud.services.create_service(
            parent=elsewhere,
            service_id="shop",
            service=run_v2.Service(template=run_v2.RevisionTemplate(containers=[run_v2.Container(image="app")])),
        )


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda c: c.services.get_service(name=f"{PARENT}/services/none"), exceptions.NotFound),
        (lambda c: c.services.get_service(name="nonsense"), exceptions.InvalidArgument),
        (lambda c: c.services.delete_service(name=f"{PARENT}/services/none"), exceptions.NotFound),
        (lambda c: c.revisions.get_revision(name=f"{PARENT}/services/shop/revisions/x"), exceptions.NotFound),
        (lambda c: c.revisions.list_revisions(parent=f"{PARENT}/services/none"), exceptions.NotFound),
        (lambda c: list(c.services.list_services(parent="projects/p/locations/-")), exceptions.InvalidArgument),
        (lambda c: c.update(run_v2.Service(name=f"{PARENT}/services/none")), exceptions.NotFound),
        (lambda c: c.create(), exceptions.AlreadyExists),
        (lambda c: c.create(name="9lives"), exceptions.InvalidArgument),
        (lambda c: c.create(name="a" * 50), exceptions.InvalidArgument),
        (lambda c: c.create(name="ends-"), exceptions.InvalidArgument),
        (lambda c: c.services.get_iam_policy({"resource": f"{PARENT}/services/shop"}), exceptions.MethodNotImplemented),
    ],
)
def test_requests_that_cannot_be_served_get_their_status(cloud: LocalCloud, call, error):
    cloud.create()
    with pytest.raises(error):
        call(cloud)


def test_a_deleted_service_is_gone_with_its_revisions_and_instances(cloud: LocalCloud):
    service = cloud.create()
    gone = cloud.services.delete_service(name=service.name).result(timeout=PATIENCE)
    assert gone.delete_time
    with pytest.raises(exceptions.NotFound):
        cloud.get()
    assert cloud.instances.up == {}
    assert "shop" not in cloud.door.routes
    again = cloud.create()
    assert again.uid != service.uid
    assert again.generation == 1


def test_deleting_with_a_stale_etag_is_refused(cloud: LocalCloud):
    old = cloud.create().etag
    cloud.deploy("app@sha256:2")
    with pytest.raises(exceptions.Aborted):
        cloud.services.delete_service(request=run_v2.DeleteServiceRequest(name=f"{PARENT}/services/shop", etag=old))


def test_validating_a_deletion_deletes_nothing(cloud: LocalCloud):
    cloud.create()
    request = run_v2.DeleteServiceRequest(name=f"{PARENT}/services/shop", validate_only=True)
    assert cloud.services.delete_service(request=request).done()
    assert cloud.get().terminal_condition.state == SUCCEEDED


def test_allow_missing_creates_on_update(cloud: LocalCloud):
    service = run_v2.Service(
        name=f"{PARENT}/services/shop",
        template=run_v2.RevisionTemplate(containers=[run_v2.Container(image="app")]),
    )
    assert cloud.update(service, allow_missing=True).generation == 1


def test_the_asynchronous_stock_client_works_too(cloud: LocalCloud):
    async def deploy() -> run_v2.Service:
        kind = run_v2.ServicesAsyncClient
        async with grpc.aio.insecure_channel(cloud.target) as channel:
            client = kind(transport=kind.get_transport_class("grpc_asyncio")(channel=channel))
            service = run_v2.Service(template=run_v2.RevisionTemplate(containers=[run_v2.Container(image="app")]))
            operation = await client.create_service(parent=PARENT, service_id="shop", service=service)
            return await operation.result(timeout=PATIENCE)

    assert asyncio.run(deploy()).terminal_condition.state == SUCCEEDED


def test_every_rpc_is_counted_by_its_full_name(cloud: LocalCloud):
    cloud.create()
    cloud.get()
    with pytest.raises(exceptions.MethodNotImplemented):
        cloud.services.get_iam_policy({"resource": "x"})
    counts = cloud.server.rpc_counts
    assert counts["google.cloud.run.v2.Services/CreateService"] == 1
    assert counts["google.cloud.run.v2.Services/GetService"] == 1
    assert counts["google.cloud.run.v2.Services/GetIamPolicy"] == 1
    assert "google.cloud.run.v2.Services/UpdateService" not in counts
