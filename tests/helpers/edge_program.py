"""A small ASGI application behind the server edge, or behind plain uvicorn for comparison: a program of its own.

python -m tests.helpers.edge_program PORT ours|uvicorn none|wsproto [SETTING=value ...]
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
SEEN = {"open": 0, "left": 0, "refused": 0, "read": 0}


async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        for _ in range(2):
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
        return
    if scope["type"] == "websocket":
        await websocket(receive, send)
        return
    SEEN["open"] += 1
    try:
        await ROUTES.get(scope["path"], echo)(scope, receive, send)
    finally:
        SEEN["open"] -= 1


async def websocket(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": f"echo {message['text']}"})


async def answer(send: Send, status: int, body: bytes, *fields: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(fields), "whole": True})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            SEEN["left"] += 1
            return
        size += len(message["body"])
        SEEN["read"] = size
        more = message["more_body"]
    query = scope["query_string"].decode()
    target = scope["raw_path"].decode() + (f"?{query}" if query else "")
    await answer(send, 200, json.dumps([scope["method"], target, size]).encode())


async def state(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    await answer(send, 200, json.dumps(SEEN).encode())


async def refuse(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    SEEN["refused"] += 1
    await answer(send, 401, b"no")


async def wait(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    SEEN["left"] += 1


async def busy(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Reads nothing, and works until the client leaves."""
    gone = asyncio.Event()
    scope["on_leave"](gone.set)
    await gone.wait()
    SEEN["left"] += 1


async def late(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    await asyncio.sleep(1)
    await answer(send, 200, b"late")


async def big(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10485760")]})
    for left in range(159, -1, -1):
        await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": left > 0})


async def stream(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for piece in (b"one", b"", b"two"):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(0.3)
    await send({"type": "http.response.body", "body": b""})


async def crash(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    raise RuntimeError("secret-of-the-application")


async def crash_late(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
    await send({"type": "http.response.body", "body": b"hell", "more_body": True})
    raise RuntimeError("secret-of-the-application")


async def silent(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Returns without an answer."""


async def split(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    await answer(send, 200, b"", (b"x", b"a\r\nset-cookie: evil=1"))


def bare(status: int) -> Callable[..., Awaitable[None]]:
    async def handler(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await answer(send, status, b"never on the wire")

    return handler


ROUTES: dict[str, Callable[..., Awaitable[None]]] = {
    "/state": state, "/refuse": refuse, "/wait": wait, "/busy": busy, "/late": late, "/big": big, "/stream": stream,
    "/crash": crash, "/crash-late": crash_late, "/silent": silent, "/split": split, "/204": bare(204), "/304": bare(304),
}  # fmt: skip


def main(port: str, server: str, ws: str, *settings: str) -> None:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", int(port)))
    if server == "ours":
        from gateway_runtime.logs import Log
        from gateway_runtime.server.run import front, serve
        from gateway_runtime.settings import read

        chosen = read(dict(setting.split("=", 1) for setting in settings))
        serve(app, front(chosen, Log()), listening, drain=chosen.server_drain_timeout, ws=ws)
    else:
        import uvicorn

        config = uvicorn.Config(app, http="httptools", ws=ws, lifespan="on", log_config=None, access_log=False)
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main(*sys.argv[1:])
