from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_runtime.auth.identity import Identity
from gateway_runtime.auth.keyring import Keyring, KeySet
from gateway_runtime.auth.verifier import Verifier
from gateway_runtime.errors import Problem
from tests.helpers.tokens import certificates, issuer, jwks
from tests.helpers.verifying import RULES, Clock, Source, keyring

ONE, TWO = issuer(), issuer("key-2")


class Story:
    """A keyring over a source and a clock that a test plays with."""

    def __init__(self, body: bytes = b"", **how: float) -> None:
        self.source, self.clock = Source(body or jwks(ONE)), Clock(1000.0)
        self.keys = keyring(self.source, clock=self.clock, **how)
        self.verifier = Verifier(self.keys, RULES, room=100)

    async def status(self, kid: str) -> int:
        try:
            await self.keys.key(kid)
        except Problem as problem:
            return problem.status
        return 200

    async def later(self, seconds: float) -> None:
        """That much later, and what began in the background by then has ended."""
        self.clock.now += seconds
        self.keys.tend()
        await self.keys._settled()


def told(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(story())  # type: ignore[arg-type]


def test_one_read_serves_everybody_who_waits_for_it() -> None:
    async def play() -> None:
        story = Story()
        assert await asyncio.gather(*(story.status("key-1") for _ in range(200))) == [200] * 200
        assert story.source.reads == 1

    told(play)


def test_a_new_key_is_found_at_once_and_the_old_one_holds_until_it_is_withdrawn() -> None:
    async def play() -> None:
        story = Story()
        assert await story.status("key-1") == 200
        story.source.body = jwks(ONE, TWO)
        assert [await story.status("key-2"), await story.status("key-1")] == [200, 200]
        assert (story.source.reads, story.keys.changes) == (2, 0)
        story.source.body = jwks(TWO)
        await story.later(3600)
        assert [await story.status("key-2"), await story.status("key-1")] == [200, 401]
        assert story.keys.changes == 1

    told(play)


def test_health_tells_old_keys_from_missing_ones() -> None:
    async def play() -> None:
        story = Story(stale=600)
        assert story.keys.health() == {"status": "ok", "keys": "not read yet"}
        await story.later(0)
        assert story.keys.health() == {"status": "ok", "keys": "read"}
        story.source.fails = True
        await story.later(3600)
        assert story.keys.health() == {"status": "degraded", "keys": "old"}
        await story.later(600)
        assert story.keys.health() == {"status": "degraded", "keys": "missing"}
        story.source.fails = False
        await story.later(30)
        assert story.keys.health() == {"status": "ok", "keys": "read"}

    told(play)


def test_a_thousand_unknown_keys_cause_one_read_in_thirty_seconds() -> None:
    async def play() -> None:
        story = Story()
        await story.status("key-1")
        for second in range(90):
            said = await asyncio.gather(*(story.status(f"no-{second}-{number}") for number in range(12)))
            assert set(said) == {401}
            story.clock.now += 1
        assert story.source.reads == 1 + 3
        assert await story.status("key-1") == 200

    told(play)


def test_the_set_is_read_again_before_it_ends_and_nobody_waits_for_that() -> None:
    async def play() -> None:
        story = Story()
        await story.status("key-1")
        story.clock.now += 0.79 * 3600
        await story.status("key-1")
        assert story.source.reads == 1
        story.clock.now += 0.02 * 3600
        story.source.held = asyncio.Event()  # it does not answer before we say so
        async with asyncio.timeout(1.5):  # who waited for it would do so for two seconds
            assert await story.status("key-1") == 200
        assert not story.source.held.is_set()
        story.source.held.set()
        await story.later(0)
        assert story.source.reads == 2

    told(play)


def test_while_the_source_is_down_the_old_keys_are_used_until_they_are_too_old() -> None:
    async def play() -> None:
        story = Story(stale=600)
        await story.status("key-1")
        story.source.fails = True
        await story.later(3601)
        assert await story.status("key-1") == 200
        assert await story.status("key-2") == 503  # it may be a new key: nobody can know
        await story.later(598)
        assert await story.status("key-1") == 200
        await story.later(2)
        assert await story.status("key-1") == 503
        story.source.fails = False
        await story.later(30)
        assert await story.status("key-1") == 200
        assert await story.status("key-2") == 401

    told(play)


def test_an_outage_is_asked_about_once_in_thirty_seconds() -> None:
    async def play() -> None:
        story = Story()
        await story.status("key-1")
        story.source.fails = True
        await story.later(3600)
        before = story.source.reads
        for _ in range(300):
            await story.later(1)
            assert await story.status("key-1") == 200
        assert story.source.reads - before <= 10

    told(play)


@pytest.mark.parametrize("broken", [b"", b"<html>", b'{"keys":[]}', b"x" * 300_000, b'{"error":"x"}'])
def test_a_set_that_cannot_be_used_counts_as_an_outage(broken: bytes) -> None:
    async def play() -> None:
        story = Story()
        await story.status("key-1")
        story.source.body = broken
        await story.later(3600)
        assert await story.status("key-1") == 200
        empty = Story(broken or b" ")
        assert await empty.status("key-1") == 503

    told(play)


def test_without_any_key_everything_is_503_and_it_heals_within_a_second() -> None:
    async def play() -> None:
        story = Story()
        story.source.fails = True
        assert await story.status("key-1") == 503
        assert await story.status("key-1") == 503
        assert story.source.reads == 1
        story.source.fails = False
        await story.later(1.0)
        assert await story.status("key-1") == 200

    told(play)


def test_a_source_that_never_answers_holds_a_request_for_two_seconds_at_most() -> None:
    async def play() -> None:
        async def silent() -> KeySet:
            await asyncio.sleep(60)
            raise AssertionError

        keys = Keyring(silent, Story().keys._log, refetch=30, stale=0)
        loop = asyncio.get_running_loop()
        before = loop.time()
        with pytest.raises(Problem) as caught:
            await keys.key("key-1")
        assert (caught.value.status, dict(caught.value.headers)) == (503, {b"retry-after": b"1"})
        assert 1.9 < loop.time() - before < 30
        keys.close()

    told(play)


def test_a_withdrawn_key_ends_the_tokens_that_were_remembered_by_it() -> None:
    async def play() -> None:
        story, token = Story(jwks(ONE, TWO)), ONE.token().encode()
        await story.verifier.verify(token)
        assert isinstance(story.verifier.remembered(token), Identity)
        story.source.body = jwks(TWO)
        await story.later(3600)
        assert story.verifier.remembered(token) is None
        with pytest.raises(Problem) as caught:
            await story.verifier.verify(token)
        assert caught.value.status == 401

    told(play)


def test_another_key_under_the_same_id_ends_them_too() -> None:
    from tests.helpers.tokens import Issuer

    async def play() -> None:
        story, token = Story(), ONE.token().encode()
        await story.verifier.verify(token)
        story.source.body = certificates(Issuer("key-1"))
        await story.later(3600)
        assert story.verifier.remembered(token) is None

    told(play)


def test_the_same_keys_in_the_other_form_end_nothing() -> None:
    async def play() -> None:
        story, token = Story(), ONE.token().encode()
        await story.verifier.verify(token)
        story.source.body = certificates(ONE)
        await story.later(3600)
        assert story.source.reads == 2
        assert story.verifier.remembered(token) is not None

    told(play)


STEPS = st.lists(
    st.tuples(st.sampled_from(["wait", "down", "up", "rotate", "known", "unknown"]), st.integers(0, 4000)), max_size=30
)


@settings(max_examples=80, deadline=None)
@given(STEPS)
def test_no_story_opens_the_door_or_asks_too_often(steps: list[tuple[str, int]]) -> None:
    """Only a key the source has handed out is ever used, and reads stay within their rate."""

    async def play() -> None:
        story, served, began = Story(), {"key-1"}, 1000.0
        for what, amount in steps:
            if what == "wait":
                await story.later(amount)
            elif what in ("down", "up"):
                story.source.fails = what == "down"
            elif what == "rotate":
                story.source.body = jwks(TWO)
                served.add("key-2")
            else:
                kid = ("key-1", "key-2")[amount % 2] if what == "known" else f"x{amount}"
                said = await story.status(kid)
                assert said in (200, 401, 503)
                assert said != 200 or kid in served
        elapsed = story.clock.now - began
        assert (
            story.source.reads <= 2 + 2 * (elapsed / 30 + 1) + elapsed
        )  # the last term: retries while there is no key

    told(play)
