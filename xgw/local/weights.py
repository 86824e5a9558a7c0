"""Exact shares: smooth weighted round robin, as nginx does it."""

from __future__ import annotations

from collections.abc import Sequence


class Weights:
    """Picks names in proportion to their weights.

    Among any run of sum(weights) picks, counted from the start, each name comes exactly its weight's number of times,
    and evenly spread: 90/10 gives one of the ten in every ten, not ten in a row.
    """

    def __init__(self, shares: Sequence[tuple[str, int]]) -> None:
        merged: dict[str, int] = {}
        for name, weight in shares:
            if weight > 0:
                merged[name] = merged.get(name, 0) + weight
        self._weights = merged
        self._total = sum(merged.values())
        self._current = dict.fromkeys(merged, 0)

    def pick(self) -> str | None:
        """The next name, or None when nothing has weight."""
        current = self._current
        best: str | None = None
        for name, weight in self._weights.items():
            current[name] += weight
            if best is None or current[name] > current[best]:
                best = name
        if best is not None:
            current[best] -= self._total
        return best
