"""What the claims of a token must say, and the identity they give (Firebase: "Verify ID tokens"; RFC 7519 4.1).

| claim | rule |
|---|---|
| iss, aud | a string, equal to the setting; a list is refused: it would be valid elsewhere too |
| exp | a number, there; now is before it, leeway granted |
| iat | a number, there; not after now, leeway granted; before exp |
| nbf, auth_time | when there: a number, not after now, leeway granted |
| sub | a string of 1..128 printable characters |
| user, tenant, roles | under the names the settings give |

A number is a finite JSON number between 1970 and 9999, and never a boolean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway_runtime.auth.identity import Identity
from gateway_runtime.auth.refusals import expired, forbidden, invalid

YEAR_9999 = 253402300799
TEXT_LIMIT = 128
ROLES_LIMIT = 64
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_ABSENT = object()


@dataclass(frozen=True)
class Rules:
    """Whose tokens are believed, and under which names their claims stand.

    A name is a claim's, or a path into nested ones with dots (`firebase.tenant`); one that begins with `http` is taken
    whole, dots and all. `leeway` is in seconds.
    """

    issuer: str
    audience: str
    tenant: str = "tenant"
    user: str = "sub"
    roles: str = "roles"
    leeway: float = 10


def identify(claims: Mapping[str, Any], rules: Rules, now: float) -> Identity:
    """The identity in verified claims; Problem 401 for a claim that breaks a rule, 403 when there is no tenant."""
    for name, wanted in (("iss", rules.issuer), ("aud", rules.audience)):
        if not isinstance(claims.get(name), str) or claims[name] != wanted:
            raise invalid(name)
    _text(claims.get("sub"), "sub")
    expires = _times(claims, now, rules.leeway)
    user = _text(_find(claims, rules.user), "user")
    roles = _roles(_find(claims, rules.roles))
    tenant = _find(claims, rules.tenant)
    if not isinstance(tenant, str) or not _TENANT.fullmatch(tenant):
        raise forbidden("no tenant" if tenant is _ABSENT or tenant is None else "not a tenant's name")
    return Identity(tenant, user, roles, expires)


def _times(claims: Mapping[str, Any], now: float, leeway: float) -> float:
    """The moment it expires; Problem unless now is within its times."""
    expires, issued = _moment(claims, "exp"), _moment(claims, "iat")
    past = [issued, *(_moment(claims, name) for name in ("nbf", "auth_time") if name in claims)]
    if max(past) > now + leeway or issued >= expires:
        raise invalid("a time that has not come, or none at all")
    if now >= expires + leeway:
        raise expired()
    return expires


def _moment(claims: Mapping[str, Any], name: str) -> float:
    value: Any = claims.get(name)
    # Not isinstance: a bool is an int. NaN and infinity fail the comparison.
    if type(value) not in (int, float) or not 0 <= value <= YEAR_9999:
        raise invalid(name)
    return float(value)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= TEXT_LIMIT or not value.isprintable():
        raise invalid(name)
    return value


def _roles(value: object) -> tuple[str, ...]:
    """A list of names, or one text with spaces between them (RFC 8693 4.2)."""
    if value is _ABSENT or value is None:
        return ()
    names = value.split(" ") if isinstance(value, str) else value
    if not isinstance(names, list) or len(names) > ROLES_LIMIT:
        raise invalid("roles")
    return tuple(_text(name, "roles") for name in names)


def _find(claims: Mapping[str, Any], name: str) -> Any:
    value: Any = claims
    for part in (name,) if name.startswith("http") else name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _ABSENT
        value = value[part]
    return value
