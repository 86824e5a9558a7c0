"""An issuer for the tests: real RSA keys, tokens right or wrong in any way wanted, and its public keys in a file."""

from __future__ import annotations

import atexit
import base64
import json
import os
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

ISSUER, AUDIENCE = "https://securetoken.google.com/tests", "tests"
TENANT, USER = "acme", "ada"


def b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


@dataclass(frozen=True)
class Issuer:
    """One key, and what it signs."""

    kid: str = "key-1"
    private: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    def signed(self, header: bytes, payload: bytes) -> bytes:
        """A token of exactly these two texts."""
        text = b64(header) + b"." + b64(payload)
        return text + b"." + b64(self.private.sign(text, padding.PKCS1v15(), hashes.SHA256()))

    def header(self, **other: Any) -> bytes:
        return dumps({"alg": "RS256", "typ": "JWT", "kid": self.kid, **other})

    def token(self, tenant: str | None = TENANT, user: str = USER, *, ttl: float = 3600, **claims: Any) -> str:
        """A right token, with other claims as wished; `...` takes one out."""
        return self.signed(self.header(), dumps(right_claims(tenant, user, ttl=ttl, **claims))).decode()

    @cached_property
    def jwk(self) -> dict[str, str]:
        numbers = self.private.public_key().public_numbers()
        n = b64(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8))
        return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "n": n.decode(), "e": "AQAB"}

    @cached_property
    def certificate(self) -> str:
        """Self-signed, as Google's are."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "securetoken.tests")])
        now = datetime.now(UTC)
        built = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.private.public_key())
            .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=16))
            .sign(self.private, hashes.SHA256())
        )  # fmt: skip
        return built.public_bytes(serialization.Encoding.PEM).decode()


def right_claims(tenant: str | None = TENANT, user: str = USER, *, ttl: float = 3600, **claims: Any) -> dict[str, Any]:
    now = int(time.time())
    found = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": user, "tenant": tenant, "iat": now - 5, "auth_time": now - 60,
        "exp": now + ttl, "firebase": {"identities": {}, "sign_in_provider": "password"}, **claims,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not ...}


def jwks(*issuers: Issuer) -> bytes:
    return json.dumps({"keys": [issuer.jwk for issuer in issuers]}).encode()


def certificates(*issuers: Issuer) -> bytes:
    return json.dumps({issuer.kid: issuer.certificate for issuer in issuers}).encode()


@cache
def issuer(kid: str = "key-1") -> Issuer:
    """The issuer with this key id: one a process, since making a key takes time."""
    return Issuer(kid)


@cache
def keys_file() -> Path:
    """The public key of `issuer()` in a file, for AUTH_KEYS."""
    descriptor, name = tempfile.mkstemp(prefix="xgw-test-keys-", suffix=".json")
    os.write(descriptor, jwks(issuer()))
    os.close(descriptor)
    path = Path(name)
    atexit.register(path.unlink, missing_ok=True)
    return path


def settings() -> dict[str, str]:
    """The environment of a process that believes `issuer()`."""
    return {"AUTH_KEYS": str(keys_file()), "AUTH_ISSUER": ISSUER, "AUTH_AUDIENCE": AUDIENCE}


@cache
def bearer(tenant: str = TENANT, user: str = USER) -> str:
    """The header line of a request that shows a right token, good for hours."""
    return f"Authorization: Bearer {issuer().token(tenant, user, ttl=6 * 3600)}"


def dumps(data: object) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()
