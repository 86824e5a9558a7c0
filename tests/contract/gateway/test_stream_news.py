"""Events between instances over a real Valkey: what may have been missed is said."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway_runtime.shared import lines
from gateway_runtime.shared.client import Shared, SharedUnavailable
from gateway_runtime.stream.news import GAP, News
from tests.helpers.fault_proxy import FaultProxy
from tests.helpers.gateway_process import running
from tests.helpers.redis_server import RedisServer
from tests.helpers.stream_client import raw, stated, until, user_token
from tests.helpers.tokens import TENANT
from tests.helpers.waiting import PATIENCE


class Instance:
    """One instance's news, and what came of them here."""

    def __init__(self, url: str, name: str) -> None:
        self.heard: list[Any] = []
        self.gaps = 0
        self.shared = Shared(url, instance=name, wait=PATIENCE)  # lost when it is broken, not when this machine is busy
        self.news = News(self.shared, lambda *event: self.heard.append(event), self._gap)

    def _gap(self) -> None:
        self.gaps += 1


async def reached(state: Callable[[], bool]) -> None:
    while not state():  # noqa: ASYNC110  nobody tells
        await asyncio.sleep(0.01)


def test_an_instance_that_could_say_nothing_says_so_when_it_can(server: RedisServer) -> None:
    proxy = FaultProxy(server.port)

    async def story() -> None:
        lonely, other = Instance(proxy.url, "lonely"), Instance(server.url, "other")
        try:
            for instance in (lonely, other):
                await instance.shared.start()
            await reached(lambda: lonely.gaps == other.gaps == 1)  # listening began
            lonely.news.publish("t", "room", "event", 1)
            await reached(lambda: other.heard == [("t", "room", "event", 1)])
            await asyncio.to_thread(proxy.set, "refused")
            await reached(lambda: lonely.shared.mode == "degraded")
            lonely.news.publish("t", "room", "event", 2)
            await asyncio.to_thread(proxy.set, "")
            await reached(lambda: other.gaps == 2)
            assert lonely.heard == [("t", "room", "event", 1), ("t", "room", "event", 2)]
            await reached(lambda: lonely.gaps == 2)
            assert len(other.heard) == 1
            await asyncio.to_thread(proxy.set, "refused")  # this time there is nothing to say
            await reached(lambda: lonely.shared.mode == "degraded")
            await asyncio.to_thread(proxy.set, "")
            await reached(lambda: lonely.gaps == 3)
            lonely.news.publish("t", "room", "event", 3)
            await reached(lambda: len(other.heard) == 2)
            assert other.gaps == 2
        finally:
            for instance in (lonely, other):
                await instance.shared.close()

    try:
        asyncio.run(asyncio.wait_for(story(), PATIENCE))
    finally:
        proxy.close()


class Gate:
    """A proxy in this event loop that lets each connection through when it is told to; the first one at once."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.came: list[asyncio.StreamWriter] = []
        self.let: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self.let[0].set()

    async def opened(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        self._server.close()
        for writer in self.came:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came.append(writer)
        await self.let[len(self.came) - 1].wait()
        back, forth = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(self._passed(reader, forth), self._passed(back, writer))

    async def _passed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                writer.write(piece)
        writer.close()


def test_what_was_lost_before_listening_began_is_said_when_redis_is_back(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "OPEN_SECONDS", PATIENCE)

    async def story() -> None:
        gate = Gate(server.port)
        other, lonely = Instance(server.url, "other"), Instance(await gate.opened(), "lonely")
        try:
            await other.shared.start()
            await reached(lambda: other.gaps == 1)
            await lonely.shared.start()
            await reached(lambda: len(gate.came) == 2)  # the one that is to listen waits
            gate.came[0].transport.abort()
            with pytest.raises(SharedUnavailable):
                await lonely.shared.get(b"anything")
            lonely.news.publish("t", "room", "event", 1)
            gate.let[1].set()
            await reached(lambda: lonely.gaps == 1)
            assert lonely.shared.mode == "degraded"
            for number in range(2, 100):
                gate.let[number].set()
            await reached(lambda: other.gaps == 2)
            assert other.heard == []
        finally:
            for instance in (lonely, other):
                await instance.shared.close()
            gate.close()

    asyncio.run(asyncio.wait_for(story(), PATIENCE))


def test_subscribers_are_told_when_events_may_have_been_missed(server: RedisServer, tmp_path: Path) -> None:
    with (
        running(tmp_path, REDIS_URL=server.url, REDIS_TIMEOUT="1") as gateway,
        raw(gateway) as found,
        raw(gateway) as idle,
    ):
        until(lambda: stated(gateway)["mode"] == "shared")
        idle.connect()
        found.connect()
        assert found.ask("subscribe", "contacts")["ok"] is True
        server.restart_empty()
        assert found.text().startswith('42["resync",{"retryAfterMs":')
        assert idle.ask("keepalive") == {"ok": True}  # who has no room has missed nothing


def test_what_many_instances_may_have_kept_from_a_subscriber_is_told_once(server: RedisServer, tmp_path: Path) -> None:
    event = ["other", TENANT, "contacts", "contacts.changed", {"change": "updated", "id": "1"}]
    with running(tmp_path, REDIS_URL=server.url, REDIS_TIMEOUT="1") as gateway, raw(gateway) as found:
        until(lambda: stated(gateway)["mode"] == "shared")
        with server.ask() as redis, redis.pipeline() as together:
            (channel,) = until(lambda: [name for name in redis.pubsub_channels() if name.endswith(b"stream:news")])
            found.connect(user_token("once", TENANT))
            assert found.ask("subscribe", "contacts")["ok"] is True
            for number in range(5):
                together.publish(channel, json.dumps([f"other{number}", "", "", GAP, None]))
            together.publish(channel, json.dumps(event))
            together.execute()
        heard = [json.loads(found.text().removeprefix("42"))[0] for _ in range(2)]
        assert sorted(heard) == ["contacts.changed", "resync"]
        assert found.ask("keepalive") == {"ok": True}
