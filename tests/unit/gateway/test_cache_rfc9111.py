"""RFC 9111 for a shared cache, as a table. Each row: what the upstream answers, then two requests, and what the second gets.

`hit`, `stale`: out of the store. `fetched`: the upstream was asked again. Time passes by the upstream's own Age field.
"""

from __future__ import annotations

import asyncio
import tracemalloc
from dataclasses import dataclass
from email.utils import formatdate
from time import time

import pytest

from gateway_runtime.errors import Problem
from tests.helpers.cache_stage import CONTACTS, Instance, Origin, says, x_cache


@dataclass(frozen=True)
class Row:
    name: str
    answer: tuple[bytes, ...]
    second: str
    status: int = 200
    one: tuple[bytes, ...] = ()
    two: tuple[bytes, ...] = ()
    method: str = "GET"
    routes: str = ""
    tenant: str | None = None


def row(name: str, *answer: str, then: str, **more: object) -> Row:
    for key in ("one", "two"):
        if isinstance(more.get(key), str):
            more[key] = (str(more[key]).encode(),)
    return Row(name, tuple(line.encode() for line in answer), then, **more)  # type: ignore[arg-type]


BEGUN = time()
"""One moment for all rows: they are made when the tests are collected, minutes before the last of them runs."""


def at(seconds: float) -> str:
    return formatdate(BEGUN + seconds, usegmt=True)


