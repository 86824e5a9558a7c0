"""The two tiers: this process's memory over the Redis that all instances share.

What is stored belongs to three **generations**: of everything, of its tenant, and of its tenant's collection. A write sets
a new generation of its collection, and from that moment on no instance gives out what was stored before, except:

- an instance trusts a generation it has read for `trust` seconds (5 ms), counted from when it *asked*. So the writing
  instance waits that long before it answers the write: a request that begins after a write was answered never gets what
  was stored before it, on any instance; one that begins earlier may, for at most `trust` after the new generation.
- while Redis cannot be reached, a process knows only of its own writes. It then gives out nothing that it stored or last
  confirmed more than ALONE seconds ago, and tells Redis of its writes as soon as it is back.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gateway_runtime.cache.entry import Entry, decode, encode
from gateway_runtime.cache.key import fingerprint
from gateway_runtime.cache.memory import Memory
from gateway_runtime.cache.scripts import BUMP, FIND, STORE
from gateway_runtime.shared.client import Shared, SharedUnavailable
from gateway_runtime.shared.crowd import Crowd

ALONE = 5.0
GENERATION_MS = 24 * 3600 * 1000
REMEMBERED = 4096
"""Collections whose generations a process remembers."""
WORD = 8
HEAD_ROOM = 128 * 1024
"""Bytes that a stored answer may have besides its body."""
HEARD = (b"stored", b"fenced", b"outdated")
"""What STORE says."""


class Collection(NamedTuple):
    """A tenant's collection; None is what belongs to nobody (public routes). A tuple: it is looked up at every request."""

    tenant: bytes | None
    path: str


EVERYTHING = Collection(None, "")
"""Stands for all collections."""


@dataclass(frozen=True, slots=True)
class Known:
    """Generations as last heard: `asked` is when, `after` the moment before which nothing heard counts any more."""

    generations: bytes
    asked: float
    after: float


