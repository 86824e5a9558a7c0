from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway_runtime.auth.keys import KeyFault, read_keys
from gateway_runtime.auth.source import good_for
from tests.helpers.tokens import Issuer, certificates, issuer, jwks

ONE, TWO = issuer(), issuer("key-2")
SMALL = Issuer("small", rsa.generate_private_key(65537, 1024))
THREE = Issuer("three", rsa.generate_private_key(3, 2048))


def listed(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


@pytest.mark.parametrize("body", [jwks(ONE, TWO), certificates(ONE, TWO)], ids=["JWKS", "X.509 by key id"])
def test_both_forms_of_a_key_set_give_the_same_keys(body: bytes) -> None:
    keys = read_keys(body)
    assert list(keys) == ["key-1", "key-2"]
    assert keys["key-1"] == read_keys(jwks(ONE))["key-1"]
    assert keys["key-1"] != keys["key-2"]
    token = ONE.token().encode()
    text, _, signature = token.rpartition(b".")
    from gateway_runtime.auth.token import decode

    assert keys["key-1"].signed(text, decode(signature))
    assert not keys["key-2"].signed(text, decode(signature))
    assert not keys["key-1"].signed(text + b"x", decode(signature))


def test_keys_for_something_else_are_passed_over() -> None:
    other = [
        {"kty": "EC", "kid": "e", "crv": "P-256", "x": "AA", "y": "AA"}, {**TWO.jwk, "use": "enc"}, {**TWO.jwk, "alg": "RS512"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "key-1"},
    ]  # fmt: skip
    assert list(read_keys(listed(*other, ONE.jwk))) == ["key-1"]
    assert list(read_keys(listed({name: value for name, value in ONE.jwk.items() if name not in ("use", "alg")}))) == [
        "key-1"
    ]


WRONG: dict[str, bytes] = {
    "nothing": b"", "no JSON": b"<html>", "a list": b"[]", "no keys": b'{"keys":[]}', "an empty object": b"{}",
    "keys that are no list": b'{"keys":{"a":1}}', "a key that is no object": b'{"keys":["a"]}',
    "only keys for something else": listed({**ONE.jwk, "use": "enc"}), "a key without id": listed({**ONE.jwk, "kid": ""}),
    "an id that is a number": listed({**ONE.jwk, "kid": 1}), "one id twice": listed(ONE.jwk, {**TWO.jwk, "kid": "key-1"}),
    "a private key": listed({**ONE.jwk, "d": "AQAB"}), "a short key": jwks(SMALL),
    "an even modulus of 1 bit": listed({**ONE.jwk, "n": "AQ"}),
    "no modulus": listed({k: v for k, v in ONE.jwk.items() if k != "n"}),
    "a modulus with padding": listed({**ONE.jwk, "n": ONE.jwk["n"] + "="}),
    "a modulus that is a number": listed({**ONE.jwk, "n": 5}),
    "exponent 3": listed({**THREE.jwk, "e": "Aw"}), "exponent 1": listed({**ONE.jwk, "e": "AQ"}),
    "a huge exponent": listed({**ONE.jwk, "e": "_" * 340}), "a modulus of 16384 bits": listed({**ONE.jwk, "n": "_" * 2731}),
    "a certificate that is none": b'{"key-1":"-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\\n"}',
    "a certificate that is a number": b'{"key-1":1}', "a small key's certificate": certificates(SMALL),
    "an object of texts": b'{"error":"not found"}',
    "more than 256 KiB": jwks(ONE) + b" " * 262144, "deep": b'{"keys":' + b"[" * 100_000,
    "bad UTF-8": b'{"keys":"\xff"}', "a name twice": b'{"keys":[],"keys":[]}',
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_set_that_is_not_right_gives_no_key_at_all(name: str) -> None:
    with pytest.raises(KeyFault):
        read_keys(WRONG[name])


FRESH = [
    ([], 300), (["max-age=60"], 60), (["public, max-age=19230, must-revalidate, no-transform"], 19230), (["MAX-AGE=5"], 5),
    (['max-age="7"'], 7), (["no-store"], 0), (["no-cache, max-age=60"], 0), (["max-age=-1"], 300), (["max-age=x"], 300),
    (["s-maxage=9"], 300), (["x-max-age=9"], 300), (["public", "max-age=8"], 8), (["max-age=0"], 0),
    (["max-age=" + "9" * 30], 999999999),
]  # fmt: skip


@pytest.mark.parametrize(("rules", "seconds"), FRESH)
def test_a_set_is_good_for_its_max_age(rules: list[str], seconds: float) -> None:
    assert good_for([(b"cache-control", rule.encode()) for rule in rules]) == seconds


@pytest.mark.parametrize(("age", "seconds"), [(b"10", 50), (b"60", 0), (b"99", 0), (b"x", 60), (b"-5", 60)])
def test_the_age_it_came_with_counts(age: bytes, seconds: float) -> None:
    assert good_for([(b"cache-control", b"max-age=60"), (b"age", age)]) == seconds
