from __future__ import annotations

import pytest

from gateway_runtime.asgi import Request
from gateway_runtime.rate.address import client_address, forwarded


def request(peer: str, *forwarded: str) -> Request:
    async def receive() -> dict[str, object]:
        raise AssertionError

    return Request(
        {
            "type": "http",
            "method": "GET",
            "raw_path": b"/x",
            "query_string": b"",
            "headers": [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded],
            "scheme": "http",
            "client": (peer, 1),
        },
        receive,
    )


CASES = [
    # hops, peer, X-Forwarded-For fields, whose it is
    (0, "192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
    (1, "10.0.0.9", ["198.51.100.7"], "198.51.100.7"),
    (1, "10.0.0.9", ["6.6.6.6, 198.51.100.7"], "198.51.100.7"),
    (1, "10.0.0.9", ["6.6.6.6", "198.51.100.7"], "198.51.100.7"),
    (2, "10.0.0.9", ["6.6.6.6, 198.51.100.7, 35.191.0.1"], "198.51.100.7"),
    (2, "10.0.0.9", ["198.51.100.7"], "10.0.0.9"),
    (1, "10.0.0.9", [], "10.0.0.9"),
    (1, "10.0.0.9", ["unknown"], "10.0.0.9"),
    (1, "10.0.0.9", ["1.2.3.4, "], "10.0.0.9"),
    (1, "10.0.0.9", ["1.2.3.4,é"], "10.0.0.9"),
    (1, "10.0.0.9", ["198.51.100.7:4711"], "198.51.100.7"),
    (1, "10.0.0.9", ["[2001:db8:1:2:3::4]:4711"], "2001:db8:1:2::/64"),
    (1, "10.0.0.9", ["2001:DB8:1:2:ffff::1"], "2001:db8:1:2::/64"),
    (1, "10.0.0.9", ["::ffff:198.51.100.7"], "198.51.100.7"),
    (1, "10.0.0.9", ["0198.51.100.7"], "10.0.0.9"),
    (0, "2001:db8::9", [], "2001:db8::/64"),
    (0, "", [], ""),
]


@pytest.mark.parametrize(("hops", "peer", "forwarded", "whose"), CASES)
def test_an_address_counts_only_as_far_as_it_can_be_trusted(
    hops: int, peer: str, forwarded: list[str], whose: str
) -> None:
    assert client_address(request(peer, *forwarded), hops) == whose


TOLD = [
    # hops, X-Forwarded-For, X-Forwarded-Proto, what those behind are told
    (0, ["198.51.100.7"], ["https"], ("10.0.0.9", "http")),
    (1, ["198.51.100.7"], ["https"], ("198.51.100.7", "https")),
    (1, ["6.6.6.6, 198.51.100.7"], ["HTTPS"], ("198.51.100.7", "https")),
    (2, ["6.6.6.6, 198.51.100.7, 35.191.0.1"], ["https"], ("198.51.100.7", "https")),
    (2, ["198.51.100.7, 35.191.0.1"], ["gopher, https, http"], ("198.51.100.7", "https")),
    (1, ["2001:DB8:1:2:ffff::1"], ["http"], ("2001:db8:1:2:ffff::1", "http")),
    (1, ["198.51.100.7"], ["gopher"], ("198.51.100.7", "http")),
    (1, ["198.51.100.7"], ["é"], ("198.51.100.7", "http")),
    (1, ["198.51.100.7"], [], ("198.51.100.7", "http")),
    (2, ["198.51.100.7"], ["https"], ("10.0.0.9", "http")),
    (1, [], ["https"], ("10.0.0.9", "http")),
    (1, ["x\u00e9"], ["https"], ("10.0.0.9", "http")),
    (1, ["fe80::1%\u00e9 eth0"], ["https"], ("fe80::1", "https")),
]


@pytest.mark.parametrize(("hops", "addresses", "schemes", "told"), TOLD)
def test_those_behind_are_told_one_address_and_the_scheme_that_came_with_it(
    hops: int, addresses: list[str], schemes: list[str], told: tuple[str, str]
) -> None:
    asked = request("10.0.0.9", *addresses)
    asked.headers = [*asked.headers, *((b"x-forwarded-proto", value.encode("latin-1")) for value in schemes)]
    assert forwarded(asked, hops) == told


@pytest.mark.parametrize("spoofed", ["1.1.1.1", "1.1.1.2, 9.9.9.9", "::1", "x" * 8000, "1.1.1.1," * 2000])
def test_what_a_caller_writes_itself_gives_no_new_bucket(spoofed: str) -> None:
    seen = {client_address(request("10.0.0.9", f"{text}, 198.51.100.7"), 1) for text in (spoofed, "other")}
    assert seen == {"198.51.100.7"}
