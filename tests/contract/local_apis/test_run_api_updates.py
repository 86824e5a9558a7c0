from __future__ import annotations

import re

import pytest
from google.api_core import exceptions
from google.cloud import run_v2

from tests.helpers.local_cloud import FAILED, PARENT, RECONCILING, LocalCloud, eventually, latest, short, to


def test_a_template_change_makes_a_revision_that_takes_the_traffic(cloud: LocalCloud):
    first = short(cloud.create().latest_created_revision)
    service = cloud.deploy("app@sha256:2")
    second = short(service.latest_ready_revision)
    assert re.fullmatch(r"shop-00002-[a-z]{3}", second)
    assert cloud.shares() == [(second, 100, "")]
    assert service.generation == service.observed_generation == 2
    eventually(lambda: first not in cloud.instances.up)
    assert [c.revision_reason.name for c in cloud.revision(first).conditions if c.type_ == "Active"] == ["RETIRED"]


@pytest.mark.parametrize(
    "change",
    [
        lambda service: service.labels.update({"team": "a"}),
        lambda service: setattr(service, "description", "words"),
        lambda service: setattr(service.scaling, "min_instance_count", 1),
        lambda service: setattr(service, "traffic", [latest()]),
        lambda service: None,
    ],
)
def test_an_unchanged_template_makes_no_revision(cloud: LocalCloud, change):
    cloud.create()
    service = cloud.get()
    change(service)
    updated = cloud.update(service)
    assert len(cloud.revision_names()) == 1
    assert not updated.reconciling
    assert updated.generation == updated.observed_generation


def test_writing_back_what_was_read_changes_neither_generation_nor_etag(cloud: LocalCloud):
    service = cloud.create()
    updated = cloud.update(service)
    assert (updated.generation, updated.etag) == (1, service.etag)


def test_a_generated_name_of_the_longest_service_fits(cloud: LocalCloud):
    revision = short(cloud.create(name="s" * 49).latest_created_revision)
    assert len(revision) <= 63


def test_an_explicit_revision_name_is_used(cloud: LocalCloud):
    cloud.create()
    service = cloud.get()
    service.template.containers[0].image = "app@sha256:2"
    service.template.revision = "shop-blue"
    updated = cloud.update(service)
    assert short(updated.latest_ready_revision) == "shop-blue"
    assert updated.template.revision == "shop-blue"


def test_an_echoed_old_name_with_a_changed_template_is_refused(cloud: LocalCloud):
    cloud.create(revision="shop-blue")
    service = cloud.get()
    service.template.containers[0].image = "app@sha256:2"
    message = "Revision named 'shop-blue' with different configuration already exists"
    with pytest.raises(exceptions.AlreadyExists, match=message) as refused:
        cloud.update(service)
    assert refused.value.code == 409
    with pytest.raises(exceptions.AlreadyExists, match=message):
        cloud.update(service, "template.containers")
    assert cloud.revision_names() == ["shop-blue"]
    assert cloud.get().generation == 1


def test_the_same_name_with_the_same_configuration_makes_nothing(cloud: LocalCloud):
    cloud.create(revision="shop-blue")
    service = cloud.get()
    service.description = "words"
    assert short(cloud.update(service).latest_ready_revision) == "shop-blue"
    assert cloud.revision_names() == ["shop-blue"]


def test_clearing_the_name_alone_makes_nothing(cloud: LocalCloud):
    cloud.create(revision="shop-blue")
    service = cloud.get()
    service.template.revision = ""
    cloud.update(service)
    assert cloud.revision_names() == ["shop-blue"]


def test_naming_an_old_revision_with_its_own_configuration_brings_it_back(cloud: LocalCloud):
    cloud.create(revision="shop-blue")
    cloud.deploy("app@sha256:2")
    service = cloud.get()
    service.template.containers[0].image = "app@sha256:1"
    service.template.revision = "shop-blue"
    updated = cloud.update(service)
    assert short(updated.latest_created_revision) == short(updated.latest_ready_revision) == "shop-blue"
    assert len(cloud.revision_names()) == 2
    assert cloud.shares() == [("shop-blue", 100, "")]


@pytest.mark.parametrize("name", ["other-blue", "shop", "shop-Blue", "shop-" + "x" * 60])
def test_an_illegal_revision_name_is_refused(cloud: LocalCloud, name):
    cloud.create()
    service = cloud.get()
    service.template.revision = name
    service.template.containers[0].image = "app@sha256:2"
    with pytest.raises(exceptions.InvalidArgument):
        cloud.update(service)


def test_a_stale_etag_is_refused(cloud: LocalCloud):
    stale = cloud.create()
    cloud.deploy("app@sha256:2")
    stale.description = "words"
    with pytest.raises(exceptions.Aborted):
        cloud.update(stale)
    stale.etag = ""
    assert cloud.update(stale, "description").description == "words"


def test_a_mask_changes_only_what_it_names(cloud: LocalCloud):
    cloud.create()
    wish = run_v2.Service(name=f"{PARENT}/services/shop", description="words", labels={"team": "a"})
    service = cloud.update(wish, "description")
    assert service.description == "words"
    assert not service.labels
    assert service.template.containers[0].image == "app@sha256:1"


def test_a_masked_field_that_is_unset_is_cleared(cloud: LocalCloud):
    cloud.create()
    service = cloud.get()
    service.labels = {"team": "a"}
    cloud.update(service)
    assert not cloud.update(run_v2.Service(name=f"{PARENT}/services/shop"), "labels").labels


