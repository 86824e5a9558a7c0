"""Reads Cache-Control (RFC 9111 5.2), Vary and dates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache

from gateway_runtime.asgi import Headers

FOREVER = 2**31
"""Seconds that stand for "very long" (RFC 9111 1.2.2)."""

_DIRECTIVE = re.compile(
    rb'[ \t]*(?:([!#$%&\'*+.^_`|~0-9A-Za-z-]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([!#$%&\'*+.^_`|~0-9A-Za-z-]*)))?)?[ \t]*(?:,|\Z)'
)


@dataclass(frozen=True, slots=True)
class Directives:
    """The directives of one message. `broken`: something in it cannot be read, so it is taken in the strictest way."""

    named: frozenset[str]
    seconds: tuple[tuple[str, int | None], ...] = ()
    """Directives with a number of seconds; None when it is not one, or given twice with different values."""
    broken: bool = False

    def has(self, name: str) -> bool:
        """Whether a directive is there, with or without a value."""
        return name in self.named

    def number(self, name: str) -> int | None:
        """The seconds of a directive; 0 when they cannot be read, None when it is not there."""
        for key, value in self.seconds:
            if key == name:
                return value or 0
        return None


_WITH_SECONDS = frozenset(("max-age", "s-maxage", "max-stale", "min-fresh", "stale-while-revalidate", "stale-if-error"))
NONE = Directives(frozenset())


def directives(headers: Headers) -> Directives:
    """The Cache-Control of a message: all its fields, in any order, joined. Pragma counts where there is none."""
    values = [value for name, value in headers if name == b"cache-control"]
    if not values:
        pragma = any(name == b"pragma" and b"no-cache" in value.lower() for name, value in headers)
        return Directives(frozenset(("no-cache",))) if pragma else NONE
    return _parse(b",".join(values))


@lru_cache(maxsize=512)
def _parse(text: bytes) -> Directives:
    named: set[str] = set()
    seconds: dict[str, int | None] = {}
    at, broken = 0, False
    while at < len(text):
        match = _DIRECTIVE.match(text, at)
        if match is None or match.end() == at:
            broken = True  # skip to the next comma; what was in between is not guessed at
            comma = text.find(b",", at)
            at = len(text) if comma < 0 else comma + 1
            continue
        at = match.end()
        if match[1] is None:
            continue
        name = match[1].decode("latin-1").lower()
        named.add(name)
        if name in _WITH_SECONDS:
            value = match[3] if match[2] is None else match[2]
            if name == "max-stale" and value is None:
                value = b"%d" % FOREVER
            found = min(int(value[:12]), FOREVER) if value and value.isdigit() else None
            seconds[name] = found if name not in seconds or seconds[name] == found else None
    return Directives(frozenset(named), tuple(seconds.items()), broken)


def vary(headers: Headers) -> tuple[bytes, ...] | None:
    """The names in Vary, lower-case, sorted; None when there is a `*`: no other request has the same answer."""
    names = {
        part.strip().lower() for name, value in headers if name == b"vary" for part in value.split(b",") if part.strip()
    }
    return None if b"*" in names else tuple(sorted(names))


def date(value: bytes | None) -> float | None:
    """An HTTP date as Unix time; None when it is none."""
    if value is None:
        return None
    try:
        return parsedate_to_datetime(value.decode("ascii")).timestamp()
    except (ValueError, TypeError, OverflowError, UnicodeDecodeError, IndexError):
        return None
