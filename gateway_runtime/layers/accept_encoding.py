"""Accept-Encoding: which coding a client wants (RFC 9110 12.5.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

IDENTITY = "identity"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,32}")
_WEIGHT = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_LONGEST = 1024
"""Bytes of the field that are looked at; a longer one is answered without a coding."""


@lru_cache(maxsize=256)
def preferences(value: bytes) -> tuple[Mapping[str, int], bool]:
    """(Coding -> weight in thousandths, `*` included; whether all of it was well formed and unambiguous).

    What is not well formed is as if it were not there: a client never gets a coding that it may not have asked for.
    """
    found: dict[str, int] = {}
    if len(value) > _LONGEST:
        return found, False
    clean = True
    for part in value.decode("latin-1").lower().split(","):
        name, *parameters = (piece.strip(" \t") for piece in part.split(";"))
        if not name and not parameters:
            continue  # an empty list element (RFC 9110 5.6.1)
        weight = _weight(parameters)
        if not _TOKEN.fullmatch(name) or weight is None:
            clean = False
            continue
        name = {"x-gzip": "gzip", "x-compress": "compress"}.get(name, name)  # RFC 9110 8.4.1.1, 8.4.1.3
        clean = clean and name not in found
        # Named twice: the lower weight, so that a refusal stays one.
        found[name] = min(weight, found.get(name, 1000))
    return found, clean


def _weight(parameters: Sequence[str]) -> int | None:
    """Thousandths; 1000 when there is no weight, None when it is not one."""
    if not parameters:
        return 1000
    name, _, text = parameters[0].partition("=")
    if len(parameters) > 1 or name.strip() != "q" or not _WEIGHT.fullmatch(text.strip()):
        return None
    return round(float(text) * 1000)


def choose(value: bytes | None, offered: Iterable[str]) -> tuple[str, bool]:
    """(The coding to use or "identity", whether identity is refused).

    `offered` is in the server's order, which decides among equals; a coding wins over identity unless the client gave
    identity a higher weight. No field, or an empty one, means no coding. When nothing at all is acceptable the answer
    is identity: an answer in a form that was refused serves better than none (12.5.3 leaves that open).
    """
    if value is None:
        return IDENTITY, False
    return _choose(value, tuple(offered))


@lru_cache(maxsize=256)
def _choose(value: bytes, offered: tuple[str, ...]) -> tuple[str, bool]:
    wanted, _ = preferences(value)
    rest = wanted.get("*", 0)
    best, weight = IDENTITY, 0
    for coding in offered:
        found = wanted.get(coding, rest)
        if found > weight:
            best, weight = coding, found
    refused = wanted.get(IDENTITY, 0 if wanted.get("*") == 0 else 1) == 0
    if wanted.get(IDENTITY, 0) > weight:
        return IDENTITY, False
    return best, refused and best != IDENTITY


def canonical(values: Iterable[bytes]) -> bytes:
    """One spelling for fields that mean the same to everybody (RFC 9111 4.1 lets a cache do so): sorted, no spaces,
    weights in thousandths. A field that two servers could read differently keeps its own spelling.
    """
    joined = b",".join(values)
    found, clean = preferences(joined)
    if not clean:
        return b"=" + joined
    return ",".join(f"{name};{weight}" for name, weight in sorted(found.items())).encode("latin-1")
