"""A cache on stage: the real layer over the real store, with or without a real Valkey, and an upstream that counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from gateway_runtime.asgi import Request, Response
from gateway_runtime.auth.identity import Identity
from gateway_runtime.cache.counts import Counts
from gateway_runtime.cache.flight import Flights
from gateway_runtime.cache.layer import Cache
from gateway_runtime.cache.policy import Policies, Way
from gateway_runtime.cache.search import Limits
from gateway_runtime.cache.store import Store
from gateway_runtime.metrics import Metrics
from gateway_runtime.shared.client import Shared
from tests.helpers.redis_server import RedisServer
from tests.helpers.waiting import PATIENCE

Fields = tuple[tuple[bytes, bytes], ...]
Play = Callable[[Request], Awaitable[Response]]
CONTACTS = "/api/v2/crm/contacts"


@contextmanager
def valkey(folder: Path) -> Iterator[RedisServer]:
    """A Valkey for a test; killed at the end, paused or not."""
    server = RedisServer(folder, "--maxmemory", "0")
    try:
        yield server
    finally:
        server.close()


class Origin:
    """An upstream as a handler: answers by `play`, counts, and remembers what it was asked."""

    def __init__(self, play: Play | None = None) -> None:
        self.play = play or says(b"cache-control: public, max-age=60")
        self.asked: list[Request] = []
        self.headers: list[dict[bytes, bytes]] = []

    @property
    def calls(self) -> int:
        return len(self.asked)

    async def __call__(self, request: Request) -> Response:
        self.asked.append(request)
        self.headers.append(dict(request.headers))
        return await self.play(request)


def fields(*lines: bytes) -> Fields:
    return tuple((name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines))


def says(*lines: bytes, status: int = 200, body: bytes = b'{"n":%d}', delay: float = 0) -> Play:
    """Answers with these fields and a body that counts up."""
    count = 0

    async def play(_: Request) -> Response:
        nonlocal count
        count += 1
        mine = count
        if delay:
            await asyncio.sleep(delay)
        return Response(status, fields(*lines), body.replace(b"%d", b"%d" % mine))

    return play


class Instance:
    """One gateway's cache around an upstream."""

    def __init__(
        self,
        origin: Play,
        url: str = "",
        *,
        routes: str = "",
        memory: int = 1 << 20,
        entry_limit: int = 1 << 16,
        trust: float = 0.005,
        longest: float = 3600.0,
        wait: float = 2.0,
    ) -> None:
        self.shared = Shared(url, service="gateway", wait=wait)  # a busy machine is not a lost Redis
        self.store = Store(self.shared, space=b"test", memory=memory, entry_limit=entry_limit, trust=trust)
        policies = Policies.parse(routes) if routes else Policies()
        self.metrics = Metrics()
        self.counts = Counts(self.metrics, self.store)
        ways = self.ways = tuple(Way(f"/api/v2/{name}", f"/api/v2/{name}", name) for name in ("crm", "slack", "gmail"))
        limits = Limits(b"test", longest, ways, policies)
        self.cache = Cache(origin, self.store, Flights(self.store), limits, self.counts)

    async def ask(
        self,
        *lines: bytes,
        method: str = "GET",
        path: str = CONTACTS,
        query: bytes = b"",
        tenant: str | None = "acme",
        user: str = "ada",
    ) -> Response:
        """One request; its answer with the whole body."""
        asked = ask(*lines, method=method, path=path, query=query, tenant=tenant, user=user)
        try:
            response = await self.cache(asked)
            if not isinstance(response.body, bytes):
                response.body = b"".join([piece async for piece in response.body])
            return response
        finally:
            asked.finish()


def ask(
    *lines: bytes, method: str, path: str, query: bytes = b"", tenant: str | None = "acme", user: str = "ada"
) -> Request:
    """A request as it comes from Auth."""
    never: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def receive() -> Any:
        return await never

    scope = {
        "method": method,
        "raw_path": path.encode(),
        "query_string": query,
        "scheme": "http",
        "headers": fields(*lines),
    }
    request = Request({**scope, "client": ("192.0.2.1", 1)}, receive)
    if tenant is not None:
        request.identity = Identity(tenant, user, (), time.time() + 3600)
    return request


@asynccontextmanager
async def instances(number: int, origin: Play, url: str = "", **settings: Any) -> AsyncIterator[Sequence[Instance]]:
    """Started instances that share one Redis; closed at the end."""
    made = [Instance(origin, url, **settings) for _ in range(number)]
    for each in made:
        await each.shared.start()
    try:
        if url:
            await until(lambda: all(each.shared.mode == "ok" for each in made))
        yield made
    finally:
        for each in made:
            await each.shared.close()


async def until(true: Callable[[], bool], seconds: float = PATIENCE) -> float:
    """Waits until it is true; how long that took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "never became true"
        await asyncio.sleep(0.002)
    return time.monotonic() - began


def x_cache(response: Response) -> str:
    return (response.header(b"x-cache") or b"").decode()
