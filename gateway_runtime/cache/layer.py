"""The cache as a layer: inside of Auth and of the limits, outside of the router (plan 3.3, requirement FR-7).

What is in store for whom is decided by the key (`key.Question`), what may be stored and given out by `rules`, what is still
true by `store`, and who fetches by `flight`. This file is the way of one request through them.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from dataclasses import replace
from functools import lru_cache

from gateway_runtime.asgi import CONDITIONS, Handler, Headers, Request, Response
from gateway_runtime.cache.answers import (
    collected,
    conditional,
    detached,
    freshened,
    given,
    guarded,
    same_answer,
    validators,
)
from gateway_runtime.cache.counts import Counts
from gateway_runtime.cache.directives import NONE, directives, vary
from gateway_runtime.cache.entry import Entry
from gateway_runtime.cache.flight import FAILURE_SECONDS, PASS_SECONDS, PASSED, TAKEN, Flight, Flights
from gateway_runtime.cache.key import ALWAYS, Question, selected, variant
from gateway_runtime.cache.policy import Policy, Way, collection_for, collection_of, policy_for, way_of
from gateway_runtime.cache.rules import Terms, Use, initial_age, serves_errors, terms_of, use_of
from gateway_runtime.cache.search import Fetched, Limits, Search
from gateway_runtime.cache.store import Collection, Store
from gateway_runtime.errors import Problem
from gateway_runtime.media import is_stream
from gateway_runtime.upstream.deadlines import HEADER

WRITES = frozenset(("POST", "PUT", "PATCH", "DELETE"))
ROUNDS = 8
"""How often a request looks again after waiting for others before it goes on its own."""
KEPT_TO_ASK = 60.0
"""Seconds an answer with a validator is kept past its time: to be confirmed by a 304."""
QUESTIONS = 4096
"""Names of questions a process remembers: making one costs more than the rest of a hit."""
_SHORT = 512
"""Bytes of path, query and the fields in its name up to which a question is remembered."""
_NOTICED = frozenset(
    (
        *(b"range", b"if-range", b"if-match", b"if-unmodified-since", b"transfer-encoding", b"content-length"),
        *(b"authorization", b"cookie", b"cache-control", b"pragma", b"connection", *ALWAYS),
    )
)
_ONE_HOP = frozenset(
    (b"", b"close", b"keep-alive", b"te", b"upgrade", b"http2-settings", b"proxy-connection", b"trailer")
)


class Cache:
    """Answers from the store what may be; says how in X-Cache (hit, miss, stale, bypass).

    The answers of one tenant, and unless its route says otherwise of one user, are given to nobody else. To the client an
    authorised answer is always `private` or `no-store`.
    """

    def __init__(self, inner: Handler, store: Store, flights: Flights, limits: Limits, counts: Counts) -> None:
        self._inner = inner
        self._store = store
        self._flights = flights
        self._limits = limits
        self._counts = counts
        self._questions: dict[tuple[object, ...], tuple[bytes, Collection, Policy | None, Way]] = {}
        self._refreshing: dict[bytes, asyncio.Task[None]] = {}

    async def __call__(self, request: Request) -> Response:
        path = request.path
        way = way_of(self._limits.ways, path)
        if way is None:
            return await self._inner(request)
        if request.method in WRITES:
            return await self._write(request, path, way)
        search = self._search(request, path, way)
        if search is None or self._flights.passes(search.primary):
            return self._told(request, await self._inner(request), "bypass")
        for _ in range(ROUNDS):
            await self._find(request, search)
            if (response := self._from_store(request, search)) is not None:
                return response
            if search.asked.has("only-if-cached"):
                raise Problem("GATEWAY_TIMEOUT", reason="only-if-cached")
            if request.method == "HEAD":
                break
            flight = self._flights.open(search.key)
            response = await (self._lead(request, search) if flight is None else self._wait(request, search, flight))
            if response is not None:
                return response
        return self._told(request, await self._inner(request), "miss" if request.method == "HEAD" else "bypass")

    # -- looking ------------------------------------------------------------------------------------------------------
    def _search(self, request: Request, path: str, way: Way) -> Search | None:
        """What to look for; None when the cache has nothing to do with the request."""
        if request.method not in ("GET", "HEAD"):
            return None
        identity, asked = request.identity, NONE
        told: list[tuple[bytes, bytes]] = []
        for name, value in request.headers:
            if name not in _NOTICED:
                continue
            if name in ALWAYS:
                told.append((name, value))
                if is_stream(value):
                    return None  # a live stream: nobody's answer but this one's
            elif name in (b"authorization", b"cookie"):
                if identity is None:
                    return None  # credentials that nobody checked: whose answer it would be is not known
            elif name in (b"cache-control", b"pragma"):
                asked = directives(request.headers)
            elif name == b"connection":
                if _hides(value):
                    return None  # the upstream is not told of fields that its answer is looked up by
            elif name != b"content-length" or value != b"0":
                return None  # conditions on parts, or a body
        if asked.has("no-store") or asked.broken:
            return None
        tenant, user = (identity.tenant, identity.user) if identity is not None else (None, None)
        seen = (tenant, user, path, request.query, *told)
        known = self._questions.get(seen)
        if known is None:
            known = self._question(tenant, user, path, request.query, told, way)
            if len(path) + len(request.query) + sum(len(value) for _, value in told) < _SHORT:
                if len(self._questions) >= QUESTIONS:
                    self._questions.clear()
                self._questions[seen] = known
        return Search(*known, asked)

    def _question(
        self, tenant: str | None, user: str | None, path: str, query: bytes, told: Headers, way: Way
    ) -> tuple[bytes, Collection, Policy | None, Way]:
        """The name of a question, the collection its answer belongs to, the row of its path, and its route."""
        policy = policy_for(self._limits.policies, path)
        whose = None if tenant is None else tenant.encode()
        shared = user is None or (policy is not None and policy.scope == "tenant")
        question = Question(
            space=self._limits.space,
            tenant=whose,
            user=None if shared or user is None else user.encode(),
            service=way.upstream.encode("ascii"),
            method=b"GET",
            path=path.encode("ascii"),
            query=query,
            fields=selected(told, ALWAYS),
        )
        return question.key(), Collection(whose, collection_for(policy, path, way.base)), policy, way

    async def _find(self, request: Request, search: Search) -> None:
        index = self._store.index(search.primary, search.collection)
        if index is not None:
            await self._find_variant(request, search, index)
            if search.generations == index.generations:
                return
        # Nothing is known here, or a write came since: what the answers vary with may be something else by now.
        search.key, search.names = search.primary, ()
        search.entry, search.generations = await self._store.find(search.primary, search.collection)
        if search.entry is not None and search.entry.status == 0:
            await self._find_variant(request, search, search.entry)

    async def _find_variant(self, request: Request, search: Search, index: Entry) -> None:
        """`index` says what the answers to the question vary with."""
        search.names = index.varies
        search.key = variant(search.primary, request.headers, search.names)
        search.entry, search.generations = await self._store.find(search.key, search.collection)
        if search.entry is not None and search.entry.varies != search.names:
            search.entry = None

    def _from_store(self, request: Request, search: Search) -> Response | None:
        entry = search.entry
        if entry is None:
            return None
        age = entry.age(time.time())
        use = use_of(entry.terms, age, search.asked)
        if use is Use.ASK:
            return None
        if use is Use.REFRESH:
            self._refresh(request, search)
        return self._told(request, given(entry, request, age), "hit" if use is Use.FRESH else "stale", guard=False)

    def _told(self, request: Request, response: Response, how: str, *, guard: bool = True) -> Response:
        if guard and request.identity is not None:
            response.headers = guarded(request.method, response.status, response.headers)
        response.headers.append((b"x-cache", how.encode("ascii")))
        if self._store.alone:
            response.headers.append((b"x-cache-degraded", b"this instance only"))
        self._counts.requests.add(how)
        return response

    # -- fetching -----------------------------------------------------------------------------------------------------
    async def _wait(self, request: Request, search: Search, flight: Flight) -> Response | None:
        """What somebody else's fetch ended with, unless this request's own time is over before; None to look again."""
        end = self._end(request, search)
        await asyncio.wait((flight.ended,), timeout=end - time.monotonic() if end < math.inf else None)
        if flight.ended.done():
            outcome = flight.ended.result()
        else:
            outcome = Problem("GATEWAY_TIMEOUT", reason="somebody else's fetch took longer")
        if outcome is PASSED:
            return self._told(request, await self._inner(request), "bypass")
        if isinstance(outcome, Problem):
            instead = self._instead(request, search)
            if instead is None:
                raise Problem(outcome.code, outcome.message, headers=outcome.headers, **outcome.details)
            return instead
        return None

    async def _lead(self, request: Request, search: Search) -> Response | None:
        """Fetches for all who ask the same; None when another instance did meanwhile."""
        flight = self._flights.begin(search.key)
        fetched = Fetched(None)
        try:
            fetched = await self._fetched(request, search, flight)
        except Problem as problem:
            if problem.status >= 500:
                if not problem.callers:  # else somebody whose time is not over fetches anew
                    fetched.outcome = problem
                if (instead := self._instead(request, search)) is not None:
                    return instead
            raise
        finally:
            self._flights.end(
                search.key, flight, fetched.outcome, settled=fetched.settled, passing=fetched.passing
            )  # fmt: skip
        return fetched.response

    async def _fetched(self, request: Request, search: Search, flight: Flight) -> Fetched:
        if self._store.shares(search.collection):
            state, value = await self._flights.take(flight, search.key, until=self._end(request, search))
            if state == PASSED:
                self._flights.remember_pass(search.primary)
                return Fetched(None, PASSED)
            if value or state != TAKEN:
                before = search.entry
                found, search.generations = await self._store.find(search.key, search.collection)
                if found is not None and (before is None or found.stored > before.stored):
                    return Fetched(None)
        return await self._ask(request, search, flight)

    async def _ask(self, request: Request, search: Search, flight: Flight) -> Fetched:
        """Asks the upstream: for the whole answer, or whether the stored one still holds."""
        mine, started = request.headers, time.time()
        request.headers = [item for item in mine if item[0] not in CONDITIONS]
        if search.entry is not None:
            request.headers += validators(search.entry)
        try:
            response = await self._inner(request)
        finally:
            request.headers = mine
        now = time.time()
        if response.status == 304 and search.entry is not None:
            if not same_answer(search.entry, response.headers):
                search.entry = None
                return await self._ask(request, search, flight)
            confirmed, response = response, Response(search.entry.status, (), search.entry.body)
            response.headers, response.dated = list(freshened(search.entry, confirmed.headers)), confirmed.dated
            how = "hit"
        else:
            how = "miss"
        dated = response.headers if response.dated is None else [*response.headers, (b"date", response.dated)]
        terms = terms_of(
            response.status, dated, authorised=request.identity is not None, policy=search.policy,
            longest=self._limits.longest, now=now,
        )  # fmt: skip
        if terms is None or not await collected(response, self._store.entry_limit):
            refused = response.status >= 400
            if not refused:
                self._flights.remember_pass(search.primary)
            passing = FAILURE_SECONDS if refused else PASS_SECONDS
            return Fetched(self._told(request, conditional(request, response), how), PASSED, passing=passing)
        made = now - initial_age(dated, waited=now - started, now=now)
        entry, settled = await self._kept(request, search, flight, response, terms, made)
        return Fetched(self._told(request, given(entry, request, entry.age(now)), how, guard=False), settled=settled)

    async def _kept(
        self, request: Request, search: Search, flight: Flight, response: Response, terms: Terms, made: float
    ) -> tuple[Entry, bool]:
        """What was stored, and whether the lock is gone with it."""
        names = vary(response.headers) or ()
        if response.header(b"content-encoding") and b"accept-encoding" not in names:
            names = (*names, b"accept-encoding")  # a coded body is one for those who asked for that coding
        names = tuple(sorted({*names, *search.names} - set(ALWAYS)))
        jitter = terms.lifetime * random.uniform(0.9, 1.0)  # noqa: S311  so that what was stored together ends apart
        entry = Entry(
            status=response.status,
            fields=tuple(item for item in response.headers if item[0] not in (b"content-length", b"age")),
            body=response.body if isinstance(response.body, bytes) else b"",
            terms=replace(terms, lifetime=jitter),
            made=made,
            stored=time.time(),
            generations=search.generations,
            varies=names,
            authorised=request.identity is not None,
        )
        beyond = max(terms.stale, terms.error, KEPT_TO_ASK if validators(entry) else 0.0)
        seconds = max(0.001, terms.lifetime + beyond - entry.age(entry.stored))
        entries = [(search.primary, entry)]
        if names:
            index = replace(entry, status=0, fields=(), body=b"")
            entries = [(search.primary, index), (variant(search.primary, request.headers, names), entry)]
        settled = await self._store.keep(flight.lock, flight.word, entries, seconds, search.collection)
        self._counts.stored.add()
        return entry, settled

    def _instead(self, request: Request, search: Search) -> Response | None:
        """The stored answer in place of a failure, when its terms allow that."""
        if search.entry is None or search.asked.has("no-cache"):
            return None
        age = search.entry.age(time.time())
        if not serves_errors(search.entry.terms, age):
            return None
        return self._told(request, given(search.entry, request, age), "stale", guard=False)

    def _end(self, request: Request, search: Search) -> float:
        """When the request's time is over (time.monotonic): whoever waits here for others does it in that time."""
        asked, own = request.header(HEADER), search.way.seconds
        return self._limits.deadlines.of(request.path, request.started, asked=asked, own=own).at

    def _refresh(self, request: Request, search: Search) -> None:
        """Fetches a new answer while the old one is given out."""
        key = search.key
        if key in self._refreshing or self._flights.open(key) is not None:
            return
        task = asyncio.get_running_loop().create_task(self._refreshed(detached(request), replace(search)))
        self._refreshing[key] = task
        task.add_done_callback(lambda _: self._refreshing.pop(key, None))

    async def _refreshed(self, request: Request, search: Search) -> None:
        try:
            await self._lead(request, search)
        except Exception:  # noqa: BLE001  whoever needs the answer next meets the same fault, and it is told then
            self._counts.failed.add()
        finally:
            request.finish()

    # -- writing ------------------------------------------------------------------------------------------------------
    async def _write(self, request: Request, path: str, way: Way) -> Response:
        """A write makes its collection out of date. Only an answer of 4xx says that nothing was written."""
        written = True
        try:
            response = await self._inner(request)
            written = not 400 <= response.status < 500
        except Problem as problem:
            written = problem.status >= 500
            raise
        finally:
            if written:
                await self._outdate(request, path, way)
        return self._told(request, response, "bypass")

    async def _outdate(self, request: Request, path: str, way: Way) -> None:
        tenant = request.identity.tenant.encode() if request.identity else None
        policy = policy_for(self._limits.policies, path)
        paths = {collection_for(policy, path, way.base), collection_of(path, way.base)}
        await self._store.invalidate(*(Collection(tenant, each) for each in paths))
        self._counts.invalidated.add()


@lru_cache(maxsize=64)
def _hides(connection: bytes) -> bool:
    """Whether a Connection field names more than what is for one hop by nature: fields that end at the gateway then."""
    return not _ONE_HOP.issuperset(token.strip().lower() for token in connection.split(b","))
