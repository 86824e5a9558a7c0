"""What of a setting may be shown: not who signs on with which password, and nothing of a query, which may hold a key."""

from __future__ import annotations

import re

MASK = "********"
_ROUTE = re.compile(r"(?:crm|slack|gmail):/(?!/)")
"""How a row of ROUTES begins, the only value with an @ that nobody's password stands before."""
_SCHEME = r"(?s)^([A-Za-z][A-Za-z0-9+.-]*://)?"


def of_refused(text: str) -> str:
    """A value that was refused: nobody knows what it was meant to be, so everything before its last @ may be a password."""
    before = r"(?s)(://)" if _ROUTE.match(text) else _SCHEME
    text = re.sub(before + ".*@", rf"\1{MASK}@", text)
    return re.sub(r"(?s)([?#]).*", rf"\1{MASK}", text)


def of_valid(text: str) -> str:
    """A value that is in force: no URL that was accepted has a user in it, and an @ may stand in its path."""
    return re.sub(r"(https?://[^?]*\?).*", rf"\1{MASK}", text)
