"""The real-time stream as a browser's library sees it: the npm package socket.io-client, against real gateways and Valkey."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import socketio

from tests.helpers.gateway_process import Running, running
from tests.helpers.redis_server import RedisServer
from tests.helpers.socketio_node import CLOSE, node_client
from tests.helpers.stream_client import Raw, counted, until, user_token
from tests.helpers.tokens import TENANT, bearer

ORIGIN = "https://app.example.com"


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory, server: RedisServer, crm: Running) -> Iterator[list[Running]]:
    """Two instances of one gateway."""
    folder = tmp_path_factory.mktemp("gateways")
    env = {
        "REDIS_URL": server.url,
        "REDIS_TIMEOUT": "1",
        "CORS_ALLOWED_ORIGINS": ORIGIN,
        "WS_POLL_GAP": "3",  # a polling library that is told to close may go without a word
        "UPSTREAM_CRM_URL": f"http://127.0.0.1:{crm.port}",
    }
    with running(folder, **env) as one, running(folder, **env) as two:
        for gateway in (one, two):
            until(lambda gateway=gateway: gateway.ask("GET", "/health/deep").json()["redis"]["status"] == "ok")  # type: ignore[misc]
        yield [one, two]


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]], ids=" then ".join)
def test_it_connects_subscribes_and_receives(gateways: list[Running], transports: list[str]) -> None:
    one, two = gateways
    with node_client(one.port, user_token("node"), *transports, origin=ORIGIN) as client:
        assert client.until("connect")["transport"] in transports
        if len(transports) > 1:
            assert client.until("upgrade")["transport"] == "websocket"
        assert client.ask("subscribe", "contacts") == {"ok": True, "rooms": ["contacts"]}
        counted(one, 1)
        for gateway, name in ((one, "Ada"), (two, "Ben")):  # whichever instance the write goes through
            body = json.dumps(
                {"type": "person", "name": name, "email": f"{name}-{'-'.join(transports)}@example.com"}
            ).encode()
            answer = gateway.ask(
                "POST", "/api/v2/crm/contacts", "Content-Type: application/json", body=body, token=bearer()
            )
            assert answer.status == 201, answer.body
            assert client.until("contacts.changed")["data"] == [{"change": "created", "id": None}]
        assert client.ask("unsubscribe", ["contacts"]) == {"ok": True, "rooms": []}
        client.tell(CLOSE)
        assert client.until("disconnect")["reason"] == "io client disconnect"
    counted(one, 0)


@pytest.mark.parametrize("transports", [["polling"], ["polling", "websocket"]], ids=" then ".join)
def test_all_it_says_when_it_connects_is_taken_however_many_packets_that_are(
    gateways: list[Running], transports: list[str]
) -> None:
    rooms = [f"room{number:02}" for number in range(20)]
    token = user_token("twenty")
    greet = [["subscribe", room] for room in rooms] + [["keepalive"]] * 60
    with node_client(gateways[0].port, token, *transports, greet=greet) as client:
        client.until("connect")
        acknowledged = [client.until("ack")["data"][0] for _ in greet]
        assert acknowledged[19] == {"ok": True, "rooms": rooms}
        assert [event["on"] for event in client.events if event["on"] in ("connect", "disconnect")] == ["connect"]
    counted(gateways[0], 0)


def test_who_may_say_much_at_once_gets_all_the_answers(tmp_path: Path) -> None:
    with (
        running(tmp_path, WS_MESSAGE_RATE="500", RATE_LIMIT_ADDRESS="off") as gateway,
        node_client(gateway.port, user_token("much"), "polling", greet=[["keepalive"]] * 1500) as client,
    ):
        assert [client.until("ack")["data"][0] for _ in range(1500)] == [{"ok": True}] * 1500
        assert [event["on"] for event in client.events if event["on"] != "ack"] == ["connect"]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_who_says_too_much_at_once_is_told_not_to_come_again_and_does_not(tmp_path: Path, transport: str) -> None:
    with (
        running(tmp_path, WS_MESSAGE_RATE="10") as gateway,
        node_client(gateway.port, user_token("flood"), transport, greet=[["keepalive"]] * 300) as client,
    ):
        assert client.until("closing")["data"][0]["code"] == "MESSAGE_RATE_EXCEEDED"
        left = client.until("disconnect")
        assert (left["reason"], left["active"]) == ("io server disconnect", False)
        counted(gateway, 0)
        assert sum(event["on"] == "connect" for event in client.events) == 1


def test_a_polling_python_client_hears_all_that_waited_for_it(gateways: list[Running], server: RedisServer) -> None:
    wanted, heard = 60, list[str]()
    ends: list[Any] = []
    client = socketio.Client(reconnection=False)
    client.on("contacts.changed", lambda data: heard.append(data["id"]))
    client.on("disconnect", ends.append)
    url = f"http://127.0.0.1:{gateways[0].port}"
    client.connect(
        url, socketio_path="/api/xynergyos/v2/stream", auth={"token": user_token("py")}, transports=["polling"]
    )
    try:
        assert client.call("subscribe", "contacts")["ok"] is True
        with server.ask() as redis, redis.pipeline() as together:
            (channel,) = [name for name in redis.pubsub_channels() if name.endswith(b"stream:news")]
            for number in range(wanted):
                change = {"change": "updated", "id": str(number)}
                together.publish(channel, json.dumps(["other", TENANT, "contacts", "contacts.changed", change]))
            together.execute()
        until(lambda: len(heard) == wanted or ends)
        assert (heard, ends) == ([str(number) for number in range(wanted)], [])
    finally:
        client.disconnect()
    counted(gateways[0], 0)


def test_the_sixth_socket_of_a_user_is_refused_with_its_reason(gateways: list[Running]) -> None:
    token = user_token("six")
    with ExitStack() as stack:
        for number in range(5):
            found = Raw(gateways[number % 2].port)
            stack.callback(found.close)
            found.connect(token)
        for gateway in gateways:
            with node_client(gateway.port, token) as sixth:
                told = sixth.until("connect_error")
                assert told["message"] == "Maximum connections per user reached"
                assert told["data"]["code"] == "MAX_CONNECTIONS_EXCEEDED"
                assert told["active"] is False  # the library does not try again by itself
        with node_client(gateways[0].port, user_token("another")) as other:
            other.until("connect")
    for gateway in gateways:
        counted(gateway, 0)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_foreign_page_is_refused_at_the_handshake(gateways: list[Running], transport: str) -> None:
    with node_client(gateways[0].port, user_token("page"), transport, origin="https://evil.example") as client:
        assert client.until("connect_error")["message"] in ("websocket error", "xhr poll error")
    counted(gateways[0], 0)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_wrong_token_is_refused_with_its_reason(gateways: list[Running], transport: str) -> None:
    with node_client(gateways[0].port, "nonsense", transport) as client:
        told = client.until("connect_error")
    assert (told["data"]["code"], told["active"]) == ("UNAUTHENTICATED", False)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_restart_is_announced_and_survived(tmp_path: Path, transport: str) -> None:
    with running(tmp_path) as first, node_client(first.port, user_token("again"), transport) as client:
        client.until("connect")
        counted(first, 1)
        assert first.stop() == 0
        told = client.until("closing")["data"][0]
        assert (told["code"], told["reconnect"]) == ("SERVICE_RESTART", True)
        left = client.until("disconnect")
        assert left["active"] is True, left  # it will come again by itself
        with running(tmp_path, PORT=str(first.port)) as second:
            client.until("connect")
            counted(Running(first.port, second.process, second.out), 1)


def test_reasons_not_to_come_again_are_kept_to_by_the_library(tmp_path: Path) -> None:
    with running(tmp_path, WS_IDLE_TIMEOUT="1") as gateway, node_client(gateway.port, user_token("idle")) as client:
        client.until("connect")
        told = client.until("closing")["data"][0]
        assert (told["code"], told["reconnect"]) == ("IDLE_TIMEOUT", False)
        assert client.until("disconnect") == {"on": "disconnect", "reason": "io server disconnect", "active": False}
        counted(gateway, 0)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_at_its_age_a_socket_comes_again_by_itself(tmp_path: Path, transport: str) -> None:
    with (
        running(tmp_path, WS_MAX_AGE="2") as gateway,
        node_client(gateway.port, user_token("old"), transport) as client,
    ):
        first = client.until("connect")["id"]
        assert client.until("closing")["data"][0]["code"] == "MAX_AGE"
        assert client.until("connect")["id"] != first
        counted(gateway, 1)
