"""Somebody who keeps asking a URL, in a process of its own, until its standard input ends:
`python -m tests.helpers.asking URL RATE`.

Lean on purpose, and patient: a busy machine makes answers late, and late is not failed. A request has failed when its
answer is not 2xx, is torn, or does not come within PATIENCE_S. Prints one line when the first answer has come, and at the end
one of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from urllib.parse import urlsplit

PATIENCE_S = 60.0
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def ask(host: str, port: int, path: str, idle: list[Connection]) -> str:
    """One GET, on a kept connection when one is open; what came of it in a word: "200", "503", "ConnectionResetError"."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while idle and (idle[-1][0].at_eof() or idle[-1][1].is_closing()):
                idle.pop()[1].close()
            reader, writer = idle.pop() if idle else await asyncio.open_connection(host, port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = next(int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:"))
            await reader.readexactly(length)
    except (OSError, EOFError, TimeoutError, StopIteration) as error:
        return type(error).__name__
    if "connection: close" in head:
        writer.close()
    else:
        idle.append((reader, writer))
    return head.split(" ", 2)[1]


async def keep_asking(url: str, rate: float) -> Counter[str]:
    """Requests start when they are due, whether or not earlier ones have ended."""
    parts, idle = urlsplit(url), list[Connection]()
    where = str(parts.hostname), int(parts.port or 80), parts.path
    said = Counter([await ask(*where, idle)])
    print("asking", flush=True)
    over = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    zero, asked = time.monotonic(), list[asyncio.Task[str]]()
    while not over.done():
        asked.append(asyncio.create_task(ask(*where, idle)))
        await asyncio.sleep(max(zero + len(asked) / rate - time.monotonic(), 0))
    said += Counter([await one for one in asked])
    for _, writer in idle:
        writer.close()
    return said


if __name__ == "__main__":
    print(json.dumps(asyncio.run(keep_asking(sys.argv[1], float(sys.argv[2])))))
