"""A small, well-behaved HTTP program for the local target's tests: says who it is, echoes, streams, speaks WebSocket.

Run by uvicorn: `python -m tests.helpers.local_program`.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import uvicorn

NAME = os.environ.get("K_REVISION", "")
NEXT = asyncio.Semaphore(0)


async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await websocket(receive, send)
        return
    if scope["type"] != "http":
        return
    path = scope["path"]
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    if path == "/slow":
        await asyncio.sleep(float(scope["query_string"].decode() or "1"))
    if path == "/die":
        os._exit(3)
    if path == "/events":
        await events(send)
        return
    if path == "/next-event":
        NEXT.release()
    if path == "/echo":
        await echo(receive, send)
        return
    if path == "/empty":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    if path == "/read":
        while (await receive()).get("more_body", False):
            pass
    if path == "/refuse":
        await answer(send, 413, {"error": "too large"})
        return
    await answer(send, 200, {"revision": NAME, "path": path, "headers": headers, "pid": os.getpid()})


async def answer(send, status, body):
    raw = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": raw})


async def echo(receive, send):
    """Streams the request body back while it arrives."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message.get("more_body", False)
        await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def events(send):
    """One event now, and another whenever somebody asks for it at /next-event."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for number in range(20):
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
        await NEXT.acquire()
    await send({"type": "http.response.body", "body": b""})


async def websocket(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] != "websocket.receive":
            return
        await send({"type": "websocket.send", "text": f"{NAME}:{message.get('text')}"})


HUNGRY_CHILD = "x = bytearray(b'1') * (50 << 20)\nimport time\ntime.sleep(60)"

if __name__ == "__main__":
    if sys.argv[1:] == ["with-child"]:
        subprocess.Popen([sys.executable, "-c", HUNGRY_CHILD])
    uvicorn.run(app, host="0.0.0.0", port=int(os.environ["PORT"]), log_level="warning", ws="wsproto", access_log=False)
