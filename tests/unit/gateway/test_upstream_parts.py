from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_runtime.errors import Shed
from gateway_runtime.upstream.bulkhead import Bulkhead
from gateway_runtime.upstream.client import Expired
from gateway_runtime.upstream.connection import Unanswered
from gateway_runtime.upstream.deadlines import Deadlines
from gateway_runtime.upstream.guard import judge
from gateway_runtime.upstream.resolve import Found, Resolver
from gateway_runtime.upstream.retry import BURST, RetryBudget, RetryPolicy
from gateway_runtime.upstream.settings import ROUTES, RouteTable
from tests.helpers.waiting import PATIENCE


@pytest.mark.parametrize(
    ("path", "seconds"),
    [
        ("/api/v2/crm/contacts", 30), ("/api/v2/slack/ai", 120), ("/api/v2/slack/ai/summary", 120),
        ("/api/v2/gmail/generate", 120),
        ("/generate", 120), ("/ai", 120), ("/api/v2/slack/ai/", 120), ("/api/v2/slack/generate-report", 30),
        ("/api/v2/slack/email", 30),
        ("/api/v2/slack/AI", 30), ("/api/v2/slack/aix", 30), ("/api/v2/slack/xai", 30), ("/api/v2/slack/a/i", 30),
        ("/api/v2/slack/regenerate", 30), ("/api/v2/slack/generate.json", 30), ("/api/v2/slack/ai%20", 30), ("/", 30),
    ],
)  # fmt: skip
def test_a_whole_segment_decides(path: str, seconds: float) -> None:
    assert Deadlines().allowed(path) == seconds


@pytest.mark.parametrize(
    ("asked", "left", "callers"),
    [
        (None, 30, False), (b"300", 0.3, True), (b"0", 0, True), (b"29999", 29.999, True), (b"30000", 30, False),
        (b"999999999", 30, False),
        (b"9999999999", 30, False), (b"-1", 30, False), (b"1.5", 30, False), (b"", 30, False), (b"0x10", 30, False),
        (b"1e3", 30, False),
        ("٣".encode(), 30, False), (b" 5", 30, False),
    ],
)  # fmt: skip
def test_a_caller_may_ask_for_less_and_never_for_more(asked: bytes | None, left: float, callers: bool) -> None:
    deadline = Deadlines().of("/x", 100.0, asked=asked)
    assert deadline.left(100.0) == pytest.approx(left)
    assert (deadline.callers, deadline.allowed) == (callers, 30)


def test_what_is_left_goes_on_and_is_never_nothing() -> None:
    deadline = Deadlines().of("/x", 100.0)
    assert deadline.field(100.0) == b"x-deadline-ms: 30000\r\n"
    assert deadline.field(129.5) == b"x-deadline-ms: 500\r\n"
    assert deadline.field(130.5) == b"x-deadline-ms: 1\r\n"


def test_off_means_none_at_all() -> None:
    off = Deadlines(math.inf).of("/ai", 100.0, asked=b"5", own=3)
    assert (off.at, off.field(100.0)) == (math.inf, b"")


def test_a_routes_own_deadline_wins_and_the_long_one_is_never_the_shorter() -> None:
    assert Deadlines().allowed("/ai/x", own=7) == 7
    assert Deadlines(usual=200).allowed("/ai/x") == 200


@given(st.lists(st.text("aigenrt-", min_size=1, max_size=9), max_size=5))
def test_long_exactly_when_a_segment_is_one_of_them(parts: list[str]) -> None:
    long = any(part in ("ai", "generate") for part in parts)
    assert Deadlines().allowed("/" + "/".join(parts)) == (120 if long else 30)


def test_the_route_table_reads_its_default() -> None:
    table = RouteTable.parse(ROUTES)
    assert [row.pattern for row in table.rows] == ["/api/v2/crm/contacts/*", "/api/v2/slack/*", "/api/v2/gmail/*"]
    assert (table.rows[0].upstream, table.rows[0].strip, table.rows[0].seconds) == ("crm", "/api/v2/crm", 0)
    assert RouteTable.parse("slack:/s@2.5").rows[0].seconds == 2.5


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, PATIENCE))


def test_places_are_given_in_turn_and_never_more_than_there_are() -> None:
    async def work() -> None:
        bulkhead = Bulkhead(2, 3, 30.0)
        order: list[int] = []
        most = 0

        async def visit(number: int) -> None:
            nonlocal most
            if not bulkhead.enter():
                await bulkhead.wait(30.0)
            order.append(number)
            most = max(most, bulkhead.taken)
            await asyncio.sleep(0.01)
            bulkhead.leave()

        await asyncio.gather(*(visit(number) for number in range(5)))
        assert (order, most, bulkhead.taken, bulkhead.waiting) == ([0, 1, 2, 3, 4], 2, 0, 0)

    run(work())


