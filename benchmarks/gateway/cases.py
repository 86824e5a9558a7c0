"""What is asked for, as a table: every target gets exactly these bytes.

Paths below /api/v2/crm are cached by every target, those below /api/v2/slack and /api/v2/gmail by none. The upstream picks
its answer by a word in the path (upstream.c).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["plain", "caching"]

ORIGIN = "https://xynergyos.clearforgetech.com"
"""An origin that every target allows."""


@dataclass(frozen=True)
class Case:
    """One piece of work. `body` is the file that is sent, `answer` the one whose JSON must come back ("" for none).

    `coding`: the Content-Encoding the answer must have. `asks`: whether the upstream must be asked every time; if not, it
    must hardly ever be. `goals`: (other target, factor): requests per CPU second of ours must be so many times theirs.
    """

    name: str
    about: str
    path: str
    kind: Kind = "plain"
    method: str = "GET"
    body: str = ""
    status: int = 200
    answer: str = ""
    coding: str = ""
    asks: bool = False
    goals: tuple[tuple[str, float], ...] = ()
    targets: tuple[str, ...] = ()


CASES: tuple[Case, ...] = (
    Case("health", "/health", "/health", goals=(("express", 12), ("nginx", 0.45))),
    Case(
        "proxied", "proxied GET, 3 KB", "/api/v2/slack/contacts?limit=10",
        answer="contacts.json", asks=True, goals=(("express", 18), ("fastify", 3.3), ("nginx", 0.5)),
    ),
    Case(
        "cached", "cached GET, 3 KB", "/api/v2/crm/contacts?limit=10",
        kind="caching", answer="contacts.json", goals=(("express", 13), ("nginx", 0.9)),
    ),
    Case(
        "post", "proxied POST, 3 KB", "/api/v2/slack/contacts",
        method="POST", body="post.json", status=201, answer="created", asks=True, goals=(("express", 18), ("nginx", 0.5)),
    ),
    Case(
        "compressed", "32 KB JSON, compressed here", "/api/v2/slack/big",
        answer="big.json", coding="gzip", asks=True, goals=(("express", 18), ("nginx", 2.5)),
    ),
    Case(
        "compressed-1", "the same, peers at their fastest level", "/api/v2/gmail/big",
        answer="big.json", coding="gzip", asks=True, targets=("gateway", "nginx"),
    ),
    Case(
        "passed-on", "32 KB, already gzip from upstream", "/api/v2/slack/big.gz",
        answer="big.json", coding="gzip", asks=True, goals=(("express", 42), ("nginx", 0.55)),
    ),
    Case(
        "cached-gzip", "32 KB gzip, cache hit", "/api/v2/crm/contacts/big",
        kind="caching", answer="big.json", coding="gzip", goals=(("express", 42), ("nginx", 8)),
    ),
)  # fmt: skip
"""The order is that of the tables. Goals are those of this project for a quiet machine; nothing fails on them."""


def by_name(name: str) -> Case:
    """The case of that name; KeyError."""
    return {case.name: case for case in CASES}[name]


def headers(case: Case, token: str) -> dict[str, str]:
    """The fields of a case's requests, beside Host and Content-Length."""
    fields = {"Origin": ORIGIN, "Authorization": f"Bearer {token}"}
    if case.coding:
        fields["Accept-Encoding"] = case.coding
    if case.body:
        fields["Content-Type"] = "application/json"
    return fields


def request(case: Case, token: str, body: bytes) -> bytes:
    """A whole request as it goes over the wire."""
    lines = [f"{case.method} {case.path} HTTP/1.1", "Host: gateway.test"]
    lines += [f"{name}: {value}" for name, value in headers(case, token).items()]
    if case.body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
