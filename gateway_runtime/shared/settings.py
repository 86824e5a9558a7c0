"""The settings of the shared Redis and of the limits that live in it: their rows in the table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway_runtime.setting_types import Setting, number, one_of, whole


@dataclass(frozen=True)
class Rate:
    """So many requests in so many seconds; a limit of 0 means that nothing is limited."""

    limit: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Rate:
        """From `LIMIT/SECONDS` or `off`; ValueError."""
        if text == "off":
            return cls(0, 60)
        found = re.fullmatch(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,4})", text)
        if found is None or int(found[2]) > 86400:
            raise ValueError("must be LIMIT/SECONDS as in 600/60, or off")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.limit}/{self.seconds}" if self.limit else "off"


def redis_url(text: str) -> str:
    """redis:// or rediss://, [[user]:password@]host[:port][/database]; nothing else, so that nothing is silently ignored."""
    wanted = "must be redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], or rediss:// for TLS"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(wanted) from None
    plain = not re.search(r"[\x00-\x20\x7f\\]", text) and not parts.query and not parts.fragment
    known = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and port != 0
    if not plain or not known or not re.fullmatch(r"(/[0-9]{0,3})?", parts.path):
        raise ValueError(wanted)
    return text


ROWS: tuple[Setting, ...] = (
    Setting(
        "REDIS_URL",
        redis_url,
        "redis:// or rediss://",
        "The Redis that all instances share, with its AUTH string. Unset: every instance limits and caches alone.",
        secret=True,
    ),
    Setting("REDIS_POOL_MAX", whole(1, 100), "1..100", "Connections this process opens to Redis at most."),
    Setting(
        "REDIS_TIMEOUT",
        number(0.005, 5),
        "0.005..5 s",
        "How long one call waits for Redis. The first that waited in vain makes all others go on without it at once.",
    ),
    Setting(
        "REDIS_SHARED_CLIENT",
        one_of("on", "off"),
        "on off",
        "`off` gives the rate limiter a second Redis client of its own (the plan's state before step 1.3).",
    ),
    Setting(
        "RATE_LIMIT_ADDRESS",
        Rate.parse,
        "LIMIT/SECONDS or off",
        "Requests one network address may make in any window of that length, before anybody's token is looked at.",
    ),
    Setting(
        "RATE_LIMIT_USER",
        Rate.parse,
        "LIMIT/SECONDS or off",
        "Requests one verified user may make in any window of that length.",
    ),
    Setting(
        "RATE_LIMIT_TRUSTED_HOPS",
        whole(0, 10),
        "0..10",
        "How many proxies in front append to X-Forwarded-For. 0: the address is the connection's own. Cloud Run alone: 1. "
        "Upstreams are told the address found so, and with it the X-Forwarded-Proto that came.",
    ),
    Setting(
        "RATE_LIMIT_KEYS",
        whole(100, 1_000_000),
        "100..1000000",
        "Callers remembered in memory, for each of the limits.",
    ),
    Setting(
        "RATE_LIMIT_INSTANCES",
        whole(1, 1000),
        "1..1000",
        "Instances to divide a limit by while Redis is away and has not told how many there are.",
    ),
)
