"""What a request leaves behind in the process: nothing that only the cycle collector could free.

What is kept in a cycle lives on with its body and its token until the collector comes by, and the collector's walks through
live requests were a fifth of what a request cost.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway_runtime.app import build
from gateway_runtime.logs import Log
from gateway_runtime.server.run import front
from gateway_runtime.settings import read
from tests.helpers import tokens

REQUESTS = 50
CASES = {
    "liveness": ("GET /health", "", b"", 200),
    "without a token": ("GET /api/v2/slack/x", "none", b"", 401),
    "with a wrong token": ("GET /api/v2/slack/x", "Authorization: Bearer a.b.c", b"", 401),
    "to nowhere": ("GET /nowhere", "", b"", 404),
    "by a wrong method": ("POST /health", "", b"{}", 405),
    "passed on": ("GET /api/v2/slack/x", "", b"", 200),
    "with a body": ("POST /api/v2/slack/x", "", b"x" * 1000, 200),
    "from the cache": ("GET /api/v2/crm/contacts", "", b"", 200),
    "compressed": ("GET /api/v2/crm/contacts", "Accept-Encoding: gzip", b"", 200),
    "that an upstream fails": ("GET /api/v2/slack/fails", "", b"", 502),
    "that an upstream breaks off": ("GET /api/v2/slack/breaks", "", b"", 502),
    "to an upstream that is not there": ("GET /api/v2/gmail/x", "", b"", 503),
    "whose client leaves": ("GET /api/v2/slack/waits", "", b"", 0),
    "whose answer is cut short": ("GET /api/v2/slack/cut", "", b"", 0),
    "past the limit": ("GET /api/v2/calendar/x", "Authorization: Bearer LIMITED", b"", 429),
}
CASES_IN_VAIN = {"waits", "cut"}
Ask = Callable[[], Awaitable[int]]


@pytest.mark.parametrize("name", CASES)
def test_a_request_leaves_nothing_to_the_cycle_collector(name: str) -> None:
    line, field, body, status = CASES[name]

    async def story(ask: Ask) -> None:
        for _ in range(5):  # what is made once: a connection to the upstream, a remembered token, the stored answer
            await ask()
        await asyncio.sleep(0.1)  # what runs beside it ends
        gc.collect()
        gc.disable()
        try:
            found = {await ask() for _ in range(REQUESTS)}
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = Counter(map(_kind, gc.garbage))
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert found == {status}
        ours = {
            kind: count for kind, count in left.items() if kind in ("frame", "coroutine") or "gateway_runtime" in kind
        }
        assert not ours, f"{ours} of {left}"

    asyncio.run(staged(story, line, field, body))


def _kind(thing: object) -> str:
    """Its type, with the module where it says whose it is. asyncio's transports are cycles of their own, one a connection."""
    kind = type(thing)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


async def staged(story: Callable[[Ask], Awaitable[None]], line: str, field: str, body: bytes) -> None:
    """The whole gateway on a real socket in this process, in front of a real upstream."""
    asked = asyncio.Semaphore(0)
    upstream = await asyncio.start_server(partial(answer, asked), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{upstream.sockets[0].getsockname()[1]}"
    # Nobody listens on port 9: a call to gmail fails. Two calls an hour: the third of one user does.
    env = {"UPSTREAM_SLACK_URL": url, "UPSTREAM_CRM_URL": url, "UPSTREAM_GMAIL_URL": "http://127.0.0.1:9",
           "CACHE_ROUTES": "/api/v2/crm ttl=3600", "UPSTREAM_RETRIES": "0", "BREAKER": "off", **tokens.settings()}  # fmt: skip
    if "LIMITED" in field:
        env["RATE_LIMIT_USER"] = "2/3600"
        field = field.replace("Bearer LIMITED", tokens.bearer().partition("Authorization: ")[2])
    settings = read({"ROLE": "gateway", **env})
    with Path(os.devnull).open("wb") as nothing:  # noqa: ASYNC230  it waits for nobody
        log = Log(fd=nothing.fileno())
        app = build(settings, log)
        edge, config, state = front(settings, log), Config(app, interface="asgi3", log_config=None), ServerState()
        here = await asyncio.get_running_loop().create_server(lambda: edge(config, state, {}), "127.0.0.1", 0)
        address = here.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address)
        shown = (
            field if "Authorization" in field else "" if field == "none" else f"{tokens.bearer()}\r\n{field}".strip()
        )
        fields = [f"{line} HTTP/1.1", "Host: gateway.test", *filter(None, (shown,))]
        if body:
            fields.append(f"Content-Length: {len(body)}")
        data = "\r\n".join(fields).encode() + b"\r\n\r\n" + body

        async def ask() -> int:
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
            found = dict(item.split(b": ", 1) for item in head.split(b"\r\n")[1:-2])
            await reader.readexactly(int(found[b"content-length"]))
            return int(head.split(b" ", 2)[1])

        async def in_vain() -> int:
            """A connection of its own that ends without a whole answer, by the client or by the upstream."""
            listening, saying = await asyncio.open_connection(*address)
            saying.write(data)
            if "/cut" in line:
                await listening.read()
            else:
                await asyncio.wait_for(asked.acquire(), 60)
            saying.transport.abort()
            await asyncio.sleep(0.02)  # the gateway hears of it
            return 0

        await story(ask if CASES_IN_VAIN.isdisjoint(line.split("/")) else in_vain)
        writer.close()
        here.close()
        log.close()
    upstream.close()


async def answer(asked: asyncio.Semaphore, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An upstream: 200 with 2 KB of JSON, or a failure that the path names."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if length := next((n for n in head.lower().split(b"\r\n") if n.startswith(b"content-length:")), None):
                await reader.readexactly(int(length.split(b":")[1]))
            said: Any = b'{"x":"' + b"y" * 2000 + b'"}'
            if b"/breaks" in head:
                break
            if b"/waits" in head:
                asked.release()
                await reader.read()
                break
            status = b"500 No" if b"/fails" in head else b"200 OK"
            writer.write(
                b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                % (status, len(said) + (b"/cut" in head), said)  # one byte more than there is
            )
            if b"/cut" in head:
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
