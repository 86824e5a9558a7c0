"""The names of stored answers: different requests never share one.

A key is the SHA-256 of fields that are each preceded by their length, so that no two lists of fields give one text:
`("a=x|tenant-b",)` and `("a=x", "tenant-b")` differ. The first field says which version of this scheme made it.

The document's scheme (plan 3.3) hashes service, method, endpoint, query, body and Content-Type: two tenants, two users and
two languages get one key. tests/unit/gateway/test_cache_key.py runs it as the control that must fail.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway_runtime.asgi import Headers
from gateway_runtime.layers.accept_encoding import canonical

VERSION = b"xgw-cache-3"

ALWAYS = (b"accept", b"accept-language")
"""Fields of a request that tell answers apart even when the answer's Vary forgets to say so."""

ABSENT = None
Field = bytes | None

_length = struct.Struct(">Q").pack


def fingerprint(fields: Iterable[Field]) -> bytes:
    """32 bytes, different for any two different lists. None (absent) differs from every value, the empty one included."""
    parts = [b"-" if field is None else b"+" + _length(len(field)) + field for field in fields]
    return hashlib.sha256(b"".join(parts)).digest()


@dataclass(frozen=True, slots=True)
class Question:
    """What makes two requests the same question. `user` is None where one answer serves all users of a tenant."""

    space: bytes
    tenant: bytes | None
    user: bytes | None
    service: bytes
    method: bytes
    path: bytes
    query: bytes
    fields: tuple[tuple[bytes, tuple[bytes, ...]], ...] = ()
    """Name -> values in order, of each field of the request that tells answers apart."""

    def key(self) -> bytes:
        """The question's name."""
        told: list[Field] = [
            VERSION, self.space, self.tenant, self.user, self.service, self.method, self.path, self.query,
        ]  # fmt: skip
        for name, values in self.fields:
            told += (name, _length(len(values)), *values)
        return fingerprint(told)


def selected(headers: Headers, names: Iterable[bytes]) -> tuple[tuple[bytes, tuple[bytes, ...]], ...]:
    """These fields of a request, as they count for telling answers apart: absent is not the same as empty."""
    found = []
    for name in names:
        values = tuple(value for key, value in headers if key == name)
        if name == b"accept-encoding" and values:
            values = (canonical(values),)
        found.append((name, values))
    return tuple(found)


def variant(primary: bytes, headers: Headers, names: Sequence[bytes]) -> bytes:
    """The name of one variant of an answer that varies with these fields of the request."""
    told: list[Field] = [VERSION, primary]
    for name, values in selected(headers, names):
        told += (name, _length(len(values)), *values)
    return fingerprint(told)
