"""PERF-2: a list of contacts comes in pages that miss nobody and repeat nobody (plan 1.4), as any client sees it.

The probe makes contacts of its own in a tenant of its own, and takes them away again; that needs somebody who signs tokens
for it, as the local target does. With a token that was told (XGW_TOKEN) nothing is written into that user's tenant: the list
is looked at as it is, and one too short to need pages proves nothing.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from xgw.plan.model import Probe, Reading, Subject, Verdict
from xgw.probes.http import client

if TYPE_CHECKING:
    import httpx

PATH = "/contacts"
OVER = 5
"""Contacts more than the largest page."""
ROUNDS = 20
"""Pages after which a walk that should have ended has not."""


class Fault(Exception):
    """What is not as it should be, in a few words."""


def pages_are_bounded_and_whole(role: str, path: str = PATH) -> Probe:
    """No answer holds more than the planned page, and all pages together hold everybody once, whatever is deleted."""

    def measure(subject: Subject) -> Reading:
        usual, most = (int(subject.wanted[role][f"env.CONTACTS_PAGE_{name}"]) for name in ("DEFAULT", "MAX"))
        expected = f"{usual} a page, {most} at most; nobody missed or repeated"
        own = subject.target.token(tenant=f"xgw-probe-{secrets.token_hex(6)}", user="xgw-probe")
        with client(subject.urls[role], own or subject.target.token()) as http:
            if not own:
                return _looked_at(http, path, expected, usual)
            made: list[str] = []
            try:
                status = _make(http, path, most + OVER, made)
                if status != 201:
                    return Reading(expected, f"POST {path} answers {status}", Verdict.INCONCLUSIVE)
                read = _walk(http, path, usual, most, sorted(made))
                _deleted(http, path, made)
            except Fault as fault:
                return Reading(expected, str(fault), Verdict.FAILED, {"contacts": len(made)})
            finally:
                for id in made:
                    http.delete(f"{path}/{id}")
        measured = f"{len(read)} contacts on pages of {usual}, each once; a deleted one ends no walk"
        return Reading(expected, measured, Verdict.PASSED, {"contacts": len(read), "page": usual, "most": most})

    return Probe("pages of contacts", measure)


def _make(http: httpx.Client, path: str, count: int, made: list[str]) -> int:
    """Makes that many contacts, one by one: batches come with a later step (plan 3.2). `made` gets their ids. The status of
    the last answer."""
    run, status = secrets.token_hex(4), 201
    for n in range(count):
        row = {"name": f"xgw probe {n}", "email": f"probe-{run}-{n}@xgw.example", "source": "xgw-probe"}
        answer = http.post(path, json=row)
        status = answer.status_code
        if status != 201:
            break
        made.append(answer.json()["id"])
    return status


def _page(http: httpx.Client, path: str, **query: Any) -> tuple[list[str], str]:
    """The ids on one page, and the cursor to the next, "" after the last."""
    answer = http.get(path, params=query)
    told = answer.json() if answer.status_code == 200 else None
    if not isinstance(told, dict) or not isinstance(told.get("items"), list):
        raise Fault(f"{path} answers {answer.status_code} without items")
    if told.get("hasMore") and not told.get("nextCursor"):
        raise Fault("there is more, but no nextCursor")
    return [item["id"] for item in told["items"]], told["nextCursor"] if told.get("hasMore") else ""


def _walk(http: httpx.Client, path: str, usual: int, most: int, everybody: list[str]) -> list[str]:
    """Everybody, page by page."""
    first, cursor = _page(http, path)
    if len(first) > usual:
        raise Fault(f"{len(first)} contacts in one answer")
    beyond = http.get(path, params={"limit": most + 1})
    if beyond.status_code == 200 and len(beyond.json()["items"]) > most:
        raise Fault(f"limit={most + 1} gets {len(beyond.json()['items'])} contacts")
    seen, rounds = first, 1
    while cursor and rounds < ROUNDS:
        items, cursor = _page(http, path, cursor=cursor)
        seen, rounds = [*seen, *items], rounds + 1
    if len(set(seen)) < len(seen):
        raise Fault(f"{len(seen) - len(set(seen))} contacts came twice")
    if cursor or sorted(seen) != everybody:
        raise Fault(f"{len(set(everybody) - set(seen))} of {len(everybody)} contacts did not come")
    return seen


def _deleted(http: httpx.Client, path: str, made: list[str]) -> None:
    """A page whose last contact is deleted is followed by the one after it."""
    whole, _ = _page(http, path, limit=20)
    first, cursor = _page(http, path, limit=10)
    if http.delete(f"{path}/{first[-1]}").status_code != 204:
        raise Fault("a contact cannot be deleted")
    made.remove(first[-1])
    second, _ = _page(http, path, limit=10, cursor=cursor)
    if set(first) & set(second):
        raise Fault("after its last contact was deleted, a page is followed by itself")
    if second != whole[10:]:
        raise Fault("after its last contact was deleted, a page is followed by the wrong one")


def _looked_at(http: httpx.Client, path: str, expected: str, usual: int) -> Reading:
    """What the list as it is tells: too much at once is a failure, and a page with more behind it almost a proof."""
    try:
        items, cursor = _page(http, path)
        if len(items) > usual:
            raise Fault(f"{len(items)} contacts in one answer")
        following = _page(http, path, cursor=cursor)[0] if cursor else []
        if set(items) & set(following):
            raise Fault("the second page repeats the first")
    except Fault as fault:
        return Reading(expected, str(fault), Verdict.FAILED)
    measured = (
        f"{len(items)} contacts and no more: too few to tell" if not cursor else "two pages, nobody twice; no more"
    )
    measured += "; a tenant of its own would tell, and needs an issuer"
    return Reading(expected, measured, Verdict.INCONCLUSIVE, {"contacts": len(items) + len(following)})