FRESH = "Cache-Control: public, max-age=100"
OURS = f"{CONTACTS} ttl=100 scope=tenant"
ROWS = [
    # 3: what may be stored
    row("max-age", "Cache-Control: max-age=100", then="hit"),
    row("s-maxage", "Cache-Control: s-maxage=100", then="hit"),
    row("Expires", f"Expires: {at(100_000)}", then="hit"),
    row("Expires less Date", f"Expires: {at(100_000)}", f"Date: {at(0)}", then="hit"),
    row("Expires not after Date", f"Expires: {at(100)}", f"Date: {at(100)}", then="fetched"),
    row("Expires 0", "Expires: 0", then="fetched"),
    row("Expires twice", f"Expires: {at(100)}", f"Expires: {at(200)}", then="fetched"),
    row("nothing said", then="fetched"),
    row("public without a time", "Cache-Control: public", then="fetched"),
    row("Last-Modified only: no guessing", f"Last-Modified: {at(-9999)}", then="fetched"),
    row("no-store", "Cache-Control: no-store, max-age=100", then="fetched"),
    row("NO-STORE", "Cache-Control: MAX-AGE=100, NO-STORE", then="fetched"),
    row("no-store in a second field", "Cache-Control: max-age=100", "Cache-Control: no-store", then="fetched"),
    row("private", "Cache-Control: private, max-age=100", then="fetched"),
    row("private with a field", 'Cache-Control: private="x-a, x-b", max-age=100', then="fetched"),
    row("no-cache", "Cache-Control: no-cache, max-age=100", then="fetched"),
    row("no-cache with a field", 'Cache-Control: max-age=100, no-cache="set-cookie"', then="fetched"),
    row("a directive inside a quoted string is none", 'Cache-Control: x="no-store, private", max-age=100', then="hit"),
    row("Pragma of an answer means nothing", "Pragma: x", "Cache-Control: max-age=100", then="hit"),
    row("Pragma: no-cache beside Cache-Control", "Pragma: no-cache", "Cache-Control: max-age=100", then="hit"),
    row("Set-Cookie", FRESH, "Set-Cookie: a=1", then="fetched"),
    row("Vary: *", FRESH, "Vary: *", then="fetched"),
    row("Vary: * among others", FRESH, "Vary: accept, *", then="fetched"),
    row("206", FRESH, "Content-Range: bytes 0-1/9", then="fetched", status=206),
    row("301", FRESH, "Location: /x", then="hit", status=301),
    row("308", FRESH, "Location: /x", then="hit", status=308),
    *(row(f"{status}", FRESH, then="fetched", status=status) for status in (201, 202, 203, 204, 302, 303, 307)),
    *(row(f"{status}", FRESH, then="fetched", status=status) for status in (400, 401, 403, 404, 405, 409, 410, 414, 429)),
    row("server-sent events", FRESH, "Content-Type: text/event-stream", then="fetched"),
    row("POST", FRESH, then="fetched", method="POST"),
    row("PUT", FRESH, then="fetched", method="PUT"),
    row("DELETE", FRESH, then="fetched", method="DELETE"),
    row("HEAD stores nothing", FRESH, then="fetched", method="HEAD"),
    # 3.5: credentials
    row("Authorization with max-age alone", "Cache-Control: max-age=100", then="fetched", tenant="acme"),
    row("Authorization with Expires", f"Expires: {at(100)}", then="fetched", tenant="acme"),
    row("Authorization with public", "Cache-Control: public, max-age=100", then="hit", tenant="acme"),
    row("Authorization with s-maxage", "Cache-Control: s-maxage=100", then="hit", tenant="acme"),
    row("Authorization with must-revalidate", "Cache-Control: must-revalidate, max-age=100", then="hit", tenant="acme"),
    row("Authorization with no-store", "Cache-Control: public, no-store, max-age=9", then="fetched", tenant="acme"),
    row("credentials nobody checked", FRESH, then="fetched", one="Authorization: Basic x", two="Authorization: Basic x"),
    row("a cookie nobody checked", FRESH, then="fetched", one="Cookie: s=1", two="Cookie: s=1"),
    # 4.2: freshness
    row("Age within", FRESH, "Age: 10", then="hit"),
    row("Age beyond", FRESH, "Age: 101", then="fetched"),
    row("Age beyond an s-maxage that is shorter", "Cache-Control: s-maxage=5, max-age=100", "Age: 6", then="fetched"),
    row("s-maxage longer than max-age", "Cache-Control: max-age=1, s-maxage=100", "Age: 10", then="hit"),
    row("max-age wins over Expires", f"Expires: {at(-100)}", "Cache-Control: max-age=100", then="hit"),
    row("max-age=0", "Cache-Control: max-age=0", then="fetched"),
    row("max-age is no number", "Cache-Control: max-age=abc", then="fetched"),
    row("max-age negative", "Cache-Control: max-age=-1", then="fetched"),
    row("max-age a fraction", "Cache-Control: max-age=1.5", then="fetched"),
    row("max-age without a value", "Cache-Control: max-age", then="fetched"),
    row("max-age quoted", 'Cache-Control: max-age="100"', then="hit"),
    row("max-age twice, the same", "Cache-Control: max-age=100, max-age=100", then="hit"),
    row("max-age twice, not the same", "Cache-Control: max-age=100, max-age=1", then="fetched"),
    row("max-age beyond 2^31", "Cache-Control: max-age=99999999999999999999", "Age: 10", then="hit"),
    row("an unknown directive", "Cache-Control: max-age=100, foo, bar=1", then="hit"),
    row("empty elements", "Cache-Control: , max-age=100, ,", then="hit"),
    row("an unclosed quote", 'Cache-Control: max-age=100, x="no-store', then="fetched"),
    row("an old Date counts as age", "Cache-Control: max-age=100", f"Date: {at(-200)}", then="fetched"),
    row("Age that is no number", FRESH, "Age: x", then="hit"),
    # 4.2.4, RFC 5861: stale
    row("stale-while-revalidate", "Cache-Control: public, max-age=10, stale-while-revalidate=60", "Age: 20", then="stale"),
    row("past stale-while-revalidate", "Cache-Control: max-age=10, stale-while-revalidate=5", "Age: 20", then="fetched"),
    row("must-revalidate forbids stale", "Cache-Control: max-age=9, stale-while-revalidate=60, must-revalidate", "Age: 20",
        then="fetched"),
    row("proxy-revalidate forbids stale", "Cache-Control: max-age=9, stale-while-revalidate=60, proxy-revalidate", "Age: 20",
        then="fetched"),
    row("s-maxage forbids stale", "Cache-Control: s-maxage=9, stale-while-revalidate=60", "Age: 20", then="fetched"),
    # 5.2.1: what a request says
    row("request no-store", FRESH, then="fetched", two="Cache-Control: no-store"),
    row("request no-store stores nothing", FRESH, then="fetched", one="Cache-Control: no-store"),
    row("request no-cache", FRESH, then="fetched", two="Cache-Control: no-cache"),
    row("request Pragma: no-cache", FRESH, then="fetched", two="Pragma: no-cache"),
    row("request max-age=0", FRESH, "Age: 1", then="fetched", two="Cache-Control: max-age=0"),
    row("request max-age, older", FRESH, "Age: 50", then="fetched", two="Cache-Control: max-age=40"),
    row("request max-age, younger", FRESH, "Age: 50", then="hit", two="Cache-Control: max-age=60"),
    row("request min-fresh, kept", FRESH, "Age: 10", then="hit", two="Cache-Control: min-fresh=50"),
    row("request min-fresh, not kept", FRESH, "Age: 60", then="fetched", two="Cache-Control: min-fresh=50"),
    row("request max-stale", "Cache-Control: max-age=10", "Age: 20", then="stale", two="Cache-Control: max-stale"),
    row("request max-stale, within", "Cache-Control: max-age=10", "Age: 20", then="stale", two="Cache-Control: max-stale=60"),
    row("request max-stale, beyond", "Cache-Control: max-age=10", "Age: 80", then="fetched", two="Cache-Control: max-stale=9"),
    row("request max-stale, must-revalidate", "Cache-Control: max-age=10, must-revalidate", "Age: 20", then="fetched",
        two="Cache-Control: max-stale"),
    row("request only-if-cached, there", FRESH, then="hit", two="Cache-Control: only-if-cached"),
    row("a request that cannot be read", FRESH, then="fetched", two='Cache-Control: "'),
    row("Range", FRESH, then="fetched", two="Range: bytes=0-1"),
    row("If-Range", FRESH, then="fetched", two='If-Range: "x"'),
    row("If-Match", FRESH, then="fetched", two='If-Match: "x"'),
    row("a body", FRESH, then="fetched", two="Content-Length: 2"),
    row("an event stream is asked for", FRESH, then="fetched", two="Accept: text/event-stream"),
    # 4.1: variants
    row("Vary, the same", FRESH, "Vary: X-Kind", then="hit", one="X-Kind: a", two="X-Kind: a"),
    row("Vary, another", FRESH, "Vary: X-Kind", then="fetched", one="X-Kind: a", two="X-Kind: b"),
    row("Vary, absent the first time", FRESH, "Vary: X-Kind", then="fetched", two="X-Kind: a"),
    row("Vary, absent is not empty", FRESH, "Vary: X-Kind", then="fetched", two="X-Kind:"),
    row("Vary, absent both times", FRESH, "Vary: X-Kind", then="hit"),
    row("Vary in two fields", FRESH, "Vary: X-A", "Vary: X-Kind", then="fetched", two="X-Kind: a"),
    row("Vary, other case of the name", FRESH, "Vary: x-KIND", then="fetched", one="X-Kind: a", two="X-Kind: b"),
    row("a field that does not matter", FRESH, "Vary: X-Kind", then="hit", two="X-Other: a"),
    row("Accept tells answers apart anyway", FRESH, then="fetched", one="Accept: a/b", two="Accept: c/d"),
    row("so does Accept-Language", FRESH, then="fetched", one="Accept-Language: fr", two="Accept-Language: de"),
    row("Accept-Encoding, the same in other words", FRESH, "Vary: Accept-Encoding", then="hit",
        one="Accept-Encoding: gzip, br", two="Accept-Encoding: br,gzip;q=1"),
    row("Accept-Encoding, another", FRESH, "Vary: Accept-Encoding", then="fetched", one="Accept-Encoding: br"),
    row("a coded answer whose Vary forgets it", FRESH, "Content-Encoding: gzip", then="fetched", one="Accept-Encoding: gzip"),
    # our own rows
    row("a row for what says nothing", then="hit", routes=OURS),
    row("a row counts for Authorization", then="hit", routes=OURS, tenant="acme"),
    row("a row overrules no no-store", "Cache-Control: no-store", then="fetched", routes=OURS),
    row("a row overrules no private", "Cache-Control: private", then="fetched", routes=OURS),
    row("a row overrules no no-cache", "Cache-Control: no-cache", then="fetched", routes=OURS),
    row("a row overrules no Set-Cookie", "Set-Cookie: a=1", then="fetched", routes=OURS),
    row("a row overrules no max-age", "Cache-Control: max-age=5", "Age: 6", then="fetched", routes=OURS),
    row("a row's stale time", "Age: 20", then="stale", routes=f"{CONTACTS} ttl=10 stale=60"),
    row("another path's row", then="fetched", routes="/api/v2/crm/contactsx ttl=100"),
]  # fmt: skip


