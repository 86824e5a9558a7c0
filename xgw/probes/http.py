"""Black-box HTTP readings: production errors (plan 1.7) and the origins a gateway lets in (plan 1.8)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from xgw.errors import NotSignedIn, Unreachable
from xgw.plan.model import Probe, Reading, Subject, Verdict

if TYPE_CHECKING:
    import httpx

_ENVELOPE = {"code", "message", "requestId", "timestamp"}
_LEAK = re.compile(
    r"Traceback|File \\?\"|\.py\b|\.ts\b|node_modules|site-packages|\bat .+:\d+:\d+|/home/|/usr/", re.IGNORECASE
)

_PROVOCATIONS = (
    ("GET", "/no-such-path-of-this-gateway", None),
    ("GET", "/api/v2/crm/contacts?limit=not-a-number", None),
    ("POST", "/api/v2/crm/contacts", b"{ this is not JSON"),
    ("DELETE", "/health", None),
)
"""Requests that a gateway must answer with an error: unknown path, bad value, bad body, wrong method. Sent with a token,
so that they get as far as that, and without one."""

STRANGERS = (
    "http://localhost:3000",
    "http://localhost:5173",
    "https://evil.example",
    "https://evil.example#.xynergy.com",
    "https://evil.example/.xynergy.com",
    "https://xynergy.com.evil.example",
    "https://notxynergy.com",
    "http://app.xynergy.com",
    "https://app.xynergy.com:8443",
    "null",
)
"""Origins that no production list of the plan contains, some shaped to slip through a loose pattern."""


def bearer(token: str) -> dict[str, str]:
    """The header fields that show a token; none without one."""
    return {"Authorization": f"Bearer {token}"} if token else {}


@contextmanager
def client(url: str, token: str = "") -> Iterator[httpx.Client]:
    """A plain HTTP client on `url`, which shows `token` when there is one. Raises Unreachable when it does not answer."""
    import httpx

    shown = bearer(token)
    try:
        with httpx.Client(base_url=url, timeout=10, headers=shown, follow_redirects=False, trust_env=False) as opened:
            yield opened
    except httpx.HTTPError as error:
        raise Unreachable(f"{url} does not answer", cause=str(error) or type(error).__name__) from error


def stated(http: httpx.Client) -> dict[str, Any]:
    """What /health/deep says, by part; nothing when that cannot be read."""
    try:
        said = http.get("/health/deep").json()
    except ValueError:
        return {}
    return {name: part for name, part in said.items() if isinstance(part, dict)} if isinstance(said, dict) else {}


def require_entry(http: httpx.Client) -> None:
    """Raise NotSignedIn when the platform lets nobody in: what it answers for the service says nothing about the service."""
    status = http.get("/health").status_code
    if status in (401, 403):
        raise NotSignedIn(
            "the platform refuses requests without an identity",
            cause=f"/health, which is public in the gateway, answered {status}",
            fix="let this address in (roles/run.invoker) while measuring",
        )


def errors_say_nothing_inner(role: str) -> Probe:
    """ERR-1: error answers have the standard form and hold no stack, path or library name."""

    def measure(subject: Subject) -> Reading:
        expected = "standard form, no stack or path"
        faults, errors = [], 0
        for token in dict.fromkeys((subject.target.token(), "")):
            with client(subject.urls[role], token) as http:
                require_entry(http)
                for method, path, body in _PROVOCATIONS:
                    answer = http.request(method, path, content=body)
                    if answer.status_code < 400:
                        continue
                    errors += 1
                    faults += [f"{method} {path.split('?')[0]}: {fault}" for fault in _faults_of(answer.text)]
        if faults:
            return Reading(
                expected, f"{len(faults)} faults, first: {faults[0]}", Verdict.FAILED, {"faults": len(faults)}
            )
        if not errors:
            return Reading(expected, "no request provoked an error", Verdict.INCONCLUSIVE)
        return Reading(expected, f"{errors} errors, none leaks", Verdict.PASSED, {"errors": errors})

    return Probe("error answers", measure)


def _faults_of(text: str) -> list[str]:
    """What is wrong with one error body."""
    try:
        body = json.loads(text)["error"]
        keys = set(body)
    except (ValueError, TypeError, KeyError):
        return ["not in the standard form"]
    found = [f"holds {key}" for key in sorted(keys - _ENVELOPE)]
    found += [f"lacks {key}" for key in sorted(_ENVELOPE - keys)]
    return found or (["tells about its inside"] if _LEAK.search(text) else [])


def only_listed_origins(role: str) -> Probe:
    """SEC-4: exactly the listed origins may read answers; a stranger gets a normal answer without permission."""

    def measure(subject: Subject) -> Reading:
        listed = subject.wanted[role]["env.CORS_ALLOWED_ORIGINS"].split(",")
        friends = [origin.replace("*", "app") for origin in listed]
        strangers = [origin for origin in STRANGERS if origin not in listed]
        expected = f"{len(friends)} listed in, {len(strangers)} strangers out"
        with client(subject.urls[role]) as http:
            require_entry(http)
            wrong = [f"refuses {origin}" for origin in friends if _allows(http, origin) != origin]
            wrong += [f"lets {origin} in" for origin in strangers if _allows(http, origin) is not None]
        if wrong:
            return Reading(expected, f"{len(wrong)} wrong: {wrong[0]}", Verdict.FAILED, {"wrong": len(wrong)})
        measured = f"{len(friends)} in, {len(strangers)} out"
        return Reading(expected, measured, Verdict.PASSED, {"allowed": len(friends), "refused": len(strangers)})

    return Probe("origins", measure)


def _allows(http: httpx.Client, origin: str) -> str | None:
    """The origin that a preflight and a plain request agree to let in, or None. A server error is wrong for anybody."""
    preflight = http.options("/health", headers={"Origin": origin, "Access-Control-Request-Method": "GET"})
    plain = http.get("/health", headers={"Origin": origin})
    said: set[str | None] = {answer.headers.get("access-control-allow-origin") for answer in (preflight, plain)}
    if len(said) > 1 or any(answer.status_code >= 500 for answer in (preflight, plain)):
        return "an answer that is not one"
    return said.pop()
