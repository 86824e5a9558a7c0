"""Secrets that stand in clear in a service's variables: told by name or form, and never let out of `xgw.cloud`.

    "masked:DIGEST"                          the value of a variable whose name says that it is a secret
    "masked:DIGEST:redis://***@10.0.0.3"     a value with a secret inside; the rest of it can be read

The same value of the same variable always has the same digest, so that values can be compared, in the ledger too. The digest is
slow to compute on purpose, but what can be guessed can be found from it: a password that is worth something is a long one.
"""

from __future__ import annotations

import re
from functools import lru_cache

MARK = "masked:"
_NAMED = re.compile(
    r"TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|PASSCODE|CREDENTIAL|WEBHOOK|(?:^|_)[A-Z]*KEYS?(?:_|$)"
    r"|(?:^|_)(?:PASS|AUTH|JWT|PWD|DSN)$",
    re.IGNORECASE,
)
_OPEN = re.compile(r"AUTH_KEYS(_REFETCH|_STALE)?|RATE_LIMIT_KEYS|.*_(FILE|PATH|TTL|SECONDS)", re.IGNORECASE)
"""Names that only sound like it: where public keys are, a number of keys, a path, a time."""
_USER = re.compile(r"(?<=://)(?:[^/?#\s]*@|[^/?#\s:@\[]*:(?!\d{1,5}(?:[/?#,\s]|$))\S*@)")
"""Who logs in at a URL; also with a password that has signs in it which a URL may not have there."""
_NOUN = (
    r"(?:password|passwd|passphrase|pwd|token|secret|signature|(?:api|access|account|private)[_-]?key"
    r"|(?<![a-z])(?:pass|sig|auth)|(?<=[?&])key)"
)
_SAID = re.compile(
    rf"({_NOUN}(?:[\"']?\s*=\s*|[\"']\s*:\s*|(?<!secret):\s+))(?:\"[^\"]*\"|'[^']*'|[^;&\s]+)", re.IGNORECASE
)
"""What is called a password: in a query, a connection string, JSON, YAML."""
_FORMED = re.compile(
    r"\b(?:xox[a-z]-|gh[pousr]_|github_pat_|glpat-|sk[-_](?:live|test|proj)|AKIA|AIza|ya29\.)[\w.-]{8,}"
    r"|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*|(?<=hooks\.slack\.com/services/)\S+|(?<=\bBearer )\S+|(?<=\bBasic )\S+"
)
"""What has the form of a well-known kind of token, or stands where one does."""


def is_named_secret(name: str) -> bool:
    """True when the name of a variable says that its value is a secret."""
    return bool(_NAMED.search(name)) and not _OPEN.fullmatch(name)


def readable(text: str) -> str:
    """The text with the secrets inside replaced: who logs in at a URL, what is called a password, what looks like a token."""
    return _FORMED.sub("***", _SAID.sub(r"\1***", _USER.sub("***@", text)))


def is_secret(name: str, value: str) -> bool:
    """True when the value of this variable is a secret, or holds one."""
    return bool(value) and (is_named_secret(name) or "PRIVATE KEY-----" in value or readable(value) != value)


def masked(name: str, value: str) -> str:
    """The value as it may be shown and recorded."""
    if not is_secret(name, value):
        return value
    whole = is_named_secret(name) or "PRIVATE KEY-----" in value
    return f"{MARK}{_digest(name, value)}" + ("" if whole else f":{readable(value)}")


@lru_cache(maxsize=256)
def _digest(name: str, value: str) -> str:
    import hashlib

    return hashlib.pbkdf2_hmac("sha256", value.encode("utf-8", "replace"), f"xgw {name}".encode(), 20_000).hex()[:16]
