"""Cells that a spreadsheet would take for formulas: made harmless on export, and exactly themselves again on import.

A cell that begins with = + - @, a tab, a carriage return or a line feed, apostrophes before it not counted, gets one
more apostrophe in front. Reading takes one apostrophe away from such a cell. All other cells stay as they are. So every
text comes back (also one that began with an apostrophe), and no exported cell begins with a sign of a formula. Only an
export of our own (FieldMap.neutralised) is read back this way: in anybody else's file an apostrophe is an apostrophe.
"""

from __future__ import annotations

import re

_RISKY = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")
_NEUTRAL = re.compile("'+[=+\\-@\t\r\n＝＋－＠]")


def neutral(text: str) -> str:
    """The text as a cell of an export. The full-width signs are formulas too, for some spreadsheets."""
    return f"'{text}" if _RISKY.match(text) else text


def plain(cell: str) -> str:
    """What `neutral` was given."""
    return cell[1:] if _NEUTRAL.match(cell) else cell
