"""Takes a compact JWS apart (RFC 7515 3.1, 7.1) and believes none of it.

Only the header is read here: it names the key. The payload stays bytes until its signature has been checked, so that no
parser but the small one for the header ever meets what a stranger wrote.

Of two texts at most one is a given token: base64url has no padding, no foreign characters and no loose bits at its end.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from binascii import a2b_base64
from dataclasses import dataclass
from typing import Any

from gateway_runtime.auth.refusals import invalid

TOKEN_LIMIT = 8192
"""Bytes. Firebase's are near 1 KiB; their custom claims may hold 1000 bytes."""
BRACKET_LIMIT = 200
"""Opening brackets in one JSON text: nothing is nested deeper than it has brackets. Python's parser stops at 1000."""

_SHAPE = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_KID = re.compile(r"[\x21-\x7e]{1,256}")
_STANDARD = bytes.maketrans(b"-_", b"+/")
_UNUSABLE = ("jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc", "cty")
"""Header members that say where to find a key, or that the token is more than a signed JSON object. A key comes from the
key set and from nowhere else, so a token with one of these is refused rather than read without it."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token in its parts, unverified. `signed` is what `signature` was made over."""

    kid: str
    signed: bytes
    payload: bytes
    signature: bytes


def take_apart(raw: bytes) -> Token:
    """The parts of a token whose header asks for RS256 and names a key; Problem 401 for anything else."""
    match = _SHAPE.fullmatch(raw) if len(raw) <= TOKEN_LIMIT else None
    if match is None:
        raise invalid("not a compact JWS" if len(raw) <= TOKEN_LIMIT else "longer than a token")
    header = parse(decode(match[1]))
    # One algorithm, spelled one way: nothing to negotiate, nothing to confuse (RFC 8725 3.1).
    if header.get("alg") != "RS256":
        raise invalid("algorithm")
    if header.get("typ", "JWT") != "JWT" or any(name in header for name in _UNUSABLE):
        raise invalid("header")
    kid = header.get("kid")
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        raise invalid("key id")
    return Token(kid, raw[: match.end(2)], decode(match[2]), decode(match[3]))


def decode(text: bytes) -> bytes:
    """The bytes behind canonical base64url; Problem 401 when another text stands for the same bytes."""
    try:
        found = a2b_base64(text.translate(_STANDARD) + b"=" * (-len(text) % 4), strict_mode=True)
    except ValueError:
        raise invalid("base64") from None
    if urlsafe_b64encode(found).rstrip(b"=") != text:
        raise invalid("base64 with loose bits")
    return found


def parse(text: bytes) -> dict[str, Any]:
    """The JSON object in UTF-8; Problem 401 for deep nesting, a name twice, NaN, numbers past a float, and the rest."""
    if text.count(b"{") + text.count(b"[") > BRACKET_LIMIT:
        raise invalid("JSON nested too deeply")
    try:
        found = json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_such_number)
    except (ValueError, RecursionError):
        raise invalid("JSON") from None
    if not isinstance(found, dict):
        raise invalid("not a JSON object")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _no_such_number(text: str) -> float:
    raise ValueError(text)
