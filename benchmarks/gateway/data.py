"""The bodies that are sent around: made up, the same on every machine."""

from __future__ import annotations

import gzip
import json
import random
import uuid
from pathlib import Path
from typing import Any

SMALL, LARGE = 10, 98
"""Contacts on a page: about 3 KB and 32 KB."""
CREATED = {"created": 1, "id": "8c6f3a52-2f0e-4a29-9c39-2f5a1a3f8d11"}
"""What the upstream answers to a POST (upstream.c)."""


def bodies() -> dict[str, bytes]:
    """File name -> body, as upstream.c reads them; `post.json` is what clients send."""
    chance = random.Random(7)
    small, large = _page(chance, SMALL), _page(chance, LARGE)
    return {
        "contacts.json": _dumps(small),
        "big.json": _dumps(large),
        "big.json.gz": gzip.compress(_dumps(large), 6, mtime=0),
        "post.json": _dumps({"contacts": [_contact(chance, at) for at in range(SMALL)]}),
    }


def write(directory: Path) -> dict[str, bytes]:
    """Puts them into a directory, and returns them."""
    directory.mkdir(parents=True, exist_ok=True)
    made = bodies()
    for name, body in made.items():
        (directory / name).write_bytes(body)
    return made


def _contact(chance: random.Random, at: int) -> dict[str, Any]:
    return {
        "id": str(uuid.UUID(int=chance.getrandbits(128))),
        "type": "person",
        "name": f"Contact {at} {chance.choice(['Adams', 'Baker', 'Curie', 'Diaz'])}",
        "email": f"c{chance.randrange(10**6)}@example.com",
        "relationshipType": chance.choice(["prospect", "client", "partner"]),
        "status": "active",
        "source": "manual",
        "interactionCount": chance.randrange(50),
        "emailCount": chance.randrange(50),
        "slackMessageCount": chance.randrange(50),
        "createdAt": f"2025-10-{chance.randrange(1, 29):02d}T08:{chance.randrange(60):02d}:00.000Z",
        "customFields": {"note": f"{chance.getrandbits(64):x}"},
    }


def _page(chance: random.Random, size: int) -> dict[str, Any]:
    items = [_contact(chance, at) for at in range(size)]
    return {"items": items, "hasMore": True, "nextCursor": str(uuid.UUID(int=chance.getrandbits(128)))}


def _dumps(data: object) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()
