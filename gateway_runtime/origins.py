"""Which web origins may call: one policy for HTTP and for the socket stream.

An origin is compared as what it is, scheme, host labels and port, never by a pattern over the whole string: plan 1.8's
`/^https:\\/\\/.*\\.xynergy\\.com$/` also accepts `https://evil.com/.xynergy.com` and `https://evil.com#.xynergy.com`.
Only the form a browser writes (RFC 6454 6.2: lower case, no default port, nothing after the port) is an origin here;
whatever else arrives in the field is refused, so that two spellings can never be judged differently.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway_runtime.masking import of_refused

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL})*"
_ORIGIN = re.compile(rf"(https?)://({_HOST})(?::([1-9][0-9]{{0,4}}))?", re.ASCII)
_DEFAULT_PORT = {"http": 80, "https": 443}
_LONGEST = 300


@dataclass(frozen=True)
class OriginPolicy:
    """The origins that may call. `exact` are whole origins; `below` are host suffixes, https and default port only."""

    exact: frozenset[str] = frozenset()
    below: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def parse(cls, text: str) -> OriginPolicy:
        """The policy of a comma list; ValueError says what is wrong with the first bad entry."""
        exact, below = set[str](), list[tuple[str, ...]]()
        for entry in (part.strip().lower() for part in text.split(",")):
            scheme, _, rest = entry.partition("://")
            if rest.startswith("*."):
                below.append(_suffix(entry, scheme, rest[2:]))
            else:
                exact.add(_exact(entry))
        return cls(frozenset(exact), tuple(dict.fromkeys(below)))

    def allows(self, origin: str | None) -> bool:
        """Whether pages of this origin may call. None, "null" and everything malformed may not."""
        if origin is None or len(origin) > _LONGEST:
            return False
        if origin in self.exact:
            return True
        if not self.below or not (match := _ORIGIN.fullmatch(origin)):
            return False
        scheme, host, port = match.groups()
        if scheme != "https" or port is not None or len(host) > 253:
            return False
        labels = tuple(host.split("."))
        return any(len(labels) > len(suffix) and labels[-len(suffix) :] == suffix for suffix in self.below)

    def __str__(self) -> str:
        return ",".join([*sorted(self.exact), *(f"https://*.{'.'.join(suffix)}" for suffix in self.below)])


def _exact(entry: str) -> str:
    match = _ORIGIN.fullmatch(entry)
    if not match or (match[3] and int(match[3]) > 65535):
        raise ValueError(
            f"holds {of_refused(entry)[:80]!r}, which is not an origin like https://app.example.com or https://*.example.com"
        )
    scheme, host, port = match.groups()
    return f"{scheme}://{host}" if port is None or int(port) == _DEFAULT_PORT[scheme] else f"{scheme}://{host}:{port}"


def _suffix(entry: str, scheme: str, host: str) -> tuple[str, ...]:
    labels = tuple(host.split("."))
    if scheme != "https" or not re.fullmatch(_HOST, host) or len(labels) < 2:
        raise ValueError(
            f"holds {of_refused(entry)[:80]!r}; a wildcard is https://*. and a domain of two labels or more, without a port"
        )
    return labels
