"""The limits of real gateway processes, from outside."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.helpers import tokens
from tests.helpers.gateway_process import Running, running
from tests.helpers.redis_server import RedisServer
from tests.helpers.waiting import PATIENCE, until
from xgw.cloud.redis import RedisDoor
from xgw.probes.redis import by_instance

HOP = {"RATE_LIMIT_TRUSTED_HOPS": "1"}


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory, server: RedisServer) -> Iterator[tuple[Running, Running]]:
    """Two instances of one gateway: 40 requests a minute an address, 10 a minute a user."""
    folder = tmp_path_factory.mktemp("gateways")
    env = {
        "REDIS_URL": server.url,
        "RATE_LIMIT_ADDRESS": "40/60",
        "RATE_LIMIT_USER": "10/60",
        "REDIS_TIMEOUT": "1",
        **HOP,
    }
    with running(folder, **env) as one, running(folder, **env) as two:
        for gateway in (one, two):
            connected(gateway)
        yield one, two


def connected(gateway: Running) -> None:
    until(lambda: redis_of(gateway).get("status") == "ok")


def redis_of(gateway: Running) -> dict[str, Any]:
    """How Redis is, as the gateway says."""
    found: dict[str, Any] = gateway.ask("GET", "/health/deep", address()).json()["redis"]
    return found


COUNT = iter(range(1, 60000))


def address() -> str:
    """A field that says the request comes from somewhere new."""
    number = next(COUNT)
    return f"X-Forwarded-For: 198.18.{number >> 8}.{number & 255}"


def at_once(gateways: tuple[Running, ...], count: int, path: str, *fields: str) -> Counter[int]:
    """So many requests at the same time, spread over the instances; how often each status came."""
    headers = dict(field.split(": ", 1) for field in fields)

    async def ask() -> Counter[int]:
        async with httpx.AsyncClient(headers=headers, timeout=PATIENCE) as client:
            asked = (client.get(f"http://127.0.0.1:{gateways[n % len(gateways)].port}{path}") for n in range(count))
            return Counter(answer.status_code for answer in await asyncio.gather(*asked))

    return asyncio.run(ask())


def test_exactly_the_limit_of_six_times_as_many_at_once_pass(gateways: tuple[Running, Running]) -> None:
    assert at_once(gateways[:1], 240, "/health/deep", address()) == {200: 40, 429: 200}


def test_two_instances_share_the_limit_through_redis(gateways: tuple[Running, Running]) -> None:
    assert at_once(gateways, 120, "/health/deep", address()) == {200: 40, 429: 80}


def test_a_user_has_a_limit_of_their_own_whatever_their_address(gateways: tuple[Running, Running]) -> None:
    ada, ben, acme2 = (
        tokens.bearer(user=user, tenant=tenant) for user, tenant in (("ada", "t1"), ("ben", "t1"), ("ada", "t2"))
    )
    found = [gateways[n % 2].ask("GET", "/nowhere", address(), token=ada).status for n in range(12)]
    assert found == [404] * 10 + [429] * 2
    assert gateways[0].ask("GET", "/nowhere", address(), token=ben).status == 404
    assert gateways[0].ask("GET", "/nowhere", address(), token=acme2).status == 404


def test_a_token_that_is_not_believed_costs_the_address(gateways: tuple[Running, Running]) -> None:
    home = address()
    found = [gateways[0].ask("GET", "/nowhere", home, token="Authorization: Bearer x").status for _ in range(42)]
    assert found == [401] * 40 + [429] * 2


@pytest.mark.parametrize(
    "tricks",
    [
        ["X-Forwarded-For: {n}.1.1.1, {me}"],
        ["X-Forwarded-For: {n}.1.1.1", "X-Forwarded-For: {me}"],
        ["X-Real-IP: {n}.1.1.1", "X-Forwarded-For: {me}"],
        ["Forwarded: for={n}.1.1.1", "X-User-Id: {n}", "X-Tenant-Id: {n}", "X-Forwarded-For: {me}"],
        ["X-Forwarded-For:   {me}  "],
    ],
)
def test_a_caller_cannot_get_itself_a_new_bucket(gateways: tuple[Running, Running], tricks: list[str]) -> None:
    me = address().partition(": ")[2]
    paths = ("/health/deep", "/health/deep?x={n}", "/health//deep", "/HEALTH/deep", "/health/%64eep")
    found = [
        gateways[n % 2]
        .ask(
            ("GET", "HEAD")[n % 2], paths[n % 5].format(n=n), *(trick.format(n=n, me=me) for trick in tricks), token=""
        )
        .status
        for n in range(1, 61)
    ]
    assert found.count(429) >= 20 - found.count(400)
    assert found[-1] in (429, 400)


def test_a_refusal_says_how_long_and_is_stored_by_nobody(gateways: tuple[Running, Running]) -> None:
    home = address()
    at_once(gateways[:1], 45, "/health/deep", home)
    answer = gateways[0].ask("GET", "/health/deep", home)
    assert (answer.status, answer.code) == (429, "RATE_LIMITED")
    assert set(answer.json()["error"]) == {"code", "message", "requestId", "timestamp"}
    wait = int(answer.header("retry-after") or 0)
    assert 55 <= wait <= 64
    assert answer.header("cache-control") == "no-store"
    assert answer.header("ratelimit-policy") == '"address";q=40;w=60'
    assert answer.header("ratelimit") == f'"address";r=0;t={wait}'
    assert [answer.header(f"x-ratelimit-{name}") for name in ("limit", "remaining", "reset")] == ["40", "0", str(wait)]


def test_an_answer_says_where_the_caller_stands_with_every_limit(gateways: tuple[Running, Running]) -> None:
    answer = gateways[0].ask("GET", "/nowhere", address(), token=tokens.bearer(user="carol"))
    assert answer.status == 404
    assert [value.partition(";t=")[0] for value in answer.all("ratelimit")] == ['"user";r=9', '"address";r=39']
    assert (answer.header("x-ratelimit-limit"), answer.header("x-ratelimit-remaining")) == ("10", "9")
    assert answer.header("x-ratelimit-mode") is None


def test_liveness_and_preflights_are_answered_whatever_the_limit(gateways: tuple[Running, Running]) -> None:
    home = address()
    at_once(gateways[:1], 45, "/health/deep", home)
    assert gateways[0].ask("GET", "/health", home).status == 200
    assert gateways[0].ask("HEAD", "/health", home).status == 200
    assert gateways[0].ask("GET", "/health/deep", home).status == 429
    preflight = ("Origin: https://app.example", "Access-Control-Request-Method: GET")
    assert gateways[0].ask("OPTIONS", "/nowhere", home, *preflight).status == 204


@pytest.mark.parametrize("path", ["/a/../b", "/a%00", "/%2e%2e/x", "/health/", "/%68ealth"])
def test_a_path_that_is_not_well_formed_costs_as_much_as_any(gateways: tuple[Running, Running], path: str) -> None:
    own = address()
    seen = Counter(gateways[0].ask("GET", path, own, token="").status for _ in range(42))
    assert (seen[429], sum(seen.values())) == (2, 42)


def test_retry_after_is_honoured_to_the_second(tmp_path, server: RedisServer) -> None:
    env = {"RATE_LIMIT_ADDRESS": "3/2", "K_SERVICE": "short", "REDIS_TIMEOUT": "5", **HOP}
    with running(tmp_path, REDIS_URL=server.url, **env) as gateway:
        connected(gateway)
        home = address()
        refused = until(lambda: (answer := gateway.ask("GET", "/health/deep", home)).status == 429 and answer)
        time.sleep(float(refused.header("retry-after") or 0))
        assert gateway.ask("GET", "/health/deep", home).status == 200


def test_without_configuration_the_limits_hold_in_the_process(tmp_path) -> None:
    with running(tmp_path, RATE_LIMIT_ADDRESS="5/60") as gateway:
        answers = [gateway.ask("GET", "/health/deep") for _ in range(7)]
        assert [answer.status for answer in answers] == [200] * 5 + [429] * 2
        assert answers[0].json()["redis"] == {"status": "not configured"}
        assert answers[0].json()["rateLimits"] == {"mode": "local"}
        assert {answer.header("x-ratelimit-mode") for answer in answers} == {None}


def test_a_limit_that_is_off_says_and_refuses_nothing(tmp_path) -> None:
    with running(tmp_path, RATE_LIMIT_ADDRESS="off", RATE_LIMIT_USER="off") as gateway:
        answer = gateway.ask("GET", "/health/deep")
        assert (answer.status, answer.header("ratelimit"), answer.header("ratelimit-policy")) == (200, None, None)


@pytest.mark.parametrize(("shared", "purposes"), [("on", {"shared"}), ("off", {"shared", "limiter"})])
def test_a_process_has_one_redis_client_or_two_as_told(tmp_path, server, shared: str, purposes: set[str]) -> None:
    revision = f"counted-{shared}"
    env = {"REDIS_URL": server.url, "REDIS_SHARED_CLIENT": shared, "K_REVISION": revision, "REDIS_POOL_MAX": "2"}
    with running(tmp_path, RATE_LIMIT_ADDRESS="100000/60", **env) as gateway:
        connected(gateway)
        at_once((gateway,), 100, "/health/deep")
        found = by_instance(RedisDoor(f"127.0.0.1:{server.port}").clients(), revision)
    assert len(found) == 1
    counted = next(iter(found.values()))
    assert set(counted) == purposes
    assert all(connections <= 2 for connections in counted.values())


def test_the_secret_in_the_redis_address_is_shown_nowhere(tmp_path) -> None:
    with running(tmp_path, REDIS_URL="redis://:hunter2@127.0.0.1:1/0") as gateway:
        deep = gateway.ask("GET", "/health/deep")
        until(lambda: redis_of(gateway).get("why") != "connecting")  # it has tried
        assert deep.json()["redis"]["status"] == "degraded"
        gateway.stop()
        said = json.dumps([answer.decode("latin-1") for answer in (deep.body,)]) + "\n".join(gateway.lines())
    assert "hunter2" not in said
    assert "127.0.0.1:1" not in said


def test_redis_that_asks_for_a_password_is_used_with_it_and_degrades_without(tmp_path) -> None:
    server = RedisServer(tmp_path, "--requirepass", "pass word/@")
    try:
        good = f"redis://:pass%20word%2F%40@127.0.0.1:{server.port}"
        for url, wanted in ((good, "ok"), (server.url, "degraded")):
            with running(tmp_path, REDIS_URL=url, REDIS_TIMEOUT="5") as gateway:
                until(lambda gateway=gateway, wanted=wanted: redis_of(gateway)["status"] == wanted)  # type: ignore[misc]
                until(lambda gateway=gateway: redis_of(gateway).get("why") in (None, "AuthenticationError"))  # type: ignore[misc]
                assert redis_of(gateway)["status"] == wanted
    finally:
        server.close()


def test_the_first_window_of_seconds_is_as_long_as_the_last(tmp_path, server: RedisServer) -> None:
    with running(
        tmp_path, REDIS_URL=server.url, RATE_LIMIT_ADDRESS="20/1", K_SERVICE="sliding", REDIS_TIMEOUT="1"
    ) as gateway:
        connected(gateway)
        time.sleep(1.3)
        passed = []
        end = time.monotonic() + 3.5
        while time.monotonic() < end:
            asked = time.monotonic()
            if gateway.ask("GET", "/health/deep").status == 200:
                passed.append(asked)
            time.sleep(0.01)
        most = max(sum(start <= at < start + 1 for at in passed) for start in passed)
        assert most <= math.floor(20 * 1.25)
        assert len(passed) >= 40  # and it is no lock-out
