from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway_runtime.auth.claims import Rules, identify
from gateway_runtime.auth.identity import Identity
from gateway_runtime.auth.verifier import Verifier
from gateway_runtime.errors import Problem
from tests.helpers.tokens import AUDIENCE, ISSUER, issuer, jwks, right_claims
from tests.helpers.verifying import Clock, Source, keyring, shown, verifier

NOW = 1_800_000_000.0
LEEWAY = 10


def claims(**other: Any) -> dict[str, Any]:
    return {**right_claims(), "iat": NOW - 60, "auth_time": NOW - 60, "exp": NOW + 3600, **other}


EDGES = [
    # claim, seconds from now, accepted
    ("exp", 1, True), ("exp", 0, True), ("exp", -9, True), ("exp", -9.999, True), ("exp", -10, False), ("exp", -11, False),
    ("iat", 0, True), ("iat", 9, True), ("iat", 10, True), ("iat", 10.001, False), ("iat", 11, False),
    ("nbf", 0, True), ("nbf", 9, True), ("nbf", 10, True), ("nbf", 11, False), ("nbf", 3600, False),
    ("auth_time", 9, True), ("auth_time", 10, True), ("auth_time", 11, False), ("auth_time", -86400, True),
]  # fmt: skip


@pytest.mark.parametrize(("claim", "seconds", "accepted"), EDGES)
def test_the_leeway_ends_where_it_says(claim: str, seconds: float, accepted: bool) -> None:
    said = claims(**{claim: NOW + seconds})
    if accepted:
        assert identify(said, Rules(ISSUER, AUDIENCE, leeway=LEEWAY), NOW).tenant == "acme"
        return
    with pytest.raises(Problem) as caught:
        identify(said, Rules(ISSUER, AUDIENCE, leeway=LEEWAY), NOW)
    assert caught.value.status == 401
    assert (caught.value.message == "The token has expired") is (claim == "exp")


def test_without_leeway_the_second_of_exp_is_too_late() -> None:
    rules = Rules(ISSUER, AUDIENCE, leeway=0)
    assert identify(claims(exp=NOW + 0.5), rules, NOW)
    with pytest.raises(Problem):
        identify(claims(exp=NOW), rules, NOW)


NAMES = [
    ("firebase.tenant", {"firebase": {"tenant": "globex"}}, "globex"), ("tenant", {"tenant": "globex"}, "globex"),
    ("https://acme.example/tenant", {"https://acme.example/tenant": "globex"}, "globex"),
    ("firebase.tenant", {"firebase": "globex"}, None), ("firebase.tenant", {"firebase.tenant": "globex"}, None),
    ("firebase.tenant", {}, None), ("a.b.c", {"a": {"b": {"c": "globex"}}}, "globex"), ("a.b.c", {"a": {"b": None}}, None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "extra", "wanted"), NAMES)
def test_the_tenant_stands_under_the_name_the_settings_give(
    name: str, extra: dict[str, Any], wanted: str | None
) -> None:
    said = {key: value for key, value in claims().items() if key not in ("tenant", "firebase")} | extra
    rules = Rules(ISSUER, AUDIENCE, tenant=name)
    if wanted:
        assert identify(said, rules, NOW).tenant == wanted
        return
    with pytest.raises(Problem) as caught:
        identify(said, rules, NOW)
    assert caught.value.status == 403


def test_user_and_roles_stand_under_the_names_the_settings_give() -> None:
    rules = Rules(ISSUER, AUDIENCE, user="email", roles="access.roles")
    found = identify(claims(email="a@b.co", access={"roles": ["admin"]}), rules, NOW)
    assert found == Identity("acme", "a@b.co", ("admin",), NOW + 3600)
    with pytest.raises(Problem):
        identify(claims(), rules, NOW)


