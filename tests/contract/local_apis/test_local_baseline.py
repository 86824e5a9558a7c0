from __future__ import annotations

import pytest
from google.cloud import run_v2

from tests.helpers.local_cloud import PARENT, SUCCEEDED, LocalCloud
from xgw.errors import Refused
from xgw.local.baseline import deploy_baseline
from xgw.local.images import GATEWAY_RUNTIME
from xgw.plan.baseline import DEFAULT_NAMES
from xgw.plan.model import CRM, GATEWAY

GATEWAY_NAME, CRM_NAME = DEFAULT_NAMES[GATEWAY], DEFAULT_NAMES[CRM]


def deploy(cloud: LocalCloud) -> bool:
    return cloud.run(deploy_baseline(cloud.server, home=cloud.home))


def variables(service: run_v2.Service) -> dict[str, str]:
    return {variable.name: variable.value for variable in service.template.containers[0].env}


def test_the_documents_current_state_is_deployed(cloud: LocalCloud):
    assert deploy(cloud)
    for name in DEFAULT_NAMES.values():
        service = cloud.get(name)
        assert service.terminal_condition.state == SUCCEEDED
        container = service.template.containers[0]
        assert container.image == GATEWAY_RUNTIME
        assert "@sha256:" in container.image
        assert container.resources.cpu_idle
        assert container.resources.limits["memory"] == ("1Gi" if name == GATEWAY_NAME else "512Mi")
        assert variables(service)["LOG_FORMAT"] == "text"
    assert len(list(cloud.services.list_services(parent=PARENT))) == 4


def test_the_services_are_wired_to_each_other(cloud: LocalCloud):
    deploy(cloud)
    gateway, crm = variables(cloud.get(GATEWAY_NAME)), variables(cloud.get(CRM_NAME))
    assert gateway["ROLE"] == "gateway"
    assert gateway["UPSTREAM_CRM_URL"] == cloud.get(CRM_NAME).uri
    assert {"UPSTREAM_SLACK_URL", "UPSTREAM_GMAIL_URL"} <= gateway.keys()
    assert crm["CONTACTS_STORE"].startswith(f"sqlite://{cloud.home}")
    assert (crm["ROLE"], crm["AUTH_ISSUER"]) == ("crm", "xgw-local")


def test_it_is_deployed_once_in_the_life_of_a_state(cloud: LocalCloud):
    deploy(cloud)
    cloud.services.delete_service(name=f"{PARENT}/services/{CRM_NAME}").result(timeout=60)
    assert not deploy(cloud)
    assert len(list(cloud.services.list_services(parent=PARENT))) == 3


def test_a_half_deployed_baseline_is_completed(cloud: LocalCloud):
    cloud.create(name=GATEWAY_NAME)
    deploy(cloud)
    assert cloud.get(GATEWAY_NAME).generation == 1
    assert cloud.get(CRM_NAME).terminal_condition.state == SUCCEEDED


def test_a_service_that_never_became_ready_is_made_anew(cloud: LocalCloud):
    cloud.instances.fail_all = True
    with pytest.raises(Refused) as refused:
        deploy(cloud)
    assert "failed to start" in refused.value.cause
    cloud.instances.fail_all = False
    assert deploy(cloud)
    assert cloud.get(GATEWAY_NAME).terminal_condition.state == SUCCEEDED
