"""The issuer of the embedded target: one key pair, made with it, and the tokens it signs. No other target believes them.

    HOME/local/data/issuer.pem    the private key, readable by its owner alone
    HOME/local/data/keys.json     its public half as a JWKS: the services' AUTH_KEYS

A reset makes a new pair, and every token signed before is worth nothing. Nothing slow is imported before it is needed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

NAME = "xgw-local"
"""Issuer and audience of these tokens."""
TENANT, USER = "demo", "engineer"
"""Whom a token is for when nobody said."""
TTL = 3600
"""Seconds, as Firebase's tokens live."""


def settings(data: Path) -> Mapping[str, str]:
    """The environment of a service that believes this issuer. Makes the pair when there is none."""
    path = data / "keys.json"
    _write(path, json.dumps({"keys": [_jwk(_private(data))]}).encode(), 0o644)
    return {"AUTH_KEYS": str(path.resolve()), "AUTH_ISSUER": NAME, "AUTH_AUDIENCE": NAME}


def token(data: Path, *, user: str = USER, tenant: str = TENANT, roles: Sequence[str] = (), ttl: int = TTL) -> str:
    """A token that is right from now on for `ttl` seconds. Raises OSError when the pair can be neither read nor made."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    private = _private(data)
    now = int(time.time())
    claims = {
        "iss": NAME, "aud": NAME, "sub": user, "tenant": tenant, "roles": list(roles),
        "iat": now, "auth_time": now, "exp": now + ttl,
    }  # fmt: skip
    header = {"alg": "RS256", "typ": "JWT", "kid": _jwk(private)["kid"]}
    text = ".".join(_base64(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    return f"{text}.{_base64(private.sign(text.encode('ascii'), PKCS1v15(), SHA256()))}"


def _private(data: Path) -> RSAPrivateKey:
    """The private key. Two processes that make it at once end up with the same one."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    path = data / "issuer.pem"
    if not path.exists():
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = made.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        data.mkdir(parents=True, exist_ok=True)
        _write(path, pem, 0o600, first=True)
    found = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(found, rsa.RSAPrivateKey):
        raise OSError(f"{path} holds no RSA key")
    return found


def _jwk(private: RSAPrivateKey) -> dict[str, Any]:
    numbers = private.public_key().public_numbers()
    modulus = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8)
    kid = hashlib.sha256(modulus).hexdigest()[:16]
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": _base64(modulus), "e": "AQAB"}


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _write(path: Path, content: bytes, mode: int, *, first: bool = False) -> None:
    """Put a file there whole. With `first`, one that is there already stays."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        if first:
            os.link(fresh, path)
        else:
            os.replace(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink(missing_ok=True)
