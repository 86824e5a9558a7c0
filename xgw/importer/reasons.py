"""Why a row can be refused: every code, in one table. A code never changes its meaning; new ones may come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """`broken`: the row could not be read into fields, so its bytes are kept in escaped form (column xgw_raw)."""

    text: str
    fix: str
    broken: bool = False


REASONS: Mapping[str, Reason] = {
    # --- the row cannot be read
    "TOO_FEW_FIELDS": Reason("the row has fewer fields than the header", "add the missing delimiters"),
    "TOO_MANY_FIELDS": Reason("the row has more fields than the header", "quote the field that holds the delimiter"),
    "NUL_BYTE": Reason("the row holds a NUL character", "remove it", broken=True),
    "BAD_ENCODING": Reason(
        "bytes of the row are not in the file's encoding", "spell them in the encoding", broken=True
    ),
    "UNCLOSED_QUOTE": Reason("a quote opens and is not closed properly", "close the quote", broken=True),
    "STRAY_QUOTE": Reason("text follows a closing quote", "double the quotes inside a quoted field", broken=True),
    "STRAY_NEWLINE": Reason(
        "a lone carriage return or line feed stands outside quotes", "quote the field that holds it", broken=True
    ),
    "FIELD_TOO_LARGE": Reason("a field holds more than 1,048,576 characters", "shorten it", broken=True),
    "MOVED_CELLS": Reason(
        "the xgw_ cells of a rejects file are not in their own columns", "put the fields back, and empty the xgw_ cells"
    ),
    # --- the row cannot be kept
    "EMPTY_ROW": Reason("every field is empty", "leave the row away"),
    "REQUIRED": Reason("a field that every contact has is empty", "fill it in"),
    "NO_KEY": Reason("the field that tells contacts apart is empty", "fill it in, or choose another with --key"),
    "TOO_LONG": Reason("the text is too long for its field", "shorten it"),
    "BAD_CHARACTER": Reason("the text holds a control character", "remove it"),
    "NOT_AN_ADDRESS": Reason("not an e-mail address", "correct it"),
    "UNKNOWN_VALUE": Reason("the word is none that the field knows", "name it in [values] of the mapping file"),
    "NOT_WHOLE": Reason("not a whole number", "write digits only"),
    "OUT_OF_RANGE": Reason("the number is too small or too large", "correct it"),
    "NOT_A_TIME": Reason("not a date or time as in 2026-01-31T08:15:00Z", "set date_format in the mapping file"),
    "TOO_MANY": Reason("the contact would have more than 100 custom fields", "leave some of them out"),
    # --- the store would not have it
    "TOO_LARGE": Reason("the contact is larger than the store can hold", "shorten its longest fields"),
    "NOT_STORABLE": Reason("a value is none that the store knows", "look for what is unusual in this row"),
    "CONTENDED": Reason("somebody else kept changing this contact", "import the row again"),
}
"""Code -> what it says, and what to do."""

MOVED = "MOVED_CELLS"

LIMIT = 1 << 20
"""Characters of one field."""


def shown(value: str, limit: int = 40) -> str:
    """A value of the file as an error may repeat it: one line, nothing invisible, cut."""
    cut = value[:limit]
    text = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in cut)
    return text[:limit] + "…" if len(value) > limit or len(text) > limit else text
