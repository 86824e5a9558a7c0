"""The tier inside the process: the least recently used goes first when the bytes run out."""

from __future__ import annotations

from collections import OrderedDict

from gateway_runtime.cache.entry import Entry

SLOT = 200
"""Bytes a key counts for."""


class Memory:
    """At most `limit` bytes, counted as `Entry.size`, the coded forms kept beside it, and SLOT for each key."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[bytes, tuple[Entry, int]] = OrderedDict()
        self.bytes = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Entry | None:
        """The entry, which is now the last to go."""
        found = self._entries.get(key)
        if found is None:
            return None
        self._entries.move_to_end(key)
        return found[0]

    def put(self, key: bytes, entry: Entry) -> None:
        """Keeps an entry; one that alone is too large is not kept."""
        self.drop(key)
        size = entry.size + SLOT + sum(map(len, entry.variants.values()))
        if size > self._limit:
            return
        self._entries[key] = (entry, size)
        self.bytes += size
        entry.variants.grown = lambda more: self._grow(key, entry, more)
        self._make_room()

    def drop(self, key: bytes) -> None:
        """Forgets an entry."""
        found = self._entries.pop(key, None)
        if found is not None:
            self.bytes -= found[1]
            found[0].variants.grown = None

    def clear(self) -> None:
        """Forgets everything."""
        for key in list(self._entries):
            self.drop(key)

    def _grow(self, key: bytes, entry: Entry, more: int) -> None:
        found = self._entries.get(key)
        if found is None or found[0] is not entry:
            return
        self._entries[key] = (entry, found[1] + more)
        self.bytes += more
        self._make_room()

    def _make_room(self) -> None:
        while self.bytes > self._limit:
            self.drop(next(iter(self._entries)))
            self.evicted += 1