class Bench:
    """One verifier under clocks that are moved by hand, in one loop."""

    def __init__(self, room: int = 100) -> None:
        self.wall, self.steady = Clock(NOW), Clock(500.0)
        keys = keyring(Source(jwks(issuer())), clock=self.steady)
        self.verifier = Verifier(
            keys, Rules(ISSUER, AUDIENCE, leeway=LEEWAY), room=room, wall=self.wall, steady=self.steady
        )

    def move(self, *, wall: float, steady: float) -> None:
        self.wall.now += wall
        self.steady.now += steady

    async def status(self, token: str) -> int:
        found = await shown(self.verifier, (b"authorization", b"Bearer " + token.encode()))
        return 200 if isinstance(found, Identity) else found.status


def token(**other: Any) -> str:
    return issuer().token(
        **{name: value for name, value in claims(**other).items() if name in ("iat", "exp", "auth_time")}
    )


def test_a_remembered_token_ends_with_its_exp() -> None:
    async def story() -> list[int]:
        bench, shown_token = Bench(), token(exp=NOW + 100)
        said = [await bench.status(shown_token)]
        for seconds in (99, 10, 1, 10):
            bench.move(wall=seconds, steady=seconds)
            said.append(await bench.status(shown_token))
        return said

    assert asyncio.run(story()) == [200, 200, 200, 401, 401]


def test_a_clock_set_back_by_ten_minutes_neither_throws_out_a_user_nor_wakes_an_expired_token() -> None:
    async def story() -> list[int]:
        bench, long, short = Bench(), token(exp=NOW + 3600), token(exp=NOW + 100)
        said = [await bench.status(long), await bench.status(short)]
        bench.move(wall=-600, steady=0)
        said += [await bench.status(long), await bench.status(short)]
        bench.move(wall=111, steady=111)  # the short one is over, though the wall clock says it has long to go
        said += [await bench.status(long), await bench.status(short)]
        bench.move(wall=3500, steady=3500)
        said += [await bench.status(long), await bench.status(short)]
        return said

    assert asyncio.run(story()) == [200, 200, 200, 200, 200, 401, 401, 401]


def test_a_clock_set_forward_ends_what_is_over_by_it_and_back_again_ends_no_more() -> None:
    async def story() -> list[int]:
        bench, shown_token = Bench(), token(exp=NOW + 3600)
        said = [await bench.status(shown_token)]
        for seconds in (7200, -7200):
            bench.move(wall=seconds, steady=0)
            said.append(await bench.status(shown_token))
        return said

    assert asyncio.run(story()) == [200, 401, 200]


def test_a_token_from_the_future_is_refused_until_then() -> None:
    async def story() -> list[int]:
        bench, shown_token = Bench(), token(iat=NOW + 300, auth_time=NOW)
        said = [await bench.status(shown_token)]
        bench.move(wall=290, steady=290)
        return [*said, await bench.status(shown_token)]

    assert asyncio.run(story()) == [401, 200]


def test_no_more_tokens_are_remembered_than_there_is_room_for_and_the_least_used_goes_first() -> None:
    async def story() -> tuple[list[bool], int]:
        checker = verifier(room=3)
        shown_tokens = [issuer().token(user=f"u{number}").encode() for number in range(4)]
        for one in shown_tokens[:3]:
            await checker.verify(one)
        assert checker.remembered(shown_tokens[0])  # used again: the second is now the least used
        await checker.verify(shown_tokens[3])
        return [checker.remembered(one) is not None for one in shown_tokens], len(checker._known)

    assert asyncio.run(story()) == ([True, False, True, True], 3)


def test_without_room_nothing_is_remembered_and_everything_still_works() -> None:
    async def story() -> list[object]:
        checker, shown_token = verifier(room=0), issuer().token().encode()
        first = await checker.verify(shown_token)
        return [first.user, checker.remembered(shown_token), (await checker.verify(shown_token)).user]

    assert asyncio.run(story()) == ["ada", None, "ada"]


def test_no_token_is_kept_only_its_hash() -> None:
    async def story() -> str:
        checker, shown_token = verifier(), issuer().token().encode()
        await checker.verify(shown_token)
        return repr(vars(checker)) + shown_token.decode()

    said = asyncio.run(story())
    assert said.count(said[-40:]) == 1
