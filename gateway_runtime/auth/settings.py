"""The settings of authentication: their rows in the table, and what must hold between them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from gateway_runtime.setting_types import Setting, number, project, whole

FIREBASE_KEYS = "https://www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com"
"""Google's X.509 certificates of the keys that sign Firebase ID tokens, by key id."""
_LOOPBACK = ("127.0.0.1", "localhost")
_NEEDED = ("auth_keys", "auth_issuer", "auth_audience")


def key_place(text: str) -> str:
    """Where a key set is: an absolute path, an https URL, or http on this very machine."""
    if re.fullmatch(r"/[^\x00-\x1f\x7f]{1,4095}", text) and not text.startswith("//"):
        return text
    wanted = "must be an absolute path or an https URL without user or fragment (http only for 127.0.0.1)"
    if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[!-~]*)?", text) or "#" in text:
        raise ValueError(wanted)
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        raise ValueError(wanted) from None
    if not parts.hostname or port == 0 or (parts.scheme == "http" and parts.hostname not in _LOOPBACK):
        raise ValueError(wanted)
    return text


def printable(text: str) -> str:
    """An issuer or an audience: compared byte for byte, so nothing invisible in it."""
    if not re.fullmatch(r"[!-~]{1,256}", text):
        raise ValueError("must be 1 to 256 printable ASCII characters without spaces")
    return text


def emulator(text: str) -> str:
    """Where a Firebase Auth emulator listens. Read only to be refused where it must not be."""
    if not re.fullmatch(r"[A-Za-z0-9.-]{1,253}:[0-9]{1,5}", text):
        raise ValueError("must be host:port")
    return text


ROWS: tuple[Setting, ...] = (
    Setting(
        "AUTH_FIREBASE_PROJECT",
        project,
        "a project id",
        "Believes the ID tokens of this Firebase project: sets AUTH_KEYS, AUTH_ISSUER and AUTH_AUDIENCE where those are "
        "unset.",
    ),
    Setting(
        "AUTH_KEYS",
        key_place,
        "a path or URL",
        "The public keys of the tokens, as a JWKS or as X.509 certificates by key id: a file, or an https URL. Unset: "
        "whatever needs a token answers 503.",
    ),
    Setting("AUTH_ISSUER", printable, "text", "What the `iss` of a token must be. Required with AUTH_KEYS."),
    Setting("AUTH_AUDIENCE", printable, "text", "What the `aud` of a token must be. Required with AUTH_KEYS."),
    Setting(
        "AUTH_TENANT_CLAIM",
        printable,
        "a claim",
        "The claim that names the tenant; `a.b` is `b` inside `a`, a name that begins with `http` is taken whole. A token "
        "without it gets 403.",
    ),
    Setting("AUTH_USER_CLAIM", printable, "a claim", "The claim that names the user within the tenant."),
    Setting("AUTH_ROLES_CLAIM", printable, "a claim", "The claim with the user's roles: a list, or text with spaces."),
    Setting("AUTH_LEEWAY", number(0, 60), "0..60 s", "By how much the issuer's clock and ours may differ."),
    Setting(
        "AUTH_KEYS_REFETCH",
        number(0.05, 3600),
        "0.05..3600 s",
        "The least time between two reads of the keys that tokens with an unknown key id can cause.",
    ),
    Setting(
        "AUTH_KEYS_STALE",
        number(0, 604800),
        "0..604800 s",
        "How long the last good keys are used past their max-age while they cannot be read again; then 503.",
    ),
    Setting("AUTH_REMEMBERED", whole(0, 1000000), "0..1000000", "Verified tokens remembered until they expire."),
    Setting(
        "FIREBASE_AUTH_EMULATOR_HOST",
        emulator,
        "host:port",
        "The tokens of that emulator are unsigned and never accepted here. With K_SERVICE set the process refuses to start.",
    ),
)


def completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with what AUTH_FIREBASE_PROJECT stands for; ValueError, naming the variable, when they do not fit."""
    found = dict(values)
    if firebase := found.get("auth_firebase_project"):
        found.setdefault("auth_keys", FIREBASE_KEYS)
        found.setdefault("auth_issuer", f"https://securetoken.google.com/{firebase}")
        found.setdefault("auth_audience", firebase)
    given = [needed for needed in _NEEDED if found.get(needed)]
    missing = [needed.upper() for needed in _NEEDED if needed not in given]
    if given and missing:
        raise ValueError(f"{missing[0]}: required with {given[0].upper()}")
    if found.get("k_service") and found.get("firebase_auth_emulator_host"):
        raise ValueError(
            "FIREBASE_AUTH_EMULATOR_HOST: must not be set on Cloud Run: the emulator's tokens are unsigned"
        )
    return found