def test_the_table_is_as_long_as_was_asked_for() -> None:
    assert len(ROWS) >= 60
    assert len({case.name for case in ROWS}) == len(ROWS)


@pytest.mark.parametrize("case", ROWS, ids=[case.name for case in ROWS])
def test_the_second_request_gets(case: Row) -> None:
    async def story() -> None:
        origin = Origin(says(*case.answer, status=case.status))
        gateway = Instance(origin, routes=case.routes)
        await gateway.ask(*case.one, method=case.method, tenant=case.tenant)
        second = await gateway.ask(*case.two, tenant=case.tenant)
        how = x_cache(second)
        assert (how if how in ("hit", "stale") else "fetched") == case.second
        if case.second == "fetched":
            assert origin.calls == 2
        elif case.second == "hit":
            assert origin.calls == 1

    asyncio.run(story())


def test_only_if_cached_without_a_stored_answer_is_a_504() -> None:
    async def story() -> None:
        origin = Origin()
        with pytest.raises(Problem) as caught:
            await Instance(origin).ask(b"Cache-Control: only-if-cached")
        assert (caught.value.status, origin.calls) == (504, 0)

    asyncio.run(story())


def test_age_counts_from_where_the_upstream_stood() -> None:
    async def story() -> None:
        gateway = Instance(Origin(says(b"Cache-Control: public, max-age=100", b"Age: 7")))
        first, second = await gateway.ask(), await gateway.ask()
        assert [first.header(b"age"), second.header(b"age")] == [b"7", b"7"]

    asyncio.run(story())


