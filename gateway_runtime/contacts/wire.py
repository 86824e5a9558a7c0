"""How contacts are asked for and answered over HTTP: the query, the body, the entity tag."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from gateway_runtime.asgi import JSON, Request, Response
from gateway_runtime.contacts.model import STATUSES, TYPES
from gateway_runtime.errors import Problem

MERGE_PATCH = b"application/merge-patch+json"
ALL = 1_000_000
"""Contacts of a page without a limit: the plan's state before step 1.4."""
PARTS = 10_000
"""Objects and arrays in a body: the largest batch has 2,002. Ten megabytes of empty ones are 250 in memory, and seconds."""
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_TAG = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


@dataclass(frozen=True, slots=True)
class Limits:
    """Contacts on a page when nobody says, and at most; `most` of 0 means all there are."""

    usual: int
    most: int

    @classmethod
    def of(cls, usual: int, most: int) -> Limits:
        """As the settings say; nobody gets more by saying nothing than at most."""
        return cls(min(usual, most) if most else usual, most)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a list was asked for."""

    limit: int
    status: str
    type: str
    cursor: str
    counted: bool


def list_wish(request: Request, limits: Limits) -> Wish:
    """The query of a list; Problem names what is wrong with it."""
    given = _query(request, ("limit", "status", "type", "cursor", "count"))
    return Wish(
        _limit(given.get("limit"), limits),
        choice(given, "status", STATUSES),
        choice(given, "type", TYPES),
        given.get("cursor", ""),
        choice(given, "count", ("true", "false")) == "true",
    )


def count_wish(request: Request) -> tuple[str, str]:
    """Status and type of the query of a count."""
    given = _query(request, ("status", "type"))
    return choice(given, "status", STATUSES), choice(given, "type", TYPES)


def no_query(request: Request) -> None:
    """Problem unless there is no query."""
    _query(request, ())


def choice(given: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    """One of the allowed words, "" when it is not given."""
    value = given.get(name, "")
    if name in given and value not in allowed:
        raise Problem("VALIDATION_FAILED", f"{name} must be one of {', '.join(allowed)}")
    return value


async def raw_body(request: Request, *kinds: bytes) -> bytes:
    """The body, when it says that it is of one of these media types."""
    kind = (request.header(b"content-type") or b"").split(b";")[0].strip().lower()
    if kind not in kinds:
        raise Problem("UNSUPPORTED_MEDIA_TYPE")
    return await request.body()


def parsed(body: bytes) -> object:
    """The JSON in a body: UTF-8, no key twice, no number that JSON does not have, no more than PARTS objects and arrays."""
    if _parts(body) > PARTS and _parts(_STRING.sub(b"", body)) > PARTS:
        raise Problem("BAD_REQUEST", f"The body holds more than {PARTS} objects and arrays")
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Problem("BAD_REQUEST", "The body is not JSON in UTF-8") from None


def encoded(data: object) -> bytes:
    """Data as the body of an answer."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()


def answer(status: int, body: bytes, *headers: tuple[bytes, bytes]) -> Response:
    """A JSON answer."""
    return Response(status, [(b"content-type", JSON), *headers], body)


def etag(version: str) -> tuple[bytes, bytes]:
    """The header field that tells a contact's version."""
    return b"etag", b'"' + version.encode("ascii") + b'"'


def tags(request: Request, name: bytes) -> frozenset[str] | None:
    """The versions that a condition names, `*` among them when it says so; None without a condition.

    A tag that a compression made weak counts as the tag: it stands for the version, not for the bytes of one answer.
    """
    given = [value for key, value in request.headers if key == name]
    if not given:
        return None
    told = b",".join(given).strip()
    if told == b"*":
        return frozenset("*")
    parts = [part.strip() for part in told.split(b",")]
    if not all(_TAG.fullmatch(part) for part in parts if part) or not any(parts):
        raise Problem("BAD_REQUEST", f"{name.decode()} holds no entity tag")
    return frozenset(part.removeprefix(b"W/").strip(b'"').decode("latin-1") for part in parts if part)


def _query(request: Request, known: tuple[str, ...]) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            request.query.decode("ascii"), keep_blank_values=True, max_num_fields=20, errors="strict"
        )  # fmt: skip
    except ValueError:
        raise Problem("VALIDATION_FAILED", "The query is not one, or has too many parts") from None
    given = dict(pairs)
    if len(given) != len(pairs) or given.keys() - set(known):
        may = f"may hold {', '.join(known)}, once each" if known else "must be empty"
        raise Problem("VALIDATION_FAILED", f"The query {may}")
    return given


def _limit(text: str | None, limits: Limits) -> int:
    if text is None:
        return limits.usual if limits.most else ALL
    most = limits.most or ALL
    if not (text.isascii() and text.isdigit() and len(text) <= 7 and 1 <= int(text) <= most):
        raise Problem("VALIDATION_FAILED", f"limit must be a whole number from 1 to {most}")
    return int(text)


def _parts(body: bytes) -> int:
    return body.count(b"{") + body.count(b"[")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_number(_text: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")