class Store:
    """Finds, keeps and invalidates. Nothing here raises: without Redis it is the memory alone."""

    def __init__(self, shared: Shared, *, space: bytes, memory: int, entry_limit: int, trust: float) -> None:
        self.shared = shared
        self.memory = Memory(memory)
        self.entry_limit = entry_limit
        self.value_limit = entry_limit + HEAD_ROOM
        self.found_garbage = 0
        self._trust = trust
        self._prefix = shared.prefix + b"cache3:" + fingerprint([space])[:6].hex().encode() + b":"
        self._known: OrderedDict[Collection, Known] = OrderedDict()
        self._floor = 0.0
        self._unsaid: dict[Collection, bytes] = {}
        self._telling: asyncio.Task[None] | None = None
        self._asking: dict[Collection, tuple[float, Crowd[bytes]]] = {}
        """The questions for generations that are under way, and when each was asked."""
        self._writes: dict[Collection, None] = {}
        self._outdating: Crowd[None] | None = None
        """What will tell of `_writes` when this turn of the event loop is over."""
        shared.on_return(self._returned)

    @property
    def alone(self) -> bool:
        """Whether the shared tier is configured but cannot be used now."""
        return self.shared.mode == "degraded" or bool(self._unsaid)

    def shares(self, collection: Collection) -> bool:
        """Whether the shared tier can be used for a collection: Redis answers, and has heard of all our writes."""
        return self.shared.mode == "ok" and not (
            self._unsaid and not {collection, Collection(collection.tenant, ""), EVERYTHING}.isdisjoint(self._unsaid)
        )

    def name(self, kind: bytes, key: bytes) -> bytes:
        """The Redis key of an entry (e) or lock (l)."""
        return self._prefix + kind + b":" + key

    def generation_names(self, collection: Collection) -> list[bytes]:
        """The Redis keys of the three generations an entry of this collection depends on."""
        tenant = fingerprint([collection.tenant])
        return [
            self.name(b"g", b"all"),
            self.name(b"g", b"t" + tenant),
            self.name(b"g", b"c" + fingerprint([collection.tenant, collection.path.encode()])),
        ]

    async def find(self, key: bytes, collection: Collection) -> tuple[Entry | None, bytes]:
        """(The entry stored under a key, if it has seen every write; the generations as known now)."""
        now, wall = time.monotonic(), time.time()
        known, local = self._known.get(collection), self.memory.get(key)
        mode = self.shared.mode
        if mode == "off" or (mode == "ok" and not self.shares(collection)):
            return self._local(local, self._settled(collection, known), wall, alone=mode != "off")
        if known is not None and local is not None and local.generations == known.generations:
            fresh = local.status == 0 or local.age(wall) < local.terms.lifetime
            if fresh and now - known.asked <= self._trust:
                if now - known.asked > self._trust / 2 and mode == "ok":
                    self._question(key, collection, now)  # so that while requests come fast none has to wait
                return local, known.generations
            if mode == "ok" and fresh:
                return await self._confirm(key, local, collection)
        try:
            generations, value = await self._ask(key, collection, self.value_limit)
        except SharedUnavailable:
            return self._local(local, self._settled(collection, known), wall, alone=True)
        entry = self.read(key, value, generations)
        if entry is None or (local is not None and local.generations == generations and local.stored >= entry.stored):
            entry = local if local is not None and local.generations == generations else None
        else:
            self.memory.put(key, entry)
        return entry, generations

    def index(self, key: bytes, collection: Collection) -> Entry | None:
        """What the answers under a key vary with, as far as is known here. Whether a write came since is asked when the answer
        itself is looked for, which belongs to the same generations."""
        found, known = self.memory.get(key), self._known.get(collection)
        if found is None or found.status or known is None or found.generations != known.generations:
            return None
        return found

    def read(self, key: bytes, value: bytes, generations: bytes) -> Entry | None:
        """The entry in bytes from Redis; None for whatever is not exactly one of ours that has seen every write."""
        if not value:
            return None
        entry = decode(key, value, limit=self.value_limit)
        if entry is None:
            self.found_garbage += 1
        return entry if entry is not None and entry.generations == generations else None

    async def keep(self, lock: bytes, word: bytes, entries: Sequence[tuple[bytes, Entry]], seconds: float,
                   collection: Collection) -> bool:  # fmt: skip
        """Stores entries in both tiers, in Redis only if the lock is still ours and no write came in between. False when Redis
        did not hear of it: a lock, if there was one, is still there.
        """
        known = self._known.get(collection)
        for key, entry in entries:
            if known is None or known.generations == entry.generations:
                self.memory.put(key, entry)
        if not word:
            return True
        values = [encode(key, entry) for key, entry in entries]
        names = [lock, *self.generation_names(collection), *(self.name(b"e", key) for key, _ in entries)]
        arguments: list[bytes | str | int] = [word, entries[0][1].generations, max(1, int(seconds * 1000)), *values]
        try:
            return await self.shared.run(STORE, names, arguments) in HEARD
        except SharedUnavailable:
            return False

    async def invalidate(self, *collections: Collection) -> None:
        """No instance gives out what was stored of these before now (see the module for the bounds).

        Without a path: of all the tenant's collections; without tenant and path, of everything. What is stored of the
        same collection for nobody in particular (public routes) is out of date too. Writes that end in the same turn of
        the event loop are told to Redis together: one command, one wait.
        """
        for each in collections:
            self._writes[each] = None
            if each.tenant is not None and each.path:
                self._writes[Collection(None, each.path)] = None
        if self._outdating is None:
            self._outdating = Crowd(self._outdate())
        await self._outdating.outcome()

    async def _outdate(self) -> None:
        writes, self._writes, self._outdating = list(self._writes), {}, None
        narrow = [each for each in writes if each.path]
        if narrow:
            await self._bump(narrow)
        for each in writes:
            if not each.path:
                await self._bump_many(each, secrets.token_bytes(WORD))
        if self.shared.mode == "ok" and self._trust:
            await asyncio.sleep(self._trust)

    # -- generations ---------------------------------------------------------------------------------------------------
    async def _bump(self, collections: Sequence[Collection]) -> None:
        """A new word for each of them; the words may be alike, the names they stand under are not."""
        word = secrets.token_bytes(WORD)
        if self.shared.mode != "off":
            names = [name for each in collections for name in self._bumped(each)]
            try:
                await self.shared.run(BUMP, names, [word, GENERATION_MS])
                now = time.monotonic()
                for each in collections:
                    self._remember(each, Known(b"", 0.0, now))
                return
            except SharedUnavailable:
                for each in collections:
                    self._unsaid[each if len(self._unsaid) < REMEMBERED else EVERYTHING] = word
        now = time.monotonic()
        for each in collections:
            known = self._known.get(each)
            before = known.generations[: 2 * WORD] if known and known.generations else secrets.token_bytes(2 * WORD)
            self._remember(each, Known(before + word, now, now))

    async def _bump_many(self, collection: Collection, word: bytes) -> None:
        if self.shared.mode != "off":
            try:
                await self.shared.run(BUMP, self._bumped(collection), [word, GENERATION_MS])
            except SharedUnavailable:
                self._unsaid[collection if len(self._unsaid) < REMEMBERED else EVERYTHING] = word
        self._known.clear()
        self._floor = time.monotonic()

    def _bumped(self, collection: Collection) -> list[bytes]:
        names = self.generation_names(collection)
        if collection.path:
            return names[2:]
        return names[:1] if collection == EVERYTHING else names[1:2]

    async def _ask(self, key: bytes, collection: Collection, limit: int) -> tuple[bytes, bytes]:
        asked = time.monotonic()
        names = [*self.generation_names(collection), self.name(b"e", key)]
        answer = await self.shared.run(FIND, names, [secrets.token_bytes(WORD), GENERATION_MS, limit])
        match answer:
            case [bytes(generations), bytes(value)] if len(generations) == 3 * WORD:
                known = self._known.get(collection)
                if asked >= (known.after if known else self._floor):
                    self._remember(collection, Known(generations, asked, known.after if known else 0.0))
                elif known is not None and known.generations:
                    return known.generations, b""
                else:  # heard before a write of ours had been told: neither old nor new is sure
                    return secrets.token_bytes(3 * WORD), b""
                return generations, value
        raise SharedUnavailable

    async def _confirm(self, key: bytes, local: Entry, collection: Collection) -> tuple[Entry | None, bytes]:
        """The local entry when Redis says that no write came since; the entry itself does not travel.

        Who comes less than `trust` after a question was asked waits for that one: its answer may be believed for so long.
        """
        try:
            generations = await self._question(key, collection, time.monotonic()).outcome()
        except SharedUnavailable:
            known = self._settled(collection, self._known.get(collection))
            return self._local(local, known, time.time(), alone=True)
        if local.generations == generations:
            return local, generations
        return await self.find(key, collection)

    def _question(self, key: bytes, collection: Collection, now: float) -> Crowd[bytes]:
        asked, question = self._asking.get(collection, (0.0, None))
        if question is None or now - asked >= self._trust:
            question = Crowd(self._generations(key, collection, now))
            self._asking[collection] = now, question
        return question

    async def _generations(self, key: bytes, collection: Collection, asked: float) -> bytes:
        try:
            return (await self._ask(key, collection, 0))[0]
        finally:
            if collection in self._asking and self._asking[collection][0] == asked:
                del self._asking[collection]

    def _settled(self, collection: Collection, known: Known | None) -> Known:
        """What is known, or a beginning of our own."""
        if known is not None and known.generations:
            return known
        now = time.monotonic()
        known = Known(secrets.token_bytes(3 * WORD), now, known.after if known else 0.0)
        self._remember(collection, known)
        return known

    def _local(self, local: Entry | None, known: Known, wall: float, *, alone: bool) -> tuple[Entry | None, bytes]:
        if local is None or local.generations != known.generations:
            return None, known.generations
        if alone and local.status and time.monotonic() - known.asked > ALONE and wall - local.stored > ALONE:
            return None, known.generations
        return local, known.generations

    def _remember(self, collection: Collection, known: Known) -> None:
        self._known[collection] = known
        self._known.move_to_end(collection)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _returned(self) -> None:
        if self._unsaid and (self._telling is None or self._telling.done()):
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        """Tells Redis of the writes it missed."""
        for collection, word in list(self._unsaid.items()):
            try:
                await self.shared.run(BUMP, self._bumped(collection), [word, GENERATION_MS])
            except SharedUnavailable:
                return  # told when it is back again
            if self._unsaid.get(collection) == word:
                del self._unsaid[collection]
            self._remember(collection, Known(b"", 0.0, time.monotonic()))