def test_a_full_queue_sheds_at_once_and_a_long_wait_in_time() -> None:
    async def work() -> None:
        bulkhead = Bulkhead(1, 1, 0.05)
        assert bulkhead.enter()
        waiting = asyncio.create_task(bulkhead.wait(9))
        await asyncio.sleep(0)
        with pytest.raises(Shed, match="not available"):
            await bulkhead.wait(9)
        began = time.monotonic()
        with pytest.raises(Shed) as shed:
            await waiting
        assert time.monotonic() - began < 8, "as long as its caller would have waited"
        assert dict(shed.value.headers) == {b"retry-after": b"1"}
        bulkhead.leave()
        assert (bulkhead.taken, bulkhead.waiting) == (0, 0)

    run(work())


@given(st.lists(st.sampled_from(["enter", "leave", "cancel", "turn"]), max_size=40))
def test_no_place_is_lost_however_the_waiting_are_cancelled(steps: list[str]) -> None:
    async def work() -> None:
        bulkhead, inside, tasks = Bulkhead(2, 4, 5.0), 0, []

        async def wait() -> None:
            nonlocal inside
            await bulkhead.wait(5)
            inside += 1

        for step in steps:
            if step == "enter" and bulkhead.enter():
                inside += 1
            elif step == "enter":
                tasks.append(asyncio.create_task(wait()))
            elif step == "leave" and inside:
                inside -= 1
                bulkhead.leave()
            elif step == "cancel" and tasks:
                tasks.pop().cancel()
            elif step == "turn":
                await asyncio.sleep(0)
            assert bulkhead.taken <= 2
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
        assert (bulkhead.taken, bulkhead.waiting) == (inside, 0)

    asyncio.run(work())


def test_retries_are_a_tenth_of_the_requests() -> None:
    budget = RetryBudget(RetryPolicy(share=0.1))
    taken = 0
    for _ in range(10_000):
        budget.pay()
        taken += budget.take()
    assert 1000 <= taken <= 1000 + BURST
    assert not RetryBudget(RetryPolicy(share=0)).take()


def test_pauses_are_spread_and_double() -> None:
    budget = RetryBudget(RetryPolicy(pause=0.05))
    first = [budget.pause(0) for _ in range(500)]
    assert 0 <= min(first) < 0.01
    assert 0.04 < max(first) <= 0.05
    assert 0.05 < max(budget.pause(1) for _ in range(500)) <= 0.1


def found(*addresses: str) -> Found:
    return [(2, 1, 6, "", (address, 80)) for address in addresses]


def test_a_slow_name_server_stops_neither_the_loop_nor_more_than_one_thread() -> None:
    asked, answering = [], threading.Event()

    def slow(host: str, port: int) -> Found:
        asked.append(host)
        assert answering.wait(PATIENCE / 2)
        return found("192.0.2.1")

    async def work() -> None:
        resolver = Resolver("crm.internal", 80, lookup=slow)
        threads = threading.active_count()
        many = [asyncio.create_task(resolver.addresses()) for _ in range(50)]
        for _ in range(20):  # the loop goes on, though nobody has answered
            await asyncio.sleep(0.01)
        assert threading.active_count() <= threads + 1
        answering.set()
        assert await many[0] == ["192.0.2.1"]
        await asyncio.gather(*many)

    run(work())
    assert asked == ["crm.internal"]


def test_a_caller_that_gives_up_does_not_end_the_look_up_of_the_others() -> None:
    answering = threading.Event()

    def slow(host: str, port: int) -> Found:
        assert answering.wait(PATIENCE / 2)
        return found("192.0.2.1", "192.0.2.1", "192.0.2.2")

    async def work() -> None:
        resolver = Resolver("crm.internal", 80, lookup=slow)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(resolver.addresses(), 0.05)
        answering.set()
        assert await resolver.addresses() == ["192.0.2.1", "192.0.2.2"]
        resolver.prefer("192.0.2.2")
        assert await resolver.addresses() == ["192.0.2.2", "192.0.2.1"]

    run(work())


def test_a_name_without_an_address_is_an_error_and_is_asked_again() -> None:
    answers = [OSError("no such host"), found("192.0.2.7")]

    def lookup(host: str, port: int) -> Found:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    async def work() -> None:
        resolver = Resolver("crm.internal", 80, lookup=lookup)
        with pytest.raises(OSError, match="no such host"):
            await resolver.addresses()
        assert await resolver.addresses() == ["192.0.2.7"]

    run(work())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_address_is_never_looked_up(host: str) -> None:
    def never(host: str, port: int) -> Found:
        raise AssertionError(host)

    async def work() -> None:
        assert await Resolver(host, 80, lookup=never).addresses() == [host]

    run(work())


@pytest.mark.parametrize(
    ("fault", "word", "counts"),
    [
        (Expired("upstream", "deadline"), "timeout", True),
        (Expired("caller", "own budget"), "caller_timeout", False),
        (Unanswered("SERVICE_UNAVAILABLE"), "no_connection", True),
        (Unanswered("BAD_GATEWAY"), "bad_answer", True),
        (asyncio.CancelledError(), "client_gone", False),
        (ValueError("ours"), "fault", False),
    ],
)
def test_what_a_fault_says_about_the_upstream(fault: BaseException, word: str, counts: bool) -> None:
    told, outcome = judge(fault)
    assert (told, outcome.name) == (word, "FAILURE" if counts else "IGNORED")
