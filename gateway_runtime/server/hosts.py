"""Which Host a request may name (RFC 9110 7.2, RFC 3986 3.2.2)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

from gateway_runtime.errors import Problem

_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME = re.compile(rf"(?=.{{1,253}}\.?\Z){_LABEL}(?:\.{_LABEL})*\.?")
_PORT = re.compile(r":([0-9]{1,5})\Z")
_PATTERN = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\]")
_REMEMBERED = 256


@dataclass(frozen=True)
class HostPolicy:
    """Exact names and `*.suffix` for every name below a suffix, ports apart; empty: any name that is well formed.

    The Host field is only ever checked. Nothing is routed by it, and no URL is made of it.
    """

    names: tuple[str, ...] = ()
    _good: set[bytes] = field(default_factory=set, repr=False, compare=False)

    @staticmethod
    def parse(text: str) -> HostPolicy:
        """Reads a comma list; ValueError says what would do."""
        names = tuple(name.strip().lower() for name in text.split(","))
        for name in names:
            if not _PATTERN.fullmatch(name):
                raise ValueError("must be a comma list of host names without ports, or *.suffix")
        return HostPolicy(names)

    def __str__(self) -> str:
        return ",".join(self.names)

    def check(self, value: bytes) -> None:
        """Problem unless this is one well-formed host that is ours: 400, or 421 for a name that is not."""
        if value in self._good:
            return
        name = host_name(value)
        if name is None:
            raise Problem("BAD_REQUEST", "The Host field is not well formed")
        if self.names and not any(_matches(pattern, name) for pattern in self.names):
            raise Problem("MISDIRECTED_REQUEST")
        if len(self._good) < _REMEMBERED:
            self._good.add(value)


def host_name(value: bytes) -> str | None:
    """The name in `host[:port]`, lower case and without a last dot; None when it is not well formed.

    Narrower than RFC 3986 on purpose: no user, no escapes, no sub-delimiters (a comma is how two Host fields look once
    somebody has joined them), no empty port.
    """
    if len(value) > 260 or not value.isascii():
        return None
    text = value.decode("ascii").lower()
    if port := _PORT.search(text):
        if int(port[1]) > 65535:
            return None
        text = text[: port.start()]
    if text.startswith("["):
        try:
            ipaddress.IPv6Address(text[1:-1] if text.endswith("]") and "%" not in text else "")
        except ValueError:
            return None
        return text
    return text.removesuffix(".") if _NAME.fullmatch(text) else None


def _matches(pattern: str, name: str) -> bool:
    return name.endswith(pattern[1:]) if pattern.startswith("*") else name == pattern
