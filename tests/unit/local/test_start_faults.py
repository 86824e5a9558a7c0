from __future__ import annotations

import pytest
from google.cloud import run_v2

from xgw.local.conditions import start_fault
from xgw.local.instances import CONTAINER_MISSING, HEALTH_CHECK_CONTAINER_ERROR, StartResult

HEAD = "Revision 'shop-1' is not ready and cannot serve traffic. "
REVISION = run_v2.Revision.pb(
    run_v2.Revision(
        name="projects/p/locations/l/services/shop/revisions/shop-1",
        containers=[run_v2.Container(image="app", ports=[run_v2.ContainerPort(container_port=9000)])],
    )
)


@pytest.mark.parametrize(
    ("reason", "message", "told"),
    [
        (HEALTH_CHECK_CONTAINER_ERROR, "It broke.", HEAD + "It broke."),
        (HEALTH_CHECK_CONTAINER_ERROR, HEAD + "It broke.", HEAD + "It broke."),
        (CONTAINER_MISSING, "", HEAD + "Image 'app' not found."),
        (CONTAINER_MISSING, "No such image.", HEAD + "No such image."),
    ],
)
def test_a_failed_start_is_told_once_under_the_revisions_name(reason, message, told):
    assert start_fault(REVISION, StartResult(False, reason, message)).message == told


def test_the_usual_text_names_the_containers_port():
    assert "PORT=9000 environment variable" in start_fault(REVISION, StartResult(False, "unknown")).message
