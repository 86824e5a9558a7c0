"""How many sockets there are: by user, in all, over instances, without Redis, and whatever ways they end."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.helpers.gateway_process import Running, running
from tests.helpers.redis_server import RedisServer
from tests.helpers.stream_client import Ended, Polling, Raw, counted, raw, stated, until, user_token
from tests.helpers.waiting import PATIENCE

FAST = {"REDIS_TIMEOUT": "1", "WS_POLL_GAP": "3", "RATE_LIMIT_ADDRESS": "off", "RATE_LIMIT_USER": "off"}
OPERATOR = "an-operators-token-of-the-tests-0123456789"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.close()


@contextmanager
def instances(folder: Path, count: int, server: RedisServer, **env: str) -> Iterator[list[Running]]:
    """So many instances of one gateway, connected to Redis."""
    with ExitStack() as stack:
        found = [stack.enter_context(running(folder, REDIS_URL=server.url, **FAST, **env)) for _ in range(count)]
        for gateway in found:
            until(lambda gateway=gateway: stated(gateway)["mode"] == "shared")  # type: ignore[misc]
        yield found


def at_once(gateways: list[Running], names: list[str], opened: ExitStack) -> Counter[str]:
    """A socket for each name at the same time, spread over the instances, and kept open; what each was told."""
    tokens = {name: user_token(name) for name in set(names)}
    start = threading.Barrier(len(names))

    def one(number: int, name: str) -> str:
        start.wait()
        found = Raw(gateways[number % len(gateways)].port)
        opened.callback(found.close)
        answer = found.asked_to_connect(tokens[name])
        return "open" if answer.startswith("40") else str(json.loads(answer[2:])["data"]["code"])

    with ThreadPoolExecutor(len(names)) as pool:
        return Counter(pool.map(one, range(len(names)), names))


def places(server: RedisServer) -> int:
    with server.ask() as redis:
        return int(redis.zcard("xgw:gateway:stream:all"))


def test_forty_at_once_never_exceed_five(tmp_path: Path, server: RedisServer) -> None:
    with instances(tmp_path, 2, server) as gateways, ExitStack() as opened:
        # Both have loaded their libraries, so that the forty meet at the counter and not at the import.
        for gateway in gateways:
            with raw(gateway) as first:
                first.connect()
            counted(gateway, 0)
        told = at_once(gateways, ["ada"] * 40, opened)
        assert told == {"open": 5, "MAX_CONNECTIONS_EXCEEDED": 35}
        assert sum(stated(gateway)["connections"] for gateway in gateways) == 5 == places(server)


def test_two_instances_share_the_total(tmp_path: Path, server: RedisServer) -> None:
    with instances(tmp_path, 2, server, WS_MAX_TOTAL="7") as gateways, ExitStack() as opened:
        told = at_once(gateways, [f"user-{number}" for number in range(12)], opened)
        assert told == {"open": 7, "SERVICE_CAPACITY_EXCEEDED": 5}
        with raw(gateways[0]) as another:
            refused = json.loads(another.asked_to_connect()[2:])
        assert refused["message"] == "Service at maximum capacity"
        assert 5000 <= refused["data"]["retryAfterMs"] <= 15000
        assert stated(gateways[0])["totalConnections"] == 7
        assert stated(gateways[0])["utilization"] == "100.0%"
        opened.close()
        for gateway in gateways:
            counted(gateway, 0)
        until(lambda: places(server) == 0)


def test_the_places_of_a_dead_instance_fall_free_within_the_lease(tmp_path: Path, server: RedisServer) -> None:
    with instances(tmp_path, 2, server, WS_LEASE="2") as (one, two), ExitStack() as opened:
        assert at_once([one], ["ada"] * 5, opened) == {"open": 5}
        one.process.kill()
        with raw(two) as sixth:
            assert "MAX_CONNECTIONS_EXCEEDED" in sixth.asked_to_connect(user_token("ada"))
        died = time.monotonic()

        def let_in() -> bool:
            with raw(two) as found:
                return found.asked_to_connect(user_token("ada")).startswith("40")

        until(let_in)
        assert time.monotonic() - died < 20, "thirty seconds, usually"


def test_without_redis_an_instance_counts_alone_and_says_so(tmp_path: Path, server: RedisServer) -> None:
    shown = f"Authorization: Bearer {OPERATOR}"
    with (
        instances(tmp_path, 1, server, WS_LEASE="2", OPERATOR_TOKEN=OPERATOR) as (gateway,),
        ExitStack() as opened,
    ):
        assert at_once([gateway], ["ada"] * 3, opened) == {"open": 3}
        assert places(server) == 3
        server.kill()
        until(lambda: stated(gateway)["mode"] == "degraded")
        assert "gateway_stream_degraded 1" in gateway.ask("GET", "/metrics", token=shown).body.decode()
        assert at_once([gateway], ["ada"] * 4, opened) == {"open": 2, "MAX_CONNECTIONS_EXCEEDED": 2}
        assert stated(gateway)["connections"] == 5
        server.start()
        until(lambda: stated(gateway)["mode"] == "shared")
        until(lambda: places(server) == 5)  # those that were opened meanwhile included
        assert "gateway_stream_degraded 0" in gateway.ask("GET", "/metrics", token=shown).body.decode()
        with server.ask() as redis:
            redis.flushall()
        assert at_once([gateway], ["ada"] * 3, opened) == {"MAX_CONNECTIONS_EXCEEDED": 3}
        until(lambda: places(server) == 5)


def test_an_upgrade_counts_once_and_a_client_that_vanishes_is_swept(tmp_path: Path) -> None:
    with running(tmp_path, WS_POLL_GAP="1") as gateway, Polling(gateway) as client:
        client.connect()
        assert stated(gateway)["connections"] == 1
        with raw(gateway, query=f"EIO=4&transport=websocket&sid={client.sid}") as upgraded:
            upgraded.send("2probe")
            assert upgraded.text() == "3probe"
            upgraded.send("5")
            assert upgraded.ask("keepalive") == {"ok": True}
            assert stated(gateway)["connections"] == 1
            assert client.poll().status_code == 400  # it has moved
        counted(gateway, 0)
        with Polling(gateway) as vanishes:
            vanishes.connect()
            counted(gateway, 1)
        counted(gateway, 0)
        assert vanishes.sid


def test_an_upgrade_that_does_not_go_on_leaves_the_client_polling(tmp_path: Path) -> None:
    with running(tmp_path) as gateway, Polling(gateway) as client:
        client.connect()
        query = f"EIO=4&transport=websocket&sid={client.sid}"
        with raw(gateway, query=query) as probe:
            probe.send("2probe")
            assert probe.text() == "3probe"
        client.post('420["keepalive"]')
        until(lambda: '430[{"ok":true}]' in client.poll().text)
        with raw(gateway, query=query) as nonsense:
            nonsense.send('42["keepalive"]')
            nonsense.end()
        client.post('421["keepalive"]')
        until(lambda: '431[{"ok":true}]' in client.poll().text)
        counted(gateway, 1)


def test_numbers_equal_the_sockets_there_are(tmp_path: Path) -> None:
    with running(tmp_path) as gateway, ExitStack() as opened:
        at_once([gateway], [f"user-{number}" for number in range(15)], opened)

        def established() -> int:
            found = psutil.Process(gateway.process.pid).net_connections("tcp")
            return sum(one.status == psutil.CONN_ESTABLISHED and one.laddr.port == gateway.port for one in found)

        until(lambda: established() == 15)
        said = stated(gateway)
        assert (said["connections"], said["users"], said["totalConnections"]) == (15, 15, 15)
        opened.close()
        counted(gateway, 0)
        until(lambda: established() == 0)


def test_churn_leaves_counts_descriptors_and_memory_where_they_began(tmp_path: Path, server: RedisServer) -> None:
    with instances(tmp_path, 1, server) as (gateway,):
        process = psutil.Process(gateway.process.pid)
        shown = user_token("churn")

        def churn(count: int) -> None:
            for number in range(count):
                if number % 3 == 2:
                    with Polling(gateway) as client:
                        client.connect(shown)
                        client.post("41")
                    continue
                with raw(gateway) as found:
                    found.connect(shown)
                    found.ask("subscribe", "contacts")
                    if number % 3:
                        found.send(b"", 8)
                        found.end()
                if number % 3 == 0 or number == count - 1:
                    counted(gateway, 0)  # never more than the five that one user may have

        churn(60)
        before = process.memory_info().rss, process.num_fds()
        churn(300)
        counted(gateway, 0)
        until(lambda: process.num_fds() <= before[1] + 3)
        assert process.memory_info().rss - before[0] < 6 * 1024 * 1024
        until(lambda: places(server) == 0)


def test_sigterm_says_good_bye_to_every_socket(tmp_path: Path, server: RedisServer) -> None:
    with instances(tmp_path, 1, server) as (gateway,), ExitStack() as opened:
        sockets = []
        for number in range(8):
            found = Raw(gateway.port)
            opened.callback(found.close)
            sockets.append(found.connect(user_token(f"user-{number}")))
        poller = opened.enter_context(Polling(gateway)).connect()
        polled: list[str] = []

        def poll() -> None:
            polled.extend([poller.poll().text, poller.poll().text])

        waiting = threading.Thread(target=poll)
        waiting.start()
        until(lambda: places(server) == 9)
        os.kill(gateway.process.pid, signal.SIGTERM)
        for found in sockets:
            assert json.loads(found.text().removeprefix("42"))[1]["code"] == "SERVICE_RESTART"
            with pytest.raises(Ended) as ended:
                found.text()
            assert ended.value.code == 1012
        waiting.join(timeout=PATIENCE)
        assert "SERVICE_RESTART" in polled[0]
        assert polled[1] == "1"
        assert gateway.process.wait(timeout=PATIENCE) == 0
        assert places(server) == 0


def test_a_token_that_ends_takes_its_socket_with_it(tmp_path: Path) -> None:
    with running(tmp_path, AUTH_LEEWAY="0") as gateway, raw(gateway) as found, raw(gateway) as other:
        found.connect(user_token("short", ttl=5))
        other.connect()
        said = json.loads(found.text().removeprefix("42"))
        assert said[0] == "closing"
        assert (said[1]["code"], said[1]["reconnect"]) == ("TOKEN_EXPIRED", True)
        assert found.end() == 4401
        assert other.ask("keepalive") == {"ok": True}
        counted(gateway, 1)


def test_a_heartbeat_without_an_answer_ends_a_socket_and_idling_is_something_else(tmp_path: Path) -> None:
    env = {"WS_PING_INTERVAL": "0.5", "WS_PING_TIMEOUT": "3", "WS_IDLE_TIMEOUT": "9"}
    with running(tmp_path, **env) as gateway, raw(gateway) as silent, raw(gateway) as alive:
        silent.connect()
        alive.connect()
        assert alive.open["pingInterval"] in (0, 500)
        ends: dict[str, float] = {}
        began = time.monotonic()

        def answer() -> None:
            """Answers heartbeats, and says nothing else: that is no event."""
            try:
                while True:
                    said = alive.text(heartbeats=True)
                    if said == "2":
                        alive.send("3")
                    else:
                        ends["idle"] = time.monotonic() - began
            except Ended:
                pass

        thread = threading.Thread(target=answer)
        thread.start()
        assert silent.end() == 4408
        ends["silent"] = time.monotonic() - began
        thread.join(timeout=PATIENCE)
        assert 3.4 <= ends["silent"] < ends["idle"]
        assert 8.9 <= ends["idle"] < 40, "five minutes, usually"
        counted(gateway, 0)
