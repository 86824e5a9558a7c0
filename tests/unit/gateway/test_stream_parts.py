"""The parts of the stream that are pure, and what it may not cost."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_runtime.stream.packets import allowed, count, payload
from gateway_runtime.stream.rooms import room_key
from tests.helpers.gateway_process import ROOT

SAID = [
    "1",
    "3",
    "40",
    '40{"token":"x"}',
    "40/admin,",
    "41",
    '42["subscribe","x"]',
    '427["subscribe",["a","b"]]',
    '42/,1["x"]',
]
UNSAID = [
    "",
    "0",
    "2",
    "2probe",
    "5",
    "6",
    "4",
    "43[]",
    "44{}",
    '451-["x"]',
    "b4",
    "42",
    "42{}",
    '42/a,["x"]',
    "401",
    "40[]",
    "\n1",
    "1\n",
]


@pytest.mark.parametrize("packet", SAID)
def test_what_clients_of_socket_io_say_gets_through(packet: str) -> None:
    assert allowed(packet)


@pytest.mark.parametrize("packet", [*UNSAID, b"3", None, 3], ids=repr)
def test_what_no_client_has_a_reason_to_say_does_not(packet: object) -> None:
    assert not allowed(packet)


@given(st.binary(max_size=200))
def test_any_body_is_packets_that_are_allowed_or_none(body: bytes) -> None:
    found = payload(body)
    assert found is None or (len(found) == count(body) and all(map(allowed, found)))


@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
def test_no_tenant_and_room_are_anothers(tenant: str, room: str, other: str, others: str) -> None:
    assert (room_key(tenant, room) == room_key(other, others)) == ((tenant, room) == (other, others))


def test_a_cold_start_imports_nothing_of_socket_io() -> None:
    program = (
        "import sys\n"
        "from gateway_runtime.app import build\n"
        "from gateway_runtime.logs import Log\n"
        "from gateway_runtime.settings import read\n"
        "import gateway_runtime.server.run\n"
        "build(read({}), Log())\n"
        "heavy = {'socketio', 'engineio', 'wsproto', 'websockets', 'aiohttp', 'redis'}\n"
        "sys.exit(' '.join(heavy & {name.partition('.')[0] for name in sys.modules}) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
