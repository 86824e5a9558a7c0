from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from google.cloud import run_v2

from tests.helpers.local_cloud import PARENT, SUCCEEDED, LocalCloud

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("image", ["app@sha256:2", "gated"])
def test_an_operation_that_was_answered_survives_kill_nine(tmp_path, image):
    program = [sys.executable, "-m", "tests.helpers.local_cloud_process", str(tmp_path)]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        target = process.stdout.readline().strip()
        with grpc.insecure_channel(target) as channel:
            kind = run_v2.ServicesClient
            services = kind(transport=kind.get_transport_class("grpc")(channel=channel))
            service = run_v2.Service(template=run_v2.RevisionTemplate(containers=[run_v2.Container(image="app")]))
            made = services.create_service(parent=PARENT, service_id="shop", service=service).result(timeout=60)
            made.template.containers[0].image = image
            name = services.update_service(service=made).operation.name
            process.kill()
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
    cloud = LocalCloud(tmp_path)
    try:
        cloud.call(cloud.instances.gate.set)
        assert cloud.wait(name).HasField("response")
        after = cloud.get()
        assert after.template.containers[0].image == image
        assert after.terminal_condition.state == SUCCEEDED
        assert (after.generation, len(cloud.revision_names())) == (2, 2)
    finally:
        cloud.kill()
