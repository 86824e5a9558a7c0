"""Polling clients that say, or are told, much at once, and those who stay away."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.helpers.gateway_process import Running
from tests.helpers.stream_client import Polling, Raw, counted, masked, raw, stated, until
from tests.helpers.stream_stage import neighbour_of, small_gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with small_gateway(tmp_path_factory.mktemp("gateway")) as process:
        yield process


@pytest.fixture
def neighbour(gateway: Running) -> Iterator[Raw]:
    with neighbour_of(gateway) as found:
        yield found


def test_who_sends_too_much_is_told_so_and_closed(gateway: Running, neighbour: Raw) -> None:
    with raw(gateway) as found:
        found.connect()
        found.wire.sendall(masked(b'42["keepalive"]') * 400)
        said = json.loads(found.text().removeprefix("42"))
        assert (said[0], said[1]["code"], said[1]["reconnect"]) == ("closing", "MESSAGE_RATE_EXCEEDED", False)
        assert found.text() == "41"
        assert found.end() in (4429, 0)
    with Polling(gateway) as client:
        client.connect()
        assert client.post("\x1e".join(['42["keepalive"]'] * 180)).status_code == 200
        # 200 in all, and 50 more for each second in between. The poll tells it; an error would be heard first.
        assert client.post("\x1e".join(["3"] * 199)).status_code == 200
        said = client.poll().text.split("\x1e")
        assert json.loads(said[0].removeprefix("42"))[1]["code"] == "MESSAGE_RATE_EXCEEDED"
        assert said[1] == "41"


def test_a_poll_is_answered_with_sixteen_packets_and_the_next_with_what_is_left(
    gateway: Running, neighbour: Raw
) -> None:
    with Polling(gateway) as client:
        client.connect()
        assert client.post("\x1e".join(f'42{number}["keepalive"]' for number in range(40))).status_code == 200
        polls = [client.poll().text.split("\x1e") for _ in range(3)]
        assert [len(poll) for poll in polls] == [16, 16, 8]
        assert [packet for poll in polls for packet in poll] == [f'43{number}[{{"ok":true}}]' for number in range(40)]


def test_a_poll_of_300_000_packets_ends_that_session(gateway: Running, neighbour: Raw) -> None:
    with Polling(gateway) as client:
        client.connect()
        counted(gateway, 2)
        assert client.post(b"\x1e".join([b"3"] * 300_000)).status_code == 200
        assert "MESSAGE_RATE_EXCEEDED" in client.poll().text
        counted(gateway, 1)
    with Polling(gateway) as client:  # not let in: there is nobody to tell
        assert client.post(b"\x1e".join([b"3"] * 300_000)).status_code == 429
    for body in (b"\xff", b"", b"d=4", b"42[}", b"x" * 1_000_001, b"3\x1e", b"bAAAA"):
        with Polling(gateway) as client:
            client.connect()
            assert client.post(body).status_code in (200, 400, 413), body[:10]
            counted(gateway, 1)


def test_who_never_sends_connect_holds_no_place_and_is_dropped(gateway: Running, neighbour: Raw) -> None:
    began = time.monotonic()
    with raw(gateway) as found, Polling(gateway) as client:
        assert client.sid
        assert stated(gateway)["connections"] == 1
        assert found.end() == 4408
        assert time.monotonic() - began >= 1.9, "ten seconds, usually"
        until(lambda: client.poll().status_code == 400 or "1" in client.poll().text)


def test_a_polling_client_does_one_thing_of_a_kind_at_a_time(gateway: Running) -> None:
    with Polling(gateway) as client:
        client.connect()
        counted(gateway, 1)
        assert client.post("41").status_code == 200
        counted(gateway, 0)
        assert client.post("3").status_code in (200, 400)
        until(lambda: client.poll().status_code == 400)
