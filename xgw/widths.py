"""How wide things are on a terminal, and fitting them into it. Nothing here knows what a report is.

Where no terminal reads there is no width, and nothing is cut or broken.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

NARROWEST, USUAL, WIDEST = 20, 80, 200
"""A terminal that does not say how wide it is counts as the usual one; beyond the widest nobody reads a line."""
Kind = Literal["stiff", "brief", "text"]
"""A column that keeps its width (numbers); one that only describes, and may be cut; one whose cells wrap, and stay whole."""
BETWEEN = 2
"""Spaces between two columns."""
SHORTEST = 8
"""A brief column keeps as much of its beginning."""
WORDS = (40, 32, 24, 16)
"""How long a word may be and still stay in one piece: as long as there is room for."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_WORD = re.compile(r"[^ ,]*[ ,]*")
_JOINT = re.compile(r".*[-/.=:?&_]")
_PART = re.compile(r"\S+(?: \S+)*")


class Whole(str):
    """A line that people copy: a command, a path. Longer than the terminal, it is left for the terminal to break."""

    __slots__ = ()


def columns(told: str | None, own: int) -> int:
    """How wide a terminal is to be taken for: as `told` (COLUMNS), else as it says itself, within bounds."""
    wished = int(told) if told and told.isascii() and told.isdigit() else 0
    return min(max(wished or own or USUAL, NARROWEST), WIDEST)


def span(text: str) -> int:
    """Columns that one line takes: wide characters take two, colours none."""
    if text.isascii() and "\x1b" not in text:
        return len(text)
    return sum(1 + (unicodedata.east_asian_width(sign) in "WF") for sign in _COLOUR.sub("", text))


def cut(text: str, width: int | None, more: str = "…") -> str:
    """`text`, or as much of its beginning as fits."""
    if width is None or span(text) <= width:
        return text
    return text[: _fitting(text, width - len(more))] + more[:width]


def tail(text: str, width: int) -> str:
    """`text`, or as much of its end as fits: of a path the end says more."""
    return text if len(text) <= width else "…" + text[len(text) - max(width - 1, 0) :]


def _fitting(text: str, width: int) -> int:
    """How many characters of `text` fit."""
    room = width
    for at, sign in enumerate(text):
        room -= span(sign)
        if room < 0:
            return at
    return len(text)


def wrap(text: str, width: int) -> list[str]:
    """The lines of `text`: broken after spaces and commas, else wherever it must. But for spaces at line ends all of it stays.

    tabulate's own wrapping breaks a list in the middle of its items, and takes a wide character for a narrow one.
    """
    found, line = [], ""
    for word in _WORD.findall(text):
        if line and span(line + word.rstrip(" ")) > width:
            found.append(line)
            line = ""
        *full, word = _pieces(word, width)
        found += full
        line += word
    return [part.rstrip(" ") for part in (*found, line) if part.strip(" ")] or [""]


def _pieces(word: str, width: int) -> list[str]:
    """A word that is too long, in pieces that fit, the last one with the spaces after it; preferably broken at its joints."""
    found, start, end = [], 0, len(word.rstrip(" "))
    while (fits := _fitting(word[start : min(start + width + 1, end)], width)) < end - start:
        joint = _JOINT.match(word[start : start + fits])
        step = joint.end() if joint and joint.end() > fits // 2 else max(fits, 1)
        found.append(word[start : start + step])
        start += step
    return [*found, word[start:]]


def flow(line: str, width: int | None) -> list[str]:
    """A line beside tables: broken between its parts, which two spaces or more divide; a part that is too long, in itself."""
    if width is None or isinstance(line, Whole) or span(line) <= width:
        return [line]
    first = " " * min(len(line) - len(line.lstrip()), width // 2)
    later = f"{first}  "
    found: list[str] = []
    last = 0
    for part in _PART.finditer(line):
        before = found[-1] + line[last : part.start()] if found else first
        last = part.end()
        if span(before + part[0]) <= width:
            found[-1:] = [before + part[0]]
            continue
        broken = wrap(part[0], width - len(later))
        found += [(later if found or at else first) + text for at, text in enumerate(broken)]
    return found


def shares(cells: Sequence[Sequence[str]], kinds: Sequence[Kind], width: int) -> list[int] | None:
    """How wide each column may be, so that all of them fit side by side. `cells` are columns, each with its header first.

    Long words stay in one piece while there is room for that. None when the terminal is too narrow for this table.
    """
    room = width - BETWEEN * (len(cells) - 1)
    wanted = [max(map(len, column)) + _excess(column) for column in cells]
    for longest in WORDS:
        words = [_least(column, kind, longest=longest) for column, kind in zip(cells, kinds, strict=True)]
        least = list(map(min, wanted, words))
        if sum(least) <= room:
            return _shared(wanted, least, room)
    return None


def _least(column: Sequence[str], kind: Kind, *, longest: int) -> int:
    header = span(column[0])
    if _excess(column):
        header += header // 2 + 1  # see `room_in`
    if kind == "stiff":
        return max(map(span, column))
    if kind == "brief":
        return max(header, SHORTEST)
    words = max(span(word.rstrip(" ")) for cell in column for word in _WORD.findall(cell))
    return max(header, min(words, longest))


def _shared(wanted: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """What each wants, but nobody more than an equal share, and nobody less than its least."""
    for share in range(room, 0, -1):
        found = [max(low, min(high, share)) for high, low in zip(wanted, least, strict=True)]
        if sum(found) <= room:
            return found
    return list(least)


def room_in(column: Sequence[str], share: int) -> int:
    """How long a line of this column may be. tabulate pads by characters: a wide one takes a column more than it is counted
    for, so what wide ones are given is less by a third."""
    excess = _excess(column)
    return share if not excess or max(map(len, column)) + excess <= share else max(share * 2 // 3, 2)


def _excess(column: Sequence[str]) -> int:
    return max(span(cell) - len(cell) for cell in column)
