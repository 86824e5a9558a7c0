"""FR-6: answers are compressed for clients that want it, and only for those (plan 2.2), as any client sees it.

Measured on one public answer that is large enough. What must not be coded (server-sent events, small answers, coded
bodies) is measured where a public answer shows it; the gateway's own tests show the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xgw.plan.model import Probe, Reading, Subject, Verdict
from xgw.probes.http import client

if TYPE_CHECKING:
    import httpx

LARGE, SMALL = "/openapi.json", "/health"
LEAST_BYTES = 1024
SHARE = 0.4
"""A coded JSON answer takes at most this share of its bytes: the plan says that 60-80 % are saved."""
WANTED = (("gzip", "gzip"), ("br", "br"), ("gzip;q=0.5, br", "br"))
REFUSED = ("gzip;q=0", "identity", "*;q=0", "gzip;q=0, br;q=0")


def answers_are_compressed(role: str, path: str = LARGE) -> Probe:
    """A large public answer comes in the coding that was asked for, smaller and the same; to nobody else, and no small one."""

    def measure(subject: Subject) -> Reading:
        expected = f"gzip and br on request, at most {SHARE:.0%} of the bytes"
        with client(subject.urls[role]) as http:
            plain = http.get(path, headers={"Accept-Encoding": "identity"})
            if plain.status_code != 200 or len(plain.content) < LEAST_BYTES:
                return Reading(expected, f"{path} is no public answer of {LEAST_BYTES} bytes", Verdict.INCONCLUSIVE)
            faults, share = _wanted(http, path, plain.content)
            faults += _unwanted(http, path, plain)
        if faults:
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            return Reading(expected, faults[0] + more, Verdict.FAILED, {"faults": len(faults)})
        measured = f"gzip and br on request, {share:.0%} of {len(plain.content)} bytes"
        return Reading(expected, measured, Verdict.PASSED, {"share": round(share, 3), "bytes": len(plain.content)})

    return Probe("compression", measure)


def _wanted(http: httpx.Client, path: str, plain: bytes) -> tuple[list[str], float]:
    """Faults, and the largest share of the bytes that a coded answer took."""
    faults, largest = [], 0.0
    for accept, coding in WANTED:
        with http.stream("GET", path, headers={"Accept-Encoding": accept}) as answer:
            raw = b"".join(answer.iter_raw())
        said = answer.headers.get("content-encoding", "none")
        if said != coding:
            faults.append(f"asked for {accept}: coding {said}")
            continue
        share = len(raw) / len(plain)
        largest = max(largest, share)
        if share > SHARE:
            faults.append(f"{coding} takes {share:.0%} of the bytes")
        if http.get(path, headers={"Accept-Encoding": accept}).content != plain:
            faults.append(f"{coding} is not the same answer")
        if "accept-encoding" not in answer.headers.get("vary", "").lower():
            faults.append(f"{coding}: Vary does not say Accept-Encoding")
    return faults, largest


def _unwanted(http: httpx.Client, path: str, plain: httpx.Response) -> list[str]:
    faults = []
    for accept in REFUSED:
        answer = http.get(path, headers={"Accept-Encoding": accept})
        if "content-encoding" in answer.headers or answer.content != plain.content:
            faults.append(f"asked for {accept}: coded all the same")
    if "content-encoding" in http.get(SMALL, headers={"Accept-Encoding": "gzip, br"}).headers:
        faults.append(f"{SMALL} is coded, small as it is")
    return faults
