"""Creating contacts many at a time against one at a time, in one run (plan 3.2; the document claims ten times).

The probe makes its contacts in a tenant of its own and takes them away again, so it needs somebody who signs tokens for that
tenant. Both ways are measured by turns through the same connection, so that a busy moment strikes both. That a batch is all
or nothing, and has its effect once under one key, is looked at first: a fast way to lose contacts would be no pass.
"""

from __future__ import annotations

import itertools
import secrets
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from xgw.plan.model import Probe, Reading, Subject, Verdict
from xgw.probes.http import client

if TYPE_CHECKING:
    import httpx

PATH = "/contacts"
TIMES = 10
"""How many times as fast a batch has to be, contact for contact."""
ROUNDS, ALONE, TOGETHER = 3, 10, 200
"""Rounds of so many contacts one by one and so many in one batch. All calls together stay below a user's rate limit."""
KEY = "Idempotency-Key"


class _Fault(Exception):
    """What is not as it should be, in a few words."""


def batches_beat_single_creation(role: str, path: str = PATH) -> Probe:
    """POST contacts/batch is there, is all or nothing, and is at least TIMES as fast as POST contacts."""

    def measure(subject: Subject) -> Reading:
        expected = f"a batch at least {TIMES}x as fast as one by one, all or nothing"
        run = secrets.token_hex(6)
        token = subject.target.token(tenant=f"xgw-probe-{run}", user="xgw-probe-batch")
        if not token:
            return Reading(expected, "nobody can make a token of a tenant of the probe's own", Verdict.INCONCLUSIVE)
        with client(subject.urls[role], token) as http:
            made: list[str] = []
            try:
                status = _single(http, path, _row(run, "first"), made)
                if status != 201:
                    return Reading(expected, f"{path} answers {status}", Verdict.INCONCLUSIVE)
                _require_atomic(http, path, run, made)
                alone, together = _measure(http, path, run, made)
            except _Fault as fault:
                return Reading(expected, str(fault), Verdict.FAILED, {"times": 0})
            finally:
                _clear(http, path, made)
        times = alone / together
        measured = f"{times:.0f}x: {1000 * alone:.2f} ms a contact one by one, {1000 * together:.3f} ms in a batch"
        verdict = Verdict.PASSED if times >= TIMES else Verdict.FAILED
        numbers = {"times": round(times, 1), "alone_ms": round(1000 * alone, 3), "batch_ms": round(1000 * together, 4)}
        return Reading(expected, f"{measured}; all or nothing", verdict, numbers)

    return Probe("batch creation", measure)


def _row(run: str, name: object) -> dict[str, str]:
    return {"name": f"xgw probe {name}", "email": f"probe-{run}-{name}@xgw.example", "source": "xgw-probe"}


def _single(http: httpx.Client, path: str, row: dict[str, str], made: list[str]) -> int:
    answer = http.post(path, json=row)
    if answer.status_code == 201:
        made.append(answer.json()["id"])
    return answer.status_code


def _batch(http: httpx.Client, path: str, rows: list[dict[str, str]], key: str = "") -> httpx.Response:
    return http.post(f"{path}/batch", json={"contacts": rows}, headers={KEY: key} if key else {})


def _ids(answer: httpx.Response) -> list[str]:
    told: Any = answer.json() if answer.status_code == 201 else {}
    if not isinstance(told, dict) or not isinstance(told.get("ids"), list):
        raise _Fault(f"a batch of new contacts is answered {answer.status_code}")
    return list(told["ids"])


def _clear(http: httpx.Client, path: str, made: list[str]) -> None:
    """Takes them away, several at once: far from here each one is a round trip."""
    with ThreadPoolExecutor(max_workers=8) as threads:
        for _ in threads.map(lambda id: http.delete(f"{path}/{id}"), made):
            pass


def _require_atomic(http: httpx.Client, path: str, run: str, made: list[str]) -> None:
    """One that exists keeps the other one out; the same batch under the same key is there once."""
    mixed = _batch(http, path, [_row(run, "other"), _row(run, "first")])
    if mixed.status_code in (404, 405, 501):
        raise _Fault(f"contacts can only be made one by one: {path}/batch answers {mixed.status_code}")
    if mixed.status_code == 201:
        made += mixed.json().get("ids", ())
        raise _Fault("a batch with a contact that exists is taken")
    # Had a part of that batch been stored, this contact would be there already.
    status = _single(http, path, _row(run, "other"), made)
    if status != 201:
        raise _Fault("of a refused batch a part was stored")
    rows, key = [_row(run, f"key{number}") for number in range(2)], f"xgw-probe-{run}"
    first = _ids(_batch(http, path, rows, key))
    made += first
    if _ids(_batch(http, path, rows, key)) != first:
        raise _Fault("the same batch under the same key made other contacts")


def _measure(http: httpx.Client, path: str, run: str, made: list[str]) -> tuple[float, float]:
    """Seconds a contact, one by one and in a batch: the medians of the rounds."""
    numbers = itertools.count()
    alone, together = [], []
    for _ in range(ROUNDS):
        rows = [_row(run, next(numbers)) for _ in range(ALONE)]
        start = time.perf_counter()
        if any(_single(http, path, row, made) != 201 for row in rows):
            raise _Fault("a new contact is refused")
        alone.append((time.perf_counter() - start) / ALONE)
        rows = [_row(run, next(numbers)) for _ in range(TOGETHER)]
        start = time.perf_counter()
        answer = _batch(http, path, rows)
        together.append((time.perf_counter() - start) / TOGETHER)
        made += _ids(answer)
    return statistics.median(alone), statistics.median(together)
