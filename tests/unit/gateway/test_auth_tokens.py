from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway_runtime.auth.identity import Identity
from gateway_runtime.errors import Problem
from tests.helpers.tokens import AUDIENCE, ISSUER, Issuer, b64, issuer, right_claims
from tests.helpers.verifying import judged, shown, verifier

RIGHT = right_claims
KEY = issuer()
OTHER = Issuer("key-1")  # the same key id, another key
NOW = int(time.time())


def dumps(data: object) -> bytes:
    return json.dumps(data).encode()


def with_header(**header: Any) -> Callable[[], bytes]:
    """A token signed right, with other header members; `...` takes one out."""

    def make() -> bytes:
        found = {"alg": "RS256", "typ": "JWT", "kid": "key-1", **header}
        return KEY.signed(dumps({k: v for k, v in found.items() if v is not ...}), dumps(RIGHT()))

    return make


def with_claims(**claims: Any) -> Callable[[], bytes]:
    return lambda: KEY.token(**claims).encode()


def with_payload(payload: bytes) -> Callable[[], bytes]:
    return lambda: KEY.signed(KEY.header(), payload)


def with_text(name: str, value: str) -> Callable[[], bytes]:
    """A claim whose JSON text is this, which Python's own encoder would not write."""
    claims = RIGHT(**{name: "@@"})
    return with_payload(dumps(claims).replace(b'"@@"', value.encode()))


def unsigned(alg: Any, *, signature: bytes = b"", kid: Any = "key-1") -> Callable[[], bytes]:
    return lambda: b64(dumps({"alg": alg, "kid": kid})) + b"." + b64(dumps(RIGHT())) + b"." + signature


def hmac_with(secret: bytes, alg: str = "HS256") -> Callable[[], bytes]:
    """The classic confusion: the public key, which everybody has, as the secret of a HMAC."""

    def make() -> bytes:
        text = b64(KEY.header(alg=alg)) + b"." + b64(dumps(RIGHT()))
        return text + b"." + b64(hmac.new(secret, text, hashlib.sha256).digest())

    return make