def test_a_broken_body_is_never_stored() -> None:
    async def cut() -> object:
        yield b"half of"
        raise Problem("BAD_GATEWAY", reason="closed before the answer was whole")

    async def story() -> None:
        from gateway_runtime.asgi import Response

        broken = True

        async def play(_: object) -> Response:
            fields = [(b"cache-control", b"public, max-age=100")]
            return Response(200, fields, cut() if broken else b"whole")  # type: ignore[arg-type]

        gateway = Instance(Origin(play))
        with pytest.raises(Problem):
            await gateway.ask()
        broken = False
        second = await gateway.ask()
        assert (second.body, x_cache(second)) == (b"whole", "miss")

    asyncio.run(story())


def test_a_body_over_the_limit_is_passed_on_whole_and_not_stored() -> None:
    async def story() -> None:
        origin = Origin(says(b"Cache-Control: public, max-age=100", body=b"x" * 70000))
        gateway = Instance(origin, entry_limit=65536)
        first, second = await gateway.ask(), await gateway.ask()
        assert (len(first.body), len(second.body), origin.calls) == (70000, 70000, 2)  # type: ignore[arg-type]

    asyncio.run(story())


CONDITIONS = [
    ('If-None-Match: "v1"', 304), ('If-None-Match: W/"v1"', 304), ('If-None-Match: "a", "v1"', 304), ("If-None-Match: *", 304),
    ('If-None-Match: "v2"', 200), ('If-None-Match: "v"', 200), ('If-None-Match: "a,b", "v1"', 304),
    (f"If-Modified-Since: {at(-50)}", 304), (f"If-Modified-Since: {at(-200)}", 200), ("If-Modified-Since: x", 200),
]  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "status"), CONDITIONS, ids=[f"{n}-{status}" for n, (_, status) in enumerate(CONDITIONS)]
)
@pytest.mark.parametrize("stored", [False, True])
def test_a_condition_of_the_clients_is_answered_from_the_store_and_after_a_miss(
    condition: str, status: int, stored: bool
) -> None:
    async def story() -> None:
        lines = (FRESH.encode(), b'ETag: "v1"', f"Last-Modified: {at(-100)}".encode(), b"Content-Type: text/plain")
        origin = Origin(says(*lines))
        gateway = Instance(origin)
        if stored:
            await gateway.ask()
        answer = await gateway.ask(condition.encode())
        assert answer.status == status
        assert b"if-none-match" not in origin.headers[0]  # the whole answer is fetched, for everybody
        assert x_cache(answer) == ("hit" if stored else "miss")
        if status == 304:
            assert answer.body == b""
            assert {b"etag", b"cache-control"} <= {name for name, _ in answer.headers}
            assert answer.header(b"content-type") is None

    asyncio.run(story())


