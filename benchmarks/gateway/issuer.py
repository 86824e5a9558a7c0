"""A local issuer of tokens: one RSA key made for this run, its public half in a file, one token good for a day."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ISSUER, AUDIENCE = "https://issuer.example/bench", "bench"


def issue(keys: Path) -> str:
    """Writes the JWKS to `keys` and returns a token that its owner signed (RS256)."""
    private = rsa.generate_private_key(65537, 2048)
    public = private.public_key().public_numbers()
    modulus = _b64(public.n.to_bytes((public.n.bit_length() + 7) // 8, "big"))
    key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "bench", "n": modulus, "e": "AQAB"}
    keys.write_text(json.dumps({"keys": [key]}), encoding="utf-8")
    now = int(time.time())
    claims = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "tenant": "acme", "iat": now - 5, "auth_time": now - 60,
        "exp": now + 86400, "firebase": {"identities": {}, "sign_in_provider": "password"},
    }  # fmt: skip
    text = ".".join(
        _b64(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT", "kid": "bench"}, claims)
    )
    return f"{text}.{_b64(private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def settings(keys: Path) -> dict[str, str]:
    """What the gateway has to be told to believe it."""
    return {"AUTH_KEYS": str(keys), "AUTH_ISSUER": ISSUER, "AUTH_AUDIENCE": AUDIENCE}


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
