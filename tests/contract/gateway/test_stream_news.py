"""Events between instances over a real Valkey: what may have been missed is said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway_runtime.shared.client import Shared
from gateway_runtime.stream.news import News
from tests.helpers.fault_proxy import FaultProxy
from tests.helpers.gateway_process import running
from tests.helpers.redis_server import RedisServer
from tests.helpers.stream_client import raw, stated, until
from tests.helpers.waiting import PATIENCE


class Instance:
    """One instance's news, and what came of them here."""

    def __init__(self, url: str, name: str) -> None:
        self.heard: list[Any] = []
        self.gaps = 0
        self.shared = Shared(url, instance=name)
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
            assert lonely.gaps == 2
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
