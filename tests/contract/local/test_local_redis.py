from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import redis

from tests.helpers.local_daemon import gone, home_of_its_own, wait_until
from tests.helpers.redis_server import RedisServer
from tests.helpers.waiting import PATIENCE, free_port
from xgw.local import files, leftovers, lifecycle, ports
from xgw.local.instances import RevisionSpec
from xgw.local.network import NOWHERE, with_redis
from xgw.local.valkey import NOTE, Valkey
from xgw.plan.baseline import BASELINE, REDIS_ADDRESS
from xgw.plan.model import GATEWAY


def pid_of(home: Path) -> int:
    noted = (files.instances(home) / f"{NOTE}.pid").read_text()
    return int(noted.partition('"pid": ')[2].partition(",")[0])


def purposes(asked: redis.Redis) -> set[str]:
    return {row["name"].split("/")[1] for row in asked.client_list() if "/" in row["name"]}


def ask(address: str) -> redis.Redis:
    host, _, port = address.partition(":")
    return redis.Redis(host, int(port), socket_timeout=PATIENCE)


def test_it_serves_while_the_daemon_does_and_ends_with_it_however_that_ends(tmp_path) -> None:
    with home_of_its_own(tmp_path) as home:
        endpoint = lifecycle.ensure_up(home)
        asked = ask(endpoint.redis)
        assert asked.ping()
        assert asked.config_get("maxmemory*") | {"maxmemory-policy": "allkeys-lru", "maxmemory": "67108864"} == (
            asked.config_get("maxmemory*")
        )
        assert purposes(asked) == set()  # in the plan's current state no revision reaches it
        first = pid_of(home)
        os.kill(endpoint.pid, signal.SIGKILL)
        wait_until(lambda: gone(first))
        wait_until(lambda: not files.is_locked(files.daemon_lock(home)))  # its last thread may end after the server did
        again = lifecycle.ensure_up(home)
        second = pid_of(home)
        assert ask(again.redis).ping()
        os.kill(again.pid, signal.SIGTERM)
        wait_until(lambda: gone(second))
        wait_until(lambda: not files.is_locked(files.daemon_lock(home)))
        assert lifecycle.status(home) is None


def test_a_port_that_somebody_elses_redis_took_meanwhile_is_not_taken_for_ours(tmp_path, monkeypatch) -> None:
    foreign = RedisServer(tmp_path)
    picked = iter([foreign.port, free_port()])
    monkeypatch.setattr(ports, "pick", lambda: next(picked))

    async def story() -> None:
        valkey = Valkey(tmp_path / "valkey", tmp_path / "notes")
        await valkey.start()
        try:
            assert ask(valkey.address).info("server")["process_id"] == valkey.pid
        finally:
            await valkey.stop()

    try:
        asyncio.run(story())
        assert foreign.ask().ping()
    finally:
        foreign.close()


def test_one_that_is_killed_is_started_again_at_the_same_address(tmp_path) -> None:
    async def story() -> None:
        valkey = Valkey(tmp_path / "valkey", tmp_path / "notes")
        await valkey.start()
        try:
            address, pid = valkey.address, valkey.pid
            asked = ask(address)
            asked.set("a", 1, px=5000)
            os.kill(pid, signal.SIGKILL)
            async with asyncio.timeout(PATIENCE):
                while valkey.pid == pid or not await asyncio.to_thread(answers, address):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert valkey.address == address
            assert asked.get("a") is None
        finally:
            last = valkey.pid
            await valkey.stop()
        assert gone(last)
        assert leftovers.noted(tmp_path / "notes") == []

    asyncio.run(story())


def answers(address: str) -> bool:
    try:
        return bool(ask(address).ping())
    except redis.RedisError:
        return False


def spec(private: bool, **env: str) -> RevisionSpec:
    return RevisionSpec("r", "s", "i", env, memory_bytes=1, timeout_s=1, concurrency=1, port=8080, private=private)


def test_the_plans_private_address_never_leaves_the_machine() -> None:
    baseline = {
        name.removeprefix("env."): value for name, value in BASELINE[GATEWAY].items() if name.startswith("env.")
    }
    redis_here = "127.0.0.1:7001"
    for address, private, expected in (
        (redis_here, True, redis_here),
        (redis_here, False, NOWHERE),
        ("", True, NOWHERE),
    ):
        env = with_redis(address)(spec(private, **baseline))
        assert env["REDIS_URL"] == f"redis://{expected}"
        assert REDIS_ADDRESS not in str(env)
        assert {name: env[name] for name in env if name != "REDIS_URL"} == {
            name: baseline[name] for name in baseline if name != "REDIS_URL"
        }