def test_a_stale_answer_is_confirmed_by_its_etag_and_given_out_anew() -> None:
    async def story() -> None:
        origin = Origin(
            says(b"Cache-Control: public, max-age=10", b"Age: 20", b'ETag: "v1"', b"Content-Type: text/plain")
        )
        gateway = Instance(origin)
        first = await gateway.ask()
        origin.play = says(b"Cache-Control: public, max-age=10", b'ETag: "v1"', b"X-New: 1", status=304, body=b"")
        second = await gateway.ask()
        third = await gateway.ask()
        assert origin.headers[1][b"if-none-match"] == b'"v1"'
        assert (second.body, third.body, x_cache(second), x_cache(third)) == (first.body, first.body, "hit", "hit")
        assert third.header(b"x-new") == b"1"
        assert third.header(b"content-type") == b"text/plain"
        assert origin.calls == 2

    asyncio.run(story())


def test_a_304_about_another_answer_makes_the_gateway_ask_for_the_whole() -> None:
    async def story() -> None:
        from gateway_runtime.asgi import Request, Response

        async def play(request: Request) -> Response:
            if request.header(b"if-none-match"):
                return Response(304, [(b"etag", b'"v9"')])
            return Response(
                200, [(b"cache-control", b"public, max-age=10"), (b"age", b"20"), (b"etag", b'"v1"')], b"whole"
            )

        gateway = Instance(Origin(play))
        await gateway.ask()
        second = await gateway.ask()
        assert (second.status, second.body) == (200, b"whole")

    asyncio.run(story())


GUARDED = [
    ("Cache-Control: public, max-age=60", "private, max-age=60"), ("Cache-Control: s-maxage=60", "private, no-cache"),
    ("X-Nothing: 1", "private, no-cache"), ("Cache-Control: no-store", "no-store"),
    ("Cache-Control: private, max-age=5", "private, max-age=5"),
    ("Cache-Control: no-store, no-transform", "no-store, no-transform"),
    ("Cache-Control: public, max-age=60, must-revalidate, no-transform", "private, max-age=60, must-revalidate, no-transform"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "told"), GUARDED)
def test_an_authorised_answer_is_private_or_no_store_to_the_client(said: str, told: str) -> None:
    async def story() -> None:
        gateway = Instance(Origin(says(said.encode())))
        for _ in range(2):
            answer = await gateway.ask(tenant="acme")
            assert answer.header(b"cache-control") == told.encode()
            assert any(name == b"vary" and b"Authorization" in value for name, value in answer.headers)
        assert (await gateway.ask(method="POST")).header(b"cache-control").startswith(b"no-store")  # type: ignore[union-attr]

    asyncio.run(story())


@pytest.mark.parametrize("code", ["BAD_GATEWAY", "GATEWAY_TIMEOUT", "SERVICE_UNAVAILABLE", "INTERNAL_ERROR"])
@pytest.mark.parametrize(("terms", "served"), [("stale-if-error=60", True), ("x", False), ("stale-if-error=5", False)])
def test_a_stale_answer_stands_in_for_a_failure_only_as_its_terms_say(code: str, terms: str, served: bool) -> None:
    async def story() -> None:
        async def fails(_: object) -> object:
            raise Problem(code)

        origin = Origin(says(f"Cache-Control: public, max-age=10, {terms}".encode(), b"Age: 20"))
        gateway = Instance(origin)
        first = await gateway.ask()
        origin.play = fails  # type: ignore[assignment]
        if served:
            second = await gateway.ask()
            assert (second.body, x_cache(second)) == (first.body, "stale")
        else:
            with pytest.raises(Problem):
                await gateway.ask()

    asyncio.run(story())


def test_long_fields_of_requests_are_not_kept_in_memory() -> None:
    async def story() -> None:
        gateway = Instance(says(b"Cache-Control: no-store"))
        await gateway.ask(b"Accept: */*")
        tracemalloc.start()
        for number in range(100):
            await gateway.ask(b"Accept: %d/" % number + b"x" * 15_000)
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert kept < 500_000

    asyncio.run(story())
