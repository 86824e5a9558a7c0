"""How one setting is described and read: the parsers that the table in `gateway_runtime.settings` is made of.

A parser takes the text of a variable and returns its value, or raises ValueError saying what would do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class UpstreamUrl:
    """Where an upstream listens: never taken from a request."""

    tls: bool
    host: str
    port: int
    path: str = ""

    @property
    def authority(self) -> str:
        """What goes into the Host field: the port only when it is not the scheme's own."""
        return self.host if self.port == (443 if self.tls else 80) else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.path}"


@dataclass(frozen=True)
class Setting:
    """One environment variable, how it is read and what it means. `parse` raises ValueError saying what would do."""

    env: str
    parse: Callable[[str], Any]
    values: str
    meaning: str
    secret: bool = False

    @property
    def attribute(self) -> str:
        """The field of `Settings` it fills."""
        return self.env.lower()


def one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return parse


def listed(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        found = text.split(",")
        if len(set(found)) != len(found) or not set(found) <= set(words):
            raise ValueError(f"must be a comma list of {', '.join(words)}, each once")
        return text

    return parse


def whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def number(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,9})?", text) or not low <= float(text) <= high:
            raise ValueError(f"must be a number from {low:g} to {high:g}")
        return float(text)

    return parse


def name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", text):
        raise ValueError("must be letters, digits, dots, dashes and underscores, 128 at most")
    return text


def ipv4(text: str) -> str:
    """An IPv4 address."""
    if not re.fullmatch(r"(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])(\.(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])){3}", text):
        raise ValueError("must be an IPv4 address")
    return text


def project(text: str) -> str:
    if not re.fullmatch(r"([a-z0-9.-]{1,100}:)?[a-z][a-z0-9-]{0,62}", text):
        raise ValueError("must be a project id")
    return text


def parse_url(text: str) -> UpstreamUrl:
    """The base URL of an upstream; ValueError unless it is plain http(s)://host[:port][/path]."""
    wanted = "must be a base URL like http://host:port, without user, query or fragment"
    if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?", text):
        raise ValueError(wanted)
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        raise ValueError(wanted) from None
    tls = parts.scheme == "https"
    path = parts.path.rstrip("/")
    if not parts.hostname or port == 0 or "//" in path or set(path.split("/")) & {".", ".."}:
        raise ValueError(wanted)
    return UpstreamUrl(tls, parts.hostname, port or (443 if tls else 80), path)
