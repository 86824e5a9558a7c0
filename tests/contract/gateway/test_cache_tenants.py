"""No answer of one user ever reaches another: many requests at once, some given up half way, Redis failing meanwhile.

Every answer is tagged by the upstream with whom it was made for; every reader checks the tag. XGW_LEAK_REQUESTS sets how
many requests; a long run belongs to the nightly checks.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

from gateway_runtime.asgi import Request, Response
from gateway_runtime.errors import Problem
from tests.helpers.cache_stage import CONTACTS, Instance, instances, valkey
from tests.helpers.redis_server import RedisServer

REQUESTS = int(os.environ.get("XGW_LEAK_REQUESTS", "8000"))
TENANTS, USERS = ("acme", "globex", "acm", "eacme"), ("ada", "bob", "da")
# Some pairs of tenant and user give the same text when written one after the other.
PATHS = (CONTACTS, f"{CONTACTS}/c1", "/api/v2/slack/channels", "/api/v2/gmail/messages")
SHARED = "/api/v2/slack/channels"
ROUTES = f"{SHARED} ttl=0.05 scope=tenant stale=0.05 error=1"


async def tagging(request: Request) -> Response:
    """Says for whom it answers; sometimes slowly, sometimes with another coding's Vary, sometimes not at all."""
    assert request.identity is not None
    if random.random() < 0.2:
        await asyncio.sleep(random.random() * 0.005)
    if random.random() < 0.02:
        raise Problem("BAD_GATEWAY")
    who = f"{request.identity.tenant} {request.identity.user} {request.path}?{request.query.decode()}"
    headers = [(b"content-type", b"text/plain")]
    if request.path != SHARED:
        headers.append((b"cache-control", b"public, max-age=1, stale-while-revalidate=1, stale-if-error=5"))
    if random.random() < 0.3:
        headers.append((b"vary", b"X-Kind"))
        kind = request.header(b"x-kind")
        who += f" {kind.decode() if kind else '-'}"
    return Response(200, headers, who.encode())


async def faults(server: RedisServer, stop: asyncio.Event) -> int:
    count = 0
    while not stop.is_set():
        await asyncio.sleep(0.25)
        kind = count % 3
        count += 1
        if kind == 0:
            server.pause()
            await asyncio.sleep(0.1)
            server.resume()
        elif kind == 1:
            server.kill()
            await asyncio.sleep(0.1)
            await asyncio.to_thread(server.start)
        else:
            await asyncio.to_thread(server.ask().flushall)
    return count


async def reader(gateways: list[Instance], share: int, seen: dict[str, int]) -> None:
    for _ in range(share):
        tenant, user, path = random.choice(TENANTS), random.choice(USERS), random.choice(PATHS)
        query, kind = random.choice((b"", b"limit=1", b"limit=2")), random.choice(("a", "b"))
        asking = random.choice(gateways).ask(
            b"X-Kind: " + kind.encode(), path=path, query=query, tenant=tenant, user=user,
            method="POST" if random.random() < 0.01 else "GET",
        )  # fmt: skip
        try:
            if random.random() < 0.05:
                await asyncio.wait_for(asking, random.random() * 0.003)
                continue
            answer = await asking
        except (Problem, TimeoutError):
            seen["given up or failed"] = seen.get("given up or failed", 0) + 1
            continue
        assert isinstance(answer.body, bytes)
        said = answer.body.decode().split(" ")
        mine = said[0] == tenant and said[2] == f"{path}?{query.decode()}" and (path == SHARED or said[1] == user)
        mine = mine and (len(said) == 3 or said[3] == kind)
        how = (answer.header(b"x-cache") or b"").decode()
        seen[how] = seen.get(how, 0) + 1
        seen["leaks"] = seen.get("leaks", 0) + (not mine)
        if random.random() < 0.05:
            await asyncio.sleep(0)


def test_no_answer_reaches_anybody_else(tmp_path: Path) -> None:
    async def story(server: RedisServer) -> None:
        seen: dict[str, int] = {}
        async with instances(3, tagging, server.url, routes=ROUTES, memory=200_000, wait=0.05) as gateways:
            stop = asyncio.Event()
            failing = asyncio.create_task(faults(server, stop))
            await asyncio.gather(*(reader(list(gateways), REQUESTS // 48, seen) for _ in range(48)))
            stop.set()
            seen["faults"] = await failing
        print(seen)
        assert seen["leaks"] == 0
        assert seen["hit"] > REQUESTS / 10
        assert seen["stale"] > 0
        assert seen["faults"] >= 1

    random.seed(7)
    with valkey(tmp_path) as server:
        asyncio.run(story(server))
