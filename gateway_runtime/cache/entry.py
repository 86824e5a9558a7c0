"""A stored answer, and its form in Redis.

    "xgwc" version(1) digest(16) head-length(4) head(JSON) body

The digest (BLAKE2b) covers the key, the head and the body: bytes that were altered, cut, written by another version, or
put under another key are not an answer. Nothing read from Redis is ever executed; the head is JSON of known shape.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from gateway_runtime.cache.rules import Terms

MAGIC = b"xgwc\x03"
OVERHEAD = 1024
"""Bytes an entry is counted for besides its body and fields: Python's objects around them."""

_HEAD = struct.Struct(">5s16sI")
Fields = tuple[tuple[bytes, bytes], ...]


class Variants(MutableMapping[str, bytes]):
    """The coded forms of one body, kept as long as the entry is; `grown` hears of each new one's size."""

    __slots__ = ("_forms", "grown")

    def __init__(self) -> None:
        self._forms: dict[str, bytes] = {}
        self.grown: Any = None

    def __getitem__(self, coding: str) -> bytes:
        return self._forms[coding]

    def __setitem__(self, coding: str, body: bytes) -> None:
        known = coding in self._forms
        self._forms[coding] = body
        if self.grown is not None and not known:
            self.grown(len(body))

    def __delitem__(self, coding: str) -> None:
        del self._forms[coding]

    def __iter__(self) -> Iterator[str]:
        return iter(self._forms)

    def __len__(self) -> int:
        return len(self._forms)


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer as it was stored. `made` is when it was new, in Unix time: its Age counts from there.

    `fields` are the upstream's own. `generations` says which writes it has seen; `varies` are the request fields it depends
    on, besides those in its key; `authorised` whether it was made for a caller with a token.
    """

    status: int
    fields: Fields
    body: bytes
    terms: Terms
    made: float
    stored: float
    generations: bytes
    varies: tuple[bytes, ...] = ()
    authorised: bool = False
    outgoing: Fields = field(default=(), compare=False)
    """The fields as a client gets them; made when first needed."""
    variants: Variants = field(default_factory=Variants, compare=False)

    @property
    def size(self) -> int:
        """What it counts for in memory, without its coded forms."""
        return OVERHEAD + len(self.body) + sum(len(name) + len(value) for name, value in self.fields)

    def age(self, now: float) -> float:
        """Seconds since it was new; never negative, whatever the clock did."""
        return max(0.0, now - self.made)

    def header(self, name: bytes) -> bytes | None:
        """The first value of a field."""
        return next((value for key, value in self.fields if key == name), None)


def encode(key: bytes, entry: Entry) -> bytes:
    """The bytes that are stored under `key`."""
    head = json.dumps(
        {
            "status": entry.status,
            "fields": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in entry.fields],
            "terms": [entry.terms.lifetime, entry.terms.stale, entry.terms.error, entry.terms.strict],
            "made": entry.made,
            "stored": entry.stored,
            "generations": entry.generations.hex(),
            "authorised": entry.authorised,
            "varies": [name.decode("latin-1") for name in entry.varies],
        },
        separators=(",", ":"),
    ).encode("ascii")
    return _HEAD.pack(MAGIC, _digest(key, head, entry.body), len(head)) + head + entry.body


def decode(key: bytes, data: bytes, *, limit: int) -> Entry | None:
    """The answer in these bytes; None unless they are exactly what `encode` made for this key."""
    if not _HEAD.size <= len(data) <= limit:
        return None
    magic, digest, length = _HEAD.unpack_from(data)
    head, body = data[_HEAD.size : _HEAD.size + length], data[_HEAD.size + length :]
    if magic != MAGIC or len(head) != length or _digest(key, head, body) != digest:
        return None
    try:
        return _entry(json.loads(head), body)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _entry(head: Any, body: bytes) -> Entry:
    lifetime, stale, error, strict = head["terms"]
    return Entry(
        status=int(head["status"]),
        fields=tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in head["fields"]),
        body=body,
        terms=Terms(float(lifetime), float(stale), float(error), bool(strict)),
        made=float(head["made"]),
        stored=float(head["stored"]),
        generations=bytes.fromhex(head["generations"]),
        authorised=bool(head["authorised"]),
        varies=tuple(name.encode("latin-1") for name in head["varies"]),
    )


def _digest(key: bytes, head: bytes, body: bytes) -> bytes:
    hashed = hashlib.blake2b(key, digest_size=16)
    hashed.update(struct.pack(">QQ", len(key), len(head)))
    hashed.update(head)
    hashed.update(body)
    return hashed.digest()
