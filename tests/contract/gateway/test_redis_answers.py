"""A Redis that answers with what no Redis would: no request fails for it, and a gateway does not wear itself out on it."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from tests.helpers.cache_stage import Origin, instances, says
from tests.helpers.fault_proxy import FaultProxy
from tests.helpers.gateway_process import running
from tests.helpers.raw_redis import raw_redis
from tests.helpers.raw_upstream import OK, RawUpstream
from tests.helpers.raw_upstream import says as says_raw
from tests.helpers.redis_server import RedisServer
from tests.helpers.waiting import until

LISTS = "/api/v2/slack/lists"
LEASED = b"*6\r\n:1\r\n:5\r\n%b:9\r\n$2\r\naa\r\n$0\r\n\r\n"
"""What the limiter's script says, but for the third number: ms until there is more."""
FOUND = b"*2\r\n$24\r\n" + b"g" * 24 + b"\r\n$0\r\n\r\n"
"""What the script that looks for an entry says when there is none."""
ANSWERS: dict[str, tuple[bytes, bytes]] = {
    "numbers for a lock": (b":l:", b"*2\r\n:7\r\n:7\r\n"),
    "another command's answer for a lock": (b":l:", b"$2\r\nab\r\n"),
    "a lock with nobody's word": (b":l:", b"*2\r\n$1\r\nL\r\n$0\r\n\r\n"),
    "a number that is none for an entry": (b":l:", b"*2\r\n$0\r\n\r\n:7\r\n"),
    "more ms than there are": (b":rate:", LEASED % (b"$400\r\n" + b"9" * 400 + b"\r\n")),
    "a nil for everything": (b"nothing", b""),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_no_request_fails_for_a_redis_that_answers_with(kind: str, tmp_path: Path) -> None:
    part, answer = ANSWERS[kind]
    env = {"CACHE_ROUTES": f"{LISTS} ttl=60", "REDIS_TIMEOUT": "5"}
    with (
        raw_redis({part: answer, b":g:": FOUND}) as redis,
        RawUpstream(says_raw(OK, then="keep")) as upstream,
        running(tmp_path, REDIS_URL=redis.url, UPSTREAM_SLACK_URL=upstream.url, **env) as gateway,
    ):
        until(lambda: gateway.ask("GET", "/health/deep").json()["redis"]["status"] == "ok")
        answers = [gateway.ask("GET", f"{LISTS}?{number}") for number in range(3)]
        assert {answer.status for answer in answers} == {200}
        assert any(b":l:" in key for key in redis.heard)


def test_a_redis_that_refuses_everything_is_not_asked_the_more_the_more_was_asked_of_it(server: RedisServer) -> None:
    async def story(proxy: FaultProxy) -> None:
        origin = Origin(says(b"Cache-Control: public, max-age=60"))
        async with instances(1, origin, proxy.url) as (one,):
            await asyncio.to_thread(proxy.set, "WRONGTYPE")
            answers = await asyncio.gather(*(one.ask(path=f"/api/v2/crm/contacts/{number}") for number in range(200)))
            assert {answer.status for answer in answers} == {200}
            assert one.shared.mode == "ok"
            before = one.shared.counts["calls"]
            await asyncio.sleep(1.0)
            assert one.shared.counts["calls"] - before < 100, "for 200 locks that may be left behind"

    with closing(FaultProxy(server.port)) as proxy:
        asyncio.run(story(proxy))
