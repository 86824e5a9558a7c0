"""Lines for people that fit where people look: 80 columns."""

from __future__ import annotations

from collections.abc import Iterable

WIDTH = 80
MORE = "…"


def cut(text: str, width: int) -> str:
    """`text`, or as much of its beginning as fits."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + MORE


def tail(text: str, width: int) -> str:
    """`text`, or as much of its end as fits: of a path the end says more."""
    return text if len(text) <= width else MORE + text[len(text) - max(width - 1, 0) :]


def lines(parts: Iterable[str], *, first: str = "  ", indent: str = "  ", between: str = "  ") -> list[str]:
    """The parts side by side in as many lines as they need; a part that fits in none is cut."""
    found: list[str] = []
    line = ""
    for part in (cut(part, WIDTH - len(max(first, indent, key=len))) for part in parts):
        start = first if not found else indent
        if line and len(line) + len(between) + len(part) > WIDTH:
            found.append(line.rstrip())
            line = indent + part
        else:
            line = f"{line}{between}{part}" if line else start + part
    return [*found, line] if line else found
