import json
import socket

import pytest

from xgw.errors import XgwError
from xgw.local import images, ports
from xgw.local.promised_ports import PromisedPorts


def test_every_image_resolves_by_name_tag_and_digest():
    for name, program in images.PROGRAMS.items():
        assert images.resolve(name) == program
        assert images.resolve(f"{name}:latest") == program
        assert images.resolve(images.pinned(name)) == program


def test_an_unknown_name_or_digest_is_no_image():
    assert images.resolve("gcr.io/other/thing") is None
    assert images.resolve("xgw.local/gateway-runtime@sha256:" + "0" * 64) is None
    assert images.resolve("localhost:5000/gateway-runtime") is None


def test_the_digest_is_constant_for_a_version():
    assert images.digest("a", "1") == images.digest("a", "1") != images.digest("a", "2")
    assert len(images.GATEWAY_RUNTIME.partition("@sha256:")[2]) == 64


def test_a_promised_port_is_the_same_after_a_restart(tmp_path):
    first = PromisedPorts(tmp_path / "ports.json")
    service, tag = first.port("s"), first.port("s", "green")
    assert service != tag
    first.close()
    second = PromisedPorts(tmp_path / "ports.json")
    second.hold_all()
    assert (second.port("s"), second.port("s", "green")) == (service, tag)
    second.close()


def test_a_promised_port_that_somebody_took_is_said_and_not_replaced(tmp_path):
    first = PromisedPorts(tmp_path / "ports.json")
    port = first.port("s")
    first.close()
    with ports.listening(port):
        second = PromisedPorts(tmp_path / "ports.json")
        with pytest.raises(XgwError) as caught:
            second.hold_all()
        assert str(port) in caught.value.message
        assert "s" in caught.value.message
        assert "reset" in caught.value.fix


def test_the_port_of_a_tag_that_is_gone_may_be_replaced(tmp_path):
    held = PromisedPorts(tmp_path / "ports.json")
    port = held.port("s", "green")
    held.release("s", "green")
    with ports.listening(port):
        assert held.port("s", "green") != port
    held.close()


def test_a_deleted_service_is_promised_nothing(tmp_path):
    held = PromisedPorts(tmp_path / "ports.json")
    held.port("s")
    held.port("s", "green")
    held.port("other")
    held.withdraw("s")
    assert set(json.loads((tmp_path / "ports.json").read_text())["open"]) == {"other"}
    held.close()


def test_a_picked_port_is_free():
    port = ports.pick()
    with socket.create_server(("127.0.0.1", port)):
        assert not ports.is_free(port)
