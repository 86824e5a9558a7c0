"""A client that leaves ends its own exchange with the upstream, and nobody else's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway_runtime.asgi import Request, Response
from gateway_runtime.metrics import Metrics
from gateway_runtime.roles.gateway import upstreams_of
from gateway_runtime.settings import read
from gateway_runtime.upstream.deadlines import Deadlines
from gateway_runtime.upstream.forward import Forward
from tests.helpers.cache_stage import until
from tests.helpers.gateway_request import request
from tests.helpers.raw_upstream import RawUpstream, late, mute


@asynccontextmanager
async def forward(upstream: RawUpstream) -> AsyncIterator[Forward]:
    settings = read({"PATH": os.environ["PATH"], "UPSTREAM_CRM_URL": upstream.url})
    deadlines = Deadlines()
    crm = upstreams_of(settings, deadlines, Metrics())["crm"]
    assert crm is not None
    yield Forward("crm", crm, strip="/api", deadlines=deadlines)
    crm.client.close()
    await asyncio.sleep(0.05)  # until the loop has let go of the sockets


async def seen(upstream: RawUpstream, count: int) -> None:
    """Waits until so many requests have arrived there."""
    await until(lambda: len(upstream.requests) == count)


def asked(leaving: list[object]) -> Request:
    made = request("GET", b"/api/contacts")
    made.on_leave = leaving.append
    return made


def test_who_leaves_while_its_answer_goes_out_ends_nobody_elses_exchange() -> None:
    async def scenario(upstream: RawUpstream) -> Response:
        leaving: list[object] = []
        async with forward(upstream) as forwarding:
            first = await forwarding(
                asked(leaving)
            )  # whole: its connection is free, the answer on its way to the client
            assert first.body == b"ok"
            second = asyncio.ensure_future(forwarding(asked([])))
            await seen(upstream, 2)
            (left,) = leaving
            assert callable(left)
            left()
            return await second

    with RawUpstream(late(0.3)) as upstream:
        answer = asyncio.run(scenario(upstream))
        assert (answer.status, answer.body, upstream.connections) == (200, b"ok", 1)


def test_who_leaves_before_the_answer_ends_its_own_exchange() -> None:
    async def scenario(upstream: RawUpstream) -> None:
        leaving: list[object] = []
        async with forward(upstream) as forwarding:
            first = asyncio.ensure_future(forwarding(asked(leaving)))
            await seen(upstream, 1)
            (left,) = leaving
            assert callable(left)
            left()
            await asyncio.wait((first,), timeout=15)  # half of its deadline
        assert type(first.exception()).__name__ == "ClientGone"

    with mute() as upstream:
        asyncio.run(scenario(upstream))


def test_who_has_left_already_is_no_fault_of_the_upstream() -> None:
    async def scenario(upstream: RawUpstream) -> str:
        async with forward(upstream) as forwarding:
            await forwarding(asked([]))  # leaves a connection to be used again
            posted = request("POST", b"/api/contacts")
            posted.on_leave = lambda then: then()
            try:
                await forwarding(posted)
            except Exception as fault:
                return type(fault).__name__
        return "answered"

    with RawUpstream(late(0)) as upstream:
        assert (asyncio.run(scenario(upstream)), len(upstream.requests)) == ("ClientGone", 1)
