"""Words for people: numbers with their noun, times, sizes, and what was meant by a word that nobody knows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime


def counted(number: float, one: str, many: str = "") -> str:
    """ "1 row", "2 rows", "1,000 rows"; `many` where an s does not do it."""
    shown = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{shown} {one if number == 1 else many or f'{one}s'}"


def duration(seconds: float) -> str:
    """Seconds as people say them: 0.6s, 12s, 2m08s, 1h03m, 3d04h."""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def relative(then: datetime, now: datetime) -> str:
    """How long ago: "just now", "2m ago", "3h ago", "yesterday", "3d ago"; the date beyond 30 days. Both aware."""
    seconds = (now - then).total_seconds()
    if seconds < -5:
        return f"in {duration(-seconds)}"
    if seconds < 10:
        return "just now"
    for limit, unit, name in ((60, 1, "s"), (3600, 60, "m"), (86400, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds // unit)}{name} ago"
    days = int(seconds // 86400)
    if days == 1:
        return "yesterday"
    return f"{days}d ago" if days <= 30 else then.date().isoformat()


def size(count: int) -> str:
    """Bytes in the units Cloud Run spells: 512Mi, 1Gi; below 1 Ki plain."""
    for unit, name in ((1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")):
        if count >= unit:
            return f"{count / unit:.1f}".removesuffix(".0") + name
    return str(count)


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that `word` is a slip of: a letter in three may be wrong, missing, too many, or swapped with the next;
    else the only one that begins with it. Empty when there is none: a wrong suggestion is worse than no suggestion."""
    words = list(dict.fromkeys(known))
    slips = min(((distance(word, other), other) for other in words), default=(0, ""), key=lambda found: found[0])
    if slips[0] <= max(1, len(word) // 3):
        return slips[1]
    begun = [other for other in words if len(word) > 1 and other.startswith(word)]
    return begun[0] if len(begun) == 1 else ""


def distance(one: str, other: str) -> int:
    """How many slips lie between them: letters changed, left out, put in, or two neighbours swapped."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        last, before, row = before, row, [i]
        for j, b in enumerate(other, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b)))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                row[j] = min(row[j], last[j - 2] + 1)
    return row[-1]
