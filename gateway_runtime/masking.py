"""What of a setting may be shown: not who signs on with which password, and nothing of a query, which may hold a key."""

from __future__ import annotations

import re

MASK = "********"
_ROUTE = re.compile(r"(?!https?:)[a-z]+:/(?!/)")
"""How a row of ROUTES begins, the only value with an @ that nobody's password stands before."""


def of_refused(text: str) -> str:
    """A value that was refused: nobody knows what it was meant to be, so everything before its last @ may be a password."""
    text = re.sub(r"(?s)(://).*@", rf"\1{MASK}@", text)
    if "://" not in text and not _ROUTE.match(text):
        text = re.sub(r"(?s)^.*@", f"{MASK}@", text)
    return re.sub(r"(?s)([?#]).*", rf"\1{MASK}", text)


def of_valid(text: str) -> str:
    """A value that is in force: no URL that was accepted has a user in it, and an @ may stand in its path."""
    return re.sub(r"(https?://[^?]*\?).*", rf"\1{MASK}", text)