def test_a_mask_reaches_into_the_template(cloud: LocalCloud):
    cloud.create()
    wish = run_v2.Service(name=f"{PARENT}/services/shop", template={"timeout": {"seconds": 60}})
    service = cloud.update(wish, "template.timeout")
    assert service.template.timeout.total_seconds() == 60
    assert service.template.containers[0].image == "app@sha256:1"
    assert len(cloud.revision_names()) == 2


def test_a_masked_traffic_change_ignores_an_echoed_changed_template(cloud: LocalCloud):
    first = short(cloud.create().latest_created_revision)
    service = cloud.get()
    service.template.containers[0].image = "ignored"
    service.traffic = [to(first, 100)]
    updated = cloud.update(service, "traffic")
    assert updated.template.containers[0].image == "app@sha256:1"
    assert cloud.revision_names() == [first]


@pytest.mark.parametrize("path", ["scaling.minInstanceCount", "nonsense", "template.containers.image"])
def test_an_unknown_mask_path_is_refused_by_name(cloud: LocalCloud, path):
    cloud.create()
    with pytest.raises(exceptions.InvalidArgument, match=re.escape(path)):
        cloud.update(cloud.get(), path)


def test_without_a_mask_every_mutable_field_is_replaced(cloud: LocalCloud):
    cloud.create(max_instance_request_concurrency=7)
    service = cloud.get()
    service.labels = {"team": "a"}
    cloud.update(service)
    bare = run_v2.Service(
        name=service.name, template=run_v2.RevisionTemplate(containers=[run_v2.Container(image="app")])
    )
    replaced = cloud.update(bare)
    assert not replaced.labels
    assert replaced.template.max_instance_request_concurrency == 80


def test_validate_only_fills_in_defaults_and_changes_nothing(cloud: LocalCloud):
    before = cloud.create()
    journal = len(cloud.journal)
    wish = run_v2.Service(
        name=before.name, template=run_v2.RevisionTemplate(containers=[run_v2.Container(image="new")])
    )
    operation = cloud.begin_update(wish, validate_only=True)
    assert operation.done()
    shown = operation.result()
    assert shown.template.containers[0].image == "new"
    assert shown.template.containers[0].resources.limits["memory"] == "512Mi"
    assert (shown.generation, shown.etag) == (1, before.etag)
    assert cloud.get() == before
    assert len(cloud.journal) == journal
    assert cloud.services.list_operations({"name": PARENT}).operations[0].done


def test_validate_only_on_create_makes_no_service_and_opens_no_port(cloud: LocalCloud):
    request = run_v2.CreateServiceRequest(
        parent=PARENT,
        service_id="shop",
        service=run_v2.Service(template=run_v2.RevisionTemplate(containers=[run_v2.Container(image="new")])),
        validate_only=True,
    )
    assert cloud.services.create_service(request=request).result().traffic == [latest()]
    assert list(cloud.services.list_services(parent=PARENT)) == []
    assert cloud.door.ports == {}


def test_validate_only_refuses_what_an_update_would(cloud: LocalCloud):
    service = cloud.create()
    service.template.containers[0].resources.limits["memory"] = "64Mi"
    with pytest.raises(exceptions.InvalidArgument, match="between 128Mi and 4Gi"):
        cloud.begin_update(service, validate_only=True)


def test_a_service_says_that_it_is_reconciling_while_it_is(cloud: LocalCloud):
    first = cloud.create()
    service = cloud.get()
    service.template.containers[0].image = "gated"
    operation = cloud.begin_update(service)
    eventually(lambda: cloud.journal[-1][0] == "start")
    meanwhile = cloud.get()
    assert meanwhile.reconciling
    assert meanwhile.terminal_condition.state == RECONCILING
    assert (meanwhile.generation, meanwhile.observed_generation) == (2, 1)
    assert meanwhile.latest_ready_revision == first.latest_ready_revision
    assert meanwhile.latest_created_revision != first.latest_created_revision
    assert cloud.shares() == [(short(first.latest_ready_revision), 100, "")]
    assert operation.metadata.reconciling
    cloud.call(cloud.instances.gate.set)
    assert not operation.result(timeout=60).reconciling


def test_updates_of_one_service_wait_for_each_other_and_others_do_not(cloud: LocalCloud):
    cloud.create()
    service = cloud.get()
    service.template.containers[0].image = "gated"
    slow = cloud.begin_update(service)
    service = cloud.get()
    service.template.containers[0].image = "app@sha256:3"
    queued = cloud.begin_update(service)
    cloud.create(name="other")
    assert not queued.done()
    cloud.call(cloud.instances.gate.set)
    assert slow.result(timeout=60).observed_generation == 2
    assert queued.result(timeout=60).observed_generation == 3
    third = short(cloud.get().latest_ready_revision)
    assert cloud.shares() == [(third, 100, "")]
    starts = [name for kind, name, *_ in cloud.journal if kind == "start" and name.startswith("shop")]
    assert list(dict.fromkeys(starts)) == cloud.revision_names()


def test_asking_again_for_what_is_under_way_waits_for_it(cloud: LocalCloud):
    cloud.create()
    service = cloud.get()
    service.template.containers[0].image = "gated"
    service.template.revision = "shop-slow"
    cloud.begin_update(service)
    service.etag = ""
    again = cloud.begin_update(service)
    assert not again.done()
    cloud.call(cloud.instances.gate.set)
    assert short(again.result(timeout=60).latest_ready_revision) == "shop-slow"


def test_asking_again_for_what_failed_tells_the_failure_again(cloud: LocalCloud):
    cloud.create()
    service = cloud.get()
    service.template.containers[0].image = "crash"
    for _ in range(2):
        service.etag = ""
        with pytest.raises(exceptions.GoogleAPICallError, match="failed to start and listen"):
            cloud.update(service)
    assert cloud.get().terminal_condition.state == FAILED
    assert len(cloud.revision_names()) == 2
