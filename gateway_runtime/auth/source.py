"""Where a key set comes from: a file, or a URL. Nothing in a token has a say in it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from gateway_runtime.asgi import Headers
from gateway_runtime.auth.keyring import READ_SECONDS, KeySet
from gateway_runtime.auth.keys import SET_LIMIT, KeyFault
from gateway_runtime.setting_types import UpstreamUrl
from gateway_runtime.upstream.client import Ask, Client

FILE_SECONDS = 60.0
"""A file is looked at again after this long: a mounted secret may have been replaced."""
UNSAID_SECONDS = 300.0
"""How long a set is good for when its server does not say."""
_MAX_AGE = re.compile(rb"""(?:^|[,\s])max-age\s*=\s*"?([0-9]{1,9})""")
_NOT_KEPT = re.compile(rb"(?:^|[,\s])no-(?:store|cache)\b")


def source(place: str) -> Callable[[], Awaitable[KeySet]]:
    """What reads the key set at an absolute path or a URL."""
    return _from_file(Path(place)) if place.startswith("/") else _from_url(place)


def _from_file(path: Path) -> Callable[[], Awaitable[KeySet]]:
    def work() -> bytes:
        with path.open("rb") as file:
            return file.read(SET_LIMIT + 1)

    async def read() -> KeySet:
        return KeySet(await asyncio.to_thread(work), FILE_SECONDS)

    return read


def _from_url(place: str) -> Callable[[], Awaitable[KeySet]]:
    parts = urlsplit(place)
    tls = parts.scheme == "https"
    url = UpstreamUrl(tls, parts.hostname or "", parts.port or (443 if tls else 80))
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    ask = Ask("GET", target, f"host: {url.authority}\r\naccept: application/json\r\n".encode("ascii"))
    client = Client(url, timeout=READ_SECONDS)

    async def read() -> KeySet:
        answer = await client.ask(ask)
        try:
            if answer.status != 200:  # a redirect too: the keys are where the setting says, or nowhere
                raise KeyFault(f"{url.authority} answered {answer.status}")
            body = b""
            async for piece in answer.stream():
                body += piece
                if len(body) > SET_LIMIT:
                    raise KeyFault(f"longer than {SET_LIMIT} bytes")
            return KeySet(body, good_for(answer.headers))
        finally:
            answer.close()

    return read


def good_for(headers: Headers) -> float:
    """Seconds an answer is fresh for (RFC 9111 4.2.1, 4.2.3): its max-age less the Age it came with."""
    rules = b",".join(value for name, value in headers if name == b"cache-control").lower()
    if _NOT_KEPT.search(rules):
        return 0
    found = _MAX_AGE.search(rules)
    if found is None:
        return UNSAID_SECONDS
    age = next((value for name, value in headers if name == b"age" and value.isdigit()), b"0")
    return max(float(int(found[1]) - int(age[:9])), 0)
