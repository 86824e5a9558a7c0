"""Reads a set of public keys: a JWKS (RFC 7517 5), or Google's object of X.509 certificates by key id.

The checks of the signature itself are the `cryptography` library's (OpenSSL). It is imported with the first key set and
not before: a cold start does not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from gateway_runtime.auth.token import decode, parse
from gateway_runtime.errors import Problem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

SET_LIMIT = 256 * 1024
"""Bytes of a key set."""
BITS = range(2048, 8193)
"""RSA moduli that are accepted: shorter ones can be broken, longer ones make a request expensive."""
EXPONENT = 65537


class KeyFault(Exception):
    """A key set that cannot be used; the message says why."""


@dataclass(frozen=True, eq=False)
class Key:
    """One public key. Two are equal when they are the same key."""

    modulus: int
    _verify: Callable[[bytes, bytes], None]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and other.modulus == self.modulus

    def __hash__(self) -> int:
        return hash(self.modulus)

    def signed(self, data: bytes, signature: bytes) -> bool:
        """Whether `signature` is this key's over `data`: RSASSA-PKCS1-v1_5 with SHA-256, that is RS256."""
        try:
            self._verify(signature, data)
        except _invalid_signature():
            return False
        return True


def read_keys(body: bytes) -> dict[str, Key]:
    """The usable keys of a set by id; KeyFault when there is none, or when anything in it is not as it should be.

    Keys of a JWKS that are for something else (another type, use or algorithm) are passed over.
    """
    if len(body) > SET_LIMIT:
        raise KeyFault(f"longer than {SET_LIMIT} bytes")
    try:
        document = parse(body)
        keys = _from_jwks(document["keys"]) if "keys" in document else _from_certificates(document)
    except (Problem, ValueError, TypeError, KeyError) as fault:
        raise KeyFault(f"not a key set: {getattr(fault, 'details', {}).get('reason') or fault}") from fault
    if not keys:
        raise KeyFault("no usable key in it")
    return keys


def _from_jwks(listed: Any) -> dict[str, Key]:
    keys: dict[str, Key] = {}
    if not isinstance(listed, list):
        raise KeyFault("`keys` is not a list")
    for entry in listed:
        if not isinstance(entry, Mapping):
            raise KeyFault("a key is not an object")
        if entry.get("kty") != "RSA" or entry.get("use", "sig") != "sig" or entry.get("alg", "RS256") != "RS256":
            continue
        if "d" in entry:
            raise KeyFault("it holds a private key")
        kid = entry.get("kid")
        if not isinstance(kid, str) or not kid or kid in keys:
            raise KeyFault("a key has no id of its own")
        numbers = [int.from_bytes(decode(str(entry[name]).encode("ascii"))) for name in ("n", "e")]
        keys[kid] = _key_of(*numbers)
    return keys


def _from_certificates(document: Mapping[str, Any]) -> dict[str, Key]:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.x509 import load_pem_x509_certificate

    keys = {}
    for kid, pem in document.items():
        public = load_pem_x509_certificate(str(pem).encode("ascii")).public_key()
        if not isinstance(public, RSAPublicKey) or not kid:
            raise KeyFault("a certificate is not for an RSA key")
        numbers = public.public_numbers()
        keys[kid] = _key_of(numbers.n, numbers.e)
    return keys


def _key_of(modulus: int, exponent: int) -> Key:
    if modulus.bit_length() not in BITS or exponent != EXPONENT:
        raise KeyFault(f"a key of {modulus.bit_length()} bits with exponent {exponent} is not accepted")
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
    from cryptography.hazmat.primitives.hashes import SHA256

    public: RSAPublicKey = RSAPublicNumbers(exponent, modulus).public_key()
    padding, digest = PKCS1v15(), SHA256()
    return Key(modulus, lambda signature, data: public.verify(signature, data, padding, digest))


@cache
def _invalid_signature() -> type[Exception]:
    from cryptography.exceptions import InvalidSignature

    return InvalidSignature