def pss() -> bytes:
    text = b64(KEY.header()) + b"." + b64(dumps(RIGHT()))
    signature = KEY.private.sign(text, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    return text + b"." + b64(signature)


def sha1() -> bytes:
    text = b64(KEY.header()) + b"." + b64(dumps(RIGHT()))
    return text + b"." + b64(KEY.private.sign(text, padding.PKCS1v15(), hashes.SHA512()))


def es256() -> bytes:
    text = b64(KEY.header(alg="ES256")) + b"." + b64(dumps(RIGHT()))
    return text + b"." + b64(ec.generate_private_key(ec.SECP256R1()).sign(text, ec.ECDSA(hashes.SHA256())))


def in_parts(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[], bytes]:
    return lambda: b".".join(change(KEY.token().encode().split(b".")))


def loose_bits(text: bytes) -> bytes:
    """Another last character for the same bytes: the bits past the last whole byte are set."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(text) % 4, "the case needs a part that does not fill its last character"
    return text[:-1] + bytes([alphabet[alphabet.index(text[-1]) + 1]])


def jwk_header() -> dict[str, Any]:
    return {"jwk": OTHER.jwk}


PUBLIC = KEY.private.public_key()
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
SPKI, PKCS1 = serialization.PublicFormat.SubjectPublicKeyInfo, serialization.PublicFormat.PKCS1
DEEP = b'{"a":' * 1100 + b"1" + b"}" * 1100

REFUSED: dict[str, Callable[[], bytes]] = {
    # 35: algorithms
    "alg none": unsigned("none"), "alg None": unsigned("None"), "alg NONE": unsigned("NONE"), "alg nOnE": unsigned("nOnE"),
    "alg none with a signature": unsigned("none", signature=b"AAAA"), "alg none, no kid": unsigned("none", kid=None),
    "alg empty": with_header(alg=""), "alg missing": with_header(alg=...), "alg null": with_header(alg=None),
    "alg a list": with_header(alg=["RS256"]), "alg an object": with_header(alg={"RS256": 1}),
    "alg a number": with_header(alg=256),
    "alg rs256": with_header(alg="rs256"), "alg RS256 and a space": with_header(alg="RS256 "),
    "alg RS384": with_header(alg="RS384"),
    "alg RS512": with_header(alg="RS512"), "alg PS256": with_header(alg="PS256"), "alg HS256": with_header(alg="HS256"),
    "alg RSA-OAEP": with_header(alg="RSA-OAEP"), "a PSS signature": pss, "another hash": sha1, "ES256": es256,
    "HS256 with the public key, PEM": hmac_with(PUBLIC.public_bytes(PEM, SPKI)),
    "HS256 with the public key, PEM stripped": hmac_with(PUBLIC.public_bytes(PEM, SPKI).strip()),
    "HS256 with the public key, PKCS1 PEM": hmac_with(PUBLIC.public_bytes(PEM, PKCS1)),
    "HS256 with the public key, DER": hmac_with(PUBLIC.public_bytes(DER, SPKI)),
    "HS256 with the certificate": hmac_with(KEY.certificate.encode()),
    "HS256 with the modulus": hmac_with(KEY.jwk["n"].encode()),
    "HS256 with nothing": hmac_with(b""), "a HMAC that says RS256": hmac_with(PUBLIC.public_bytes(PEM, SPKI), "RS256"),
    # 35: key ids, and keys that a token brings along
    "kid missing": with_header(kid=...), "kid null": with_header(kid=None), "kid empty": with_header(kid=""),
    "kid a number": with_header(kid=1), "kid a list": with_header(kid=["key-1"]),
    "kid a path": with_header(kid="../../dev/null"),
    "kid an absolute path": with_header(kid="/dev/null"), "kid SQL": with_header(kid="key-1' OR '1'='1"),
    "kid a URL": with_header(kid="http://169.254.169.254/"), "kid with NUL": with_header(kid="key-1\0"),
    "kid with LF": with_header(kid="key-1\n"), "kid of 1 MB": with_header(kid="k" * 1_000_000),
    "kid unknown": with_header(kid="key-9"),
    "kid in other case": with_header(kid="KEY-1"),
    "jku": with_header(jku="https://evil.example/keys"), "x5u": with_header(x5u="https://evil.example/cert"),
    "x5c": with_header(x5c=[KEY.certificate]), "jwk": with_header(jwk=KEY.jwk),
    "jwk of the signer": lambda: OTHER.signed(OTHER.header(jwk=OTHER.jwk), dumps(RIGHT())),
    "crit": with_header(crit=["exp"]), "b64 false": with_header(b64=False, crit=["b64"]), "zip": with_header(zip="DEF"),
    "cty JWT": with_header(cty="JWT"), "typ at+jwt": with_header(typ="at+jwt"), "typ a list": with_header(typ=["JWT"]),
    "a header twice": lambda: KEY.signed(b'{"alg":"none","alg":"RS256","kid":"key-1"}', dumps(RIGHT())),
    "a header that is a list": lambda: KEY.signed(b'["RS256"]', dumps(RIGHT())),
    "a header that is no JSON": lambda: KEY.signed(b"RS256", dumps(RIGHT())),
    "a header in UTF-16": lambda: KEY.signed(KEY.header().decode().encode("utf-16"), dumps(RIGHT())),
    "another key of that id": lambda: OTHER.token().encode(),
    # 36: times
    **{f"{name} {what}": with_claims(**{name: value}) for name in ("exp", "iat", "nbf", "auth_time") for what, value in (
        ("a string", str(NOW + (99 if name == "exp" else -99))), ("true", True), ("false", False), ("null", None),
        ("a list", [NOW]),
        ("an object", {"t": NOW}), ("negative", -1), ("in the year 12000", 316516032000))},
    **{f"{name} {value}": with_text(name, value) for name in ("exp", "iat", "nbf", "auth_time")
       for value in ("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9" * 5000)},
    "exp missing": with_claims(exp=...), "iat missing": with_claims(iat=...), "exp now": with_claims(exp=NOW - 11),
    "iat ahead": with_claims(iat=NOW + 3000), "nbf ahead": with_claims(nbf=NOW + 3000),
    "auth_time ahead": with_claims(auth_time=NOW + 3000),
    "exp before iat": with_claims(iat=NOW + 5, exp=NOW + 4), "exp 0": with_claims(exp=0),
    "expired an hour ago": with_claims(exp=NOW - 3600),
    # 37: issuer and audience
    **{f"{name} {what}": with_claims(**{name: value}) for name, right in (("iss", ISSUER),
    ("aud", AUDIENCE)) for what, value in (
        ("missing", ...), ("null", None), ("empty", ""), ("a prefix", right[:-1]), ("with more behind", right + "x"),
        ("with more before", "x" + right), ("in capitals", right.upper()), ("with a slash", right + "/"),
        ("with a space", right + " "),
        ("a list of it", [right]), ("a list with more", [right, "x"]), ("an object", {right: 1}), ("a number", 1),
        ("true", True))},
    "a custom token's audience": with_claims(
        aud="https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit"),
    "another project": with_claims(iss="https://securetoken.google.com/other", aud="other"),
    # who
    "sub missing": with_claims(sub=...), "sub empty": with_claims(sub=""), "sub of 129": with_claims(sub="u" * 129),
    "sub a number": with_claims(sub=7), "sub a list": with_claims(sub=["ada"]), "sub null": with_claims(sub=None),
    "sub with NUL": with_claims(sub="ada\0"), "sub with LF": with_claims(sub="ada\nroot"),
    "sub with ESC": with_claims(sub="\x1b[31m"),
    "sub with a lone surrogate": with_text("sub", '"\\ud800"'), "sub with bidi": with_claims(sub="ada\u202e"),
    "roles a number": with_claims(roles=7), "roles an object": with_claims(roles={"admin": True}),
    "roles of numbers": with_claims(roles=[1]), "roles of lists": with_claims(roles=[["admin"]]),
    "an empty role": with_claims(roles=[""]),
    "65 roles": with_claims(roles=["r"] * 65),
    # 38, 39: the text
    "no dots": lambda: b"eyJhbGciOiJSUzI1NiJ9", "two parts": in_parts(lambda p: p[:2]),
    "four parts": in_parts(lambda p: [*p, b"AAAA"]),
    "five parts": in_parts(lambda p: [*p, b"", b""]), "an empty header": in_parts(lambda p: [b"", *p[1:]]),
    "an empty payload": in_parts(lambda p: [p[0], b"", p[2]]), "no signature": in_parts(lambda p: [*p[:2], b""]),
    "a signature of zeros": in_parts(lambda p: [*p[:2], b64(bytes(256))]),
    "a signature of ones": in_parts(lambda p: [*p[:2], b64(b"\xff" * 256)]),
    "a short signature": in_parts(lambda p: [*p[:2], b64(b"\1")]), "a signature with a zero before": in_parts(
        lambda p: [*p[:2], b64(b"\0" + base64.urlsafe_b64decode(p[2] + b"=="))]),
    "padding": in_parts(lambda p: [*p[:2], p[2] + b"=="]),
    "loose bits in the signature": in_parts(lambda p: [*p[:2], loose_bits(p[2])]),
    "standard base64": in_parts(lambda p: [*p[:2], b64(b"\xfb\xff" * 128).replace(b"-", b"+").replace(b"_", b"/")]),
    "a tab inside": in_parts(lambda p: [p[0], p[1][:9] + b"\t" + p[1][9:], p[2]]),
    "a comma": in_parts(lambda p: [b",".join(p)]),
    "a NUL": in_parts(lambda p: [*p[:2], p[2] + b"\0"]), "not ASCII": in_parts(lambda p: [*p[:2], p[2] + "é".encode()]),
    "a length of 1 mod 4": in_parts(lambda p: [*p[:2], p[2] + b"AAA"]), "64 KiB": in_parts(lambda p: [*p[:2], p[2] * 192]),
    "64 KiB, signed": with_claims(pad="x" * 49_000), "9 KiB, signed": with_claims(pad="x" * 6_000),
    "nested 1100 deep, signed": with_payload(DEEP), "nested 50000 deep": lambda: b64(b"[" * 50_000) + b".AAAA.AAAA",
    "nested lists, signed": with_payload(b"[" * 300 + b"]" * 300), "a payload that is a list": with_payload(b"[]"),
    "a payload that is a text": with_payload(b'"x"'), "a payload that is null": with_payload(b"null"),
    "a payload that is empty": with_payload(b" "),
    "a claim twice": with_payload(dumps(RIGHT())[:-1] + b',"tenant":"other"}'),
    "a nested name twice": with_payload(dumps(RIGHT())[:-1] + b',"x":{"a":1,"a":2}}'),
    "text behind the JSON": with_payload(dumps(RIGHT()) + b"x"), "a BOM": with_payload(b"\xef\xbb\xbf" + dumps(RIGHT())),
    "bad UTF-8": with_payload(dumps(RIGHT())[:-1] + b',"x":"\xff"}'),
    "UTF-16": with_payload(dumps(RIGHT()).decode().encode("utf-16")),
    "single quotes": with_payload(dumps(RIGHT()).replace(b'"', b"'")),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_token_that_is_not_right_is_401_in_no_time(name: str) -> None:
    token = REFUSED[name]()
    checker = verifier()
    began = time.thread_time()  # what others do meanwhile is not in it
    found = judged(token, checker)
    assert time.thread_time() - began < 0.5
    assert isinstance(found, Problem)
    assert (found.status, found.code) == (401, "UNAUTHENTICATED"), found.details
    (challenge,) = found.headers
    assert challenge[0] == b"www-authenticate"
    assert challenge[1].startswith(b'Bearer realm="gateway"')
    assert token[:40].decode("latin-1") not in f"{found} {found.message} {found.details}"


def test_the_table_is_as_long_as_it_says() -> None:
    assert len(REFUSED) >= 185


RIGHT_ONES: dict[str, tuple[Callable[[], bytes], Identity]] = {
    "plain": (with_claims(exp=NOW + 9000), Identity("acme", "ada", (), NOW + 9000)),
    "without typ": (with_header(typ=...), Identity("acme", "ada", (), 0)),
    "roles as a list": (with_claims(roles=["admin", "sales"]), Identity("acme", "ada", ("admin", "sales"), 0)),
    "roles as a text": (with_claims(roles="admin sales"), Identity("acme", "ada", ("admin", "sales"), 0)),
    "roles null": (with_claims(roles=None), Identity("acme", "ada", (), 0)),
    "without nbf and auth_time": (with_claims(auth_time=...), Identity("acme", "ada", (), 0)),
    "times that are not whole": (with_claims(iat=NOW - 0.5), Identity("acme", "ada", (), 0)),
    "a name that is not ASCII": (with_claims(sub="Zoë 東京"), Identity("acme", "Zoë 東京", (), 0)),
    "128 characters": (with_claims(sub="u" * 128, tenant="t" * 128), Identity("t" * 128, "u" * 128, (), 0)),
    "unknown claims": (with_claims(email="a@b.co", admin=True, x={"y": [1]}), Identity("acme", "ada", (), 0)),
    "iat ahead within the leeway": (with_claims(iat=NOW + 5), Identity("acme", "ada", (), 0)),
}


@pytest.mark.parametrize("name", RIGHT_ONES)
def test_a_right_token_gives_its_identity(name: str) -> None:
    make, wanted = RIGHT_ONES[name]
    found = judged(make())
    assert isinstance(found, Identity), getattr(found, "details", "")
    assert (found.tenant, found.user, found.roles) == (wanted.tenant, wanted.user, wanted.roles)
    assert found.expires == (wanted.expires or found.expires)


@pytest.mark.parametrize(
    "tenant", [..., None, "", " ", "a b", "a/b", "../x", "-a", "a\0", "é", "t" * 129, 7, True, ["acme"], {"id": "acme"}]
)
def test_a_right_token_without_a_tenant_is_403_and_gets_no_default(tenant: Any) -> None:
    found = judged(KEY.token(tenant=tenant))
    assert isinstance(found, Problem)
    assert (found.status, found.code) == (403, "FORBIDDEN")
    assert b'error="insufficient_scope"' in dict(found.headers)[b"www-authenticate"]


def test_every_single_byte_altered_is_401() -> None:
    """Every position, to its neighbours in the alphabet, to a flipped bit, and to what base64 does not have."""
    token = KEY.token().encode()
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    altered = []
    for at, byte in enumerate(token):
        others = {byte ^ 1, byte ^ 0x80, ord("."), ord("=")}
        if byte in alphabet:
            others |= {alphabet[(alphabet.index(byte) + step) % 64] for step in (1, 16, 32, 63)}
        altered += [token[:at] + bytes([other]) + token[at + 1 :] for other in others - {byte, 0x20}]
    assert len(altered) > len(token) * 6
    assert judged_one_after_another(token, altered) == {401}


def test_every_byte_taken_out_or_put_in_is_401() -> None:
    token = KEY.token().encode()
    altered = [token[:at] + token[at + 1 :] for at in range(len(token))]
    altered += [token[:at] + b"A" + token[at:] for at in range(len(token) + 1)]
    assert judged_one_after_another(token, altered) == {401}


def judged_one_after_another(right: bytes, wrong: list[bytes]) -> set[int]:
    """The statuses of the wrong ones, by one verifier that has found the right one right before each of them."""

    async def story() -> set[int]:
        checker, said = verifier(), set()
        for token in wrong:
            assert isinstance(await shown(checker, (b"authorization", b"Bearer " + right)), Identity)
            found = await shown(checker, (b"authorization", b"Bearer " + token))
            said.add(found.status if isinstance(found, Problem) else 200)
        return said

    return asyncio.run(story())


NAMED = ("iss", "aud", "exp", "iat", "nbf", "auth_time")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=120, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(("iss", "aud", "exp", "iat", "nbf", "sub", "tenant", "roles", "auth_time")), JSON, max_size=9
    )
)
@example({"tenant": "other"})
def test_whatever_a_signed_token_says_it_gives_an_identity_by_the_rules_or_a_problem(claims: dict[str, Any]) -> None:
    said = {**RIGHT(), **claims}
    found = judged(KEY.signed(KEY.header(), json.dumps(said).encode()))
    if isinstance(found, Problem):
        assert found.status in (401, 403)
        return
    assert (found.tenant, found.user) == (said["tenant"], said["sub"])
    assert (said["iss"], said["aud"]) == (ISSUER, AUDIENCE)
    assert time.time() < found.expires + 10


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text("eyJ.A-_=", max_size=60).map(str.encode))
def test_whatever_arrives_as_a_token_is_a_problem(text: bytes) -> None:
    found = judged(text)
    assert isinstance(found, Problem)
    assert found.status == 401
