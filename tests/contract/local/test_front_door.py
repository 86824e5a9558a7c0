import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import wsproto
from wsproto.events import AcceptConnection, Request, TextMessage

from tests.helpers.local_stage import eventually, revision, stage
from tests.helpers.waiting import PATIENCE
from xgw.local.instances import Route


@asynccontextmanager
async def raw(port: int):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def exchange(port: int, *parts: bytes) -> bytes:
    """Send bytes as they are; everything that comes back until the door closes."""
    async with raw(port) as (reader, writer), asyncio.timeout(PATIENCE):
        for part in parts:
            writer.write(part)
            await writer.drain()
        return await reader.read()


async def revisions_met(url: str, count: int) -> Counter:
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        answers = await asyncio.gather(*(client.get(f"{url}/") for _ in range(count)))
    assert {answer.status_code for answer in answers} == {200}
    return Counter(answer.json()["revision"] for answer in answers)


def test_shares_are_exact_and_tags_lead_to_their_revision(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            url = await s.serve("old", "new")
            await s.door.set_routes("shop", [Route("old", 90), Route("new", 10), Route("new", 0, "green")])
            assert await revisions_met(url, 200) == {"old": 180, "new": 20}
            assert await revisions_met(s.door.tag_url("shop", "green"), 20) == {"new": 20}
            now = datetime.now(UTC)
            counted = s.metrics.series("request_count", now - timedelta(minutes=5), now + timedelta(seconds=1))
            totals = {one.revision: sum(interval.count for interval in one.intervals) for one in counted}
            assert totals == {"old": 180, "new": 40}

    asyncio.run(play())


def test_a_tag_that_is_gone_stops_answering_and_no_routes_is_404(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            url = await s.serve("one")
            await s.door.set_routes("shop", [Route("one", 100), Route("one", 0, "green")])
            tag = s.door.tag_url("shop", "green")
            await s.door.set_routes("shop", [Route("one", 100)])
            async with httpx.AsyncClient(timeout=PATIENCE) as client:
                with pytest.raises(httpx.TransportError):
                    await client.get(tag)
                await s.door.set_routes("shop", [])
                assert (await client.get(url)).status_code == 404

    asyncio.run(play())


def test_what_a_proxy_adds_is_added(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            url = await s.serve("one")
            async with httpx.AsyncClient(timeout=PATIENCE) as client:
                sent = {
                    "X-Forwarded-For": "203.0.113.9",
                    "X-Forwarded-Proto": "gopher",
                    "Connection": "X-Hop, keep-alive",
                }
                seen = (await client.get(url, headers={**sent, "X-Hop": "1"})).json()["headers"]
                assert seen["x-forwarded-for"] == "203.0.113.9, 127.0.0.1"
                assert seen["x-forwarded-proto"] == "http"
                assert "x-hop" not in seen
                assert len(seen["traceparent"].split("-")) == 4
                kept = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
                seen = (await client.get(url, headers={"traceparent": kept})).json()["headers"]
                assert seen["traceparent"] == kept
                assert seen["host"] == url.removeprefix("http://")

    asyncio.run(play())


def test_bodies_stream_both_ways_and_connections_are_reused(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            url = await s.serve("one")

            async def pieces():
                for number in range(40):
                    yield b"%d," % number * 4_000

            async with httpx.AsyncClient(timeout=PATIENCE) as client:
                big = bytes(range(256)) * 20_000
                assert (await client.post(f"{url}/echo", content=big)).content == big
                whole = b"".join([piece async for piece in pieces()])
                assert (await client.post(f"{url}/echo", content=pieces())).content == whole
                assert (await client.post(f"{url}/echo", content=b"")).content == b""
                head = await client.head(f"{url}/x")
                assert head.content == b""
                assert int(head.headers["content-length"]) > 50
                empty = await client.get(f"{url}/empty")
                assert (empty.status_code, empty.content) == (204, b"")
                assert (await client.get(f"{url}/x")).status_code == 200

    asyncio.run(play())


def test_a_slow_reader_holds_back_the_instance_and_loses_nothing(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            await s.serve("one")
            body = b"0123456789abcdef" * 500_000
            request = b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
            async with raw(s.port()) as (reader, writer), asyncio.timeout(PATIENCE):
                writer.write(request)
                sending = asyncio.create_task(_drip(writer, body))
                await asyncio.sleep(0.5)
                answer = await reader.read()
                await sending
            assert answer.count(b"0123456789abcdef") > 450_000
            assert answer.endswith(b"\r\n0\r\n\r\n")

    asyncio.run(play())


async def _drip(writer: asyncio.StreamWriter, body: bytes) -> None:
    for at in range(0, len(body), 65_536):
        writer.write(body[at : at + 65_536])
        await writer.drain()


def test_events_arrive_one_by_one_at_once(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            url = await s.serve("one")
            async with (
                httpx.AsyncClient(timeout=PATIENCE) as client,
                client.stream("GET", f"{url}/events") as answer,
                httpx.AsyncClient(timeout=PATIENCE) as beside,
            ):
                lines = answer.aiter_lines()
                for number in range(3):
                    assert [await anext(lines), await anext(lines)] == [f"data: {number}", ""]
                    await beside.get(f"{url}/next-event")  # without it the instance says no more
                assert s.in_flight.count("one") == 1
            # The client has left: so does the request, though its stream has not ended.
            await eventually(lambda: s.in_flight.count("one") == 0)

    asyncio.run(play())


def test_a_websocket_stays_on_its_revision_when_traffic_moves(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            await s.serve("old")
            assert (await s.supervisor.start(revision("new"))).ready
            async with raw(s.port()) as (reader, writer), asyncio.timeout(PATIENCE):
                socket = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
                writer.write(socket.send(Request(host=f"127.0.0.1:{s.port()}", target="/ws")))
                assert isinstance(await _event(socket, reader), AcceptConnection)
                writer.write(socket.send(TextMessage(data="one")))
                assert (await _event(socket, reader)).data == "old:one"
                await s.door.set_routes("shop", [Route("new", 100)])
                await s.supervisor.stop("old")
                assert await revisions_met(s.door.service_url("shop"), 5) == {"new": 5}
                writer.write(socket.send(TextMessage(data="two")))
                assert (await _event(socket, reader)).data == "old:two"
            await eventually(lambda: "old" not in s.supervisor.running())

    asyncio.run(play())


async def _event(socket, reader):
    while True:
        for event in socket.events():
            return event
        socket.receive_data(await reader.read(65_536))


def test_a_request_over_its_time_gets_504_and_a_websocket_is_cut(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            url = await s.serve("one", timeout_s=1.5)
            async with httpx.AsyncClient(timeout=PATIENCE) as client:
                assert (await client.get(f"{url}/slow?50")).status_code == 504
            async with raw(s.port()) as (reader, writer), asyncio.timeout(PATIENCE):
                socket = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
                writer.write(socket.send(Request(host="127.0.0.1", target="/ws")))
                assert (await reader.read(4096)).startswith(b"HTTP/1.1 101")
                assert await reader.read() == b""

    asyncio.run(play())


def test_the_client_is_told_to_continue_by_the_instance(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            await s.serve("one")
            head = b"POST /read HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
            async with raw(s.port()) as (reader, writer), asyncio.timeout(PATIENCE):
                writer.write(head)
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
                writer.write(b"hello")
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")

    asyncio.run(play())


def test_an_answer_before_the_end_of_the_body_is_passed_on(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            await s.serve("one")
            head = b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
            answer = await exchange(s.port(), head, b"only a little")
            assert answer.startswith(b"HTTP/1.1 413 ")
            assert b"connection: close" in answer.lower()

    asyncio.run(play())


def test_an_old_client_gets_a_body_that_ends_with_the_connection(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            await s.serve("one")
            answer = await exchange(s.port(), b"POST /echo HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello")
            head, _, body = answer.partition(b"\r\n\r\n")
            assert body == b"hello"
            assert b"transfer-encoding" not in head.lower()

    asyncio.run(play())


def test_pipelined_requests_are_answered_in_order(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            await s.serve("one")
            first, last = (
                b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n",
                b"GET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            )
            answer = await exchange(s.port(), first + last)
            assert answer.count(b"HTTP/1.1 200") == 2
            assert answer.index(b'"/1"') < answer.index(b'"/2"')

    asyncio.run(play())


SMUGGLED = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
FRAMING = {
    "length and chunked": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    + SMUGGLED,
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n" + SMUGGLED,
    "unknown coding": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n" + SMUGGLED,
    "space before colon": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n" + SMUGGLED,
    "no host": b"GET / HTTP/1.1\r\n\r\n" + SMUGGLED,
    "bad chunk": b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + SMUGGLED,
}


def test_a_wrongly_framed_request_gets_one_answer_and_a_closed_connection(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            url = await s.serve("one")
            for name, wire in FRAMING.items():
                answer = await exchange(s.port(), wire)
                assert answer.count(b"HTTP/1.1") <= 1, name
                assert b"smuggled" not in answer, name
                assert answer.startswith(b"HTTP/1.1 400") or name == "bad chunk", (name, answer)
            huge = await exchange(s.port(), b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000 + b"\r\n\r\n")
            assert huge.startswith(b"HTTP/1.1 431")
            assert await revisions_met(url, 3) == {"one": 3}

    asyncio.run(play())


def test_a_kept_connection_that_the_instance_closed_is_not_a_failure(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            url = await s.serve("one")
            async with httpx.AsyncClient(timeout=PATIENCE) as client:
                pid = json.loads((await client.get(url)).text)["pid"]
                # uvicorn closes idle connections after 5 s; the door must notice and connect anew.
                await asyncio.sleep(5.3)
                assert (await client.get(url)).json()["pid"] == pid
                assert (await client.post(f"{url}/echo", content=b"x")).content == b"x"

    asyncio.run(play())


def test_moving_traffic_under_load_fails_no_request(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            url = await s.serve("old")
            statuses: Counter = Counter()
            async with httpx.AsyncClient(timeout=PATIENCE) as client:

                async def one(number: int) -> None:
                    path = "/slow?0.3" if number % 5 == 0 else "/"
                    answer = await (
                        client.post(f"{url}/echo", content=b"x") if number % 3 == 0 else client.get(url + path)
                    )
                    statuses[answer.status_code] += 1

                async def load() -> None:
                    running = []
                    for number in range(300):
                        running.append(asyncio.create_task(one(number)))
                        await asyncio.sleep(0.01)
                    await asyncio.gather(*running)

                loading = asyncio.create_task(load())
                for step in range(3):
                    before, after = ("old", "new") if step % 2 == 0 else ("new", "old")
                    assert (await s.supervisor.start(revision(after))).ready
                    await asyncio.sleep(0.3)
                    await s.door.set_routes("shop", [Route(before, 50), Route(after, 50)])
                    await asyncio.sleep(0.2)
                    await s.door.set_routes("shop", [Route(after, 100)])
                    await s.supervisor.stop(before)
                await loading
            assert statuses == {200: 300}

    asyncio.run(play())
