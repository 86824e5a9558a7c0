"""Steps 2.2 and 3.3 against real gateways: their probes fail on the plan's "current" state and pass after the step."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.helpers.cache_stage import valkey
from tests.helpers.gateway_process import Running, running
from tests.helpers.tokens import issuer
from xgw.plan import steps
from xgw.plan.model import GATEWAY, Reading, Step, Subject, Verdict
from xgw.target import no_token

COMPRESSION, CACHE = steps()["2.2"], steps()["3.3"]


def token(*, tenant: str, user: str) -> str:
    return issuer().token(tenant, user)


def measured(step: Step, url: str, tokens: Any = token) -> Reading:
    (change,), (probe,) = step.changes, step.probes
    target: Any = SimpleNamespace(token=tokens)  # of the target, these probes want tokens only
    subject = Subject(
        target=target,
        where="candidate",
        urls={GATEWAY: url},
        revisions={},
        wanted={GATEWAY: change.wanted()},
    )
    return probe.measure(subject)


def after(step: Step) -> dict[str, str]:
    (change,) = step.changes
    return {name.removeprefix("env."): value for name, value in change.wanted().items()}


@pytest.fixture(scope="module")
def crm_url(crm: Running) -> str:
    return f"http://127.0.0.1:{crm.port}"


def test_compression_fails_before_step_2_2_and_passes_after(tmp_path: Path) -> None:
    with running(tmp_path, COMPRESSION="off") as now, running(tmp_path, **after(COMPRESSION)) as then:
        before = measured(COMPRESSION, f"http://127.0.0.1:{now.port}")
        passed = measured(COMPRESSION, f"http://127.0.0.1:{then.port}")
    assert (before.verdict, before.measured.split(" (")[0]) == (Verdict.FAILED, "asked for gzip: coding none")
    assert passed.verdict == Verdict.PASSED, passed.measured


@pytest.mark.parametrize("shared", [False, True], ids=["one instance", "over Redis"])
def test_the_cache_fails_before_step_3_3_and_passes_after(tmp_path: Path, crm_url: str, shared: bool) -> None:
    with valkey(tmp_path) as redis:
        env = {"UPSTREAM_CRM_URL": crm_url, **({"REDIS_URL": redis.url} if shared else {})}
        with running(tmp_path, **env) as now, running(tmp_path, **env, **after(CACHE)) as then:
            before = measured(CACHE, f"http://127.0.0.1:{now.port}")
            passed = [measured(CACHE, f"http://127.0.0.1:{then.port}") for _ in range(2)]
    assert (before.verdict, before.measured) == (Verdict.FAILED, "an equal request is not a hit: X-Cache bypass")
    assert [reading.verdict for reading in passed] == [Verdict.PASSED] * 2, passed


def test_without_anybody_who_makes_tokens_nothing_is_proved(tmp_path: Path) -> None:
    with running(tmp_path) as gateway:
        found = measured(CACHE, f"http://127.0.0.1:{gateway.port}", no_token)
    assert found.verdict == Verdict.INCONCLUSIVE


class Documents(BaseHTTPRequestHandler):
    """A gateway whose cache has the plan document's key."""

    stored: dict[str, bytes]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        params = {"method": "GET", "endpoint": url.path, "query": dict(parse_qsl(url.query)), "body": {}, "headers": {}}
        key = hashlib.md5(json.dumps(params, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
        hit = key in self.stored
        body = self.stored.setdefault(key, json.dumps({"for": self.headers["Authorization"][-20:]}).encode())
        self.send_response(200)
        self.send_header("X-Cache", "hit" if hit else "miss")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def documents_gateway() -> Iterator[str]:
    handler = type("Fresh", (Documents,), {"stored": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_the_documents_own_key_fails_the_probe(documents_gateway: str) -> None:
    found = measured(CACHE, documents_gateway)
    assert found.verdict == Verdict.FAILED
    assert found.measured == (
        "got the first one's answer: another tenant, another language, another form, another order of the query"
    )
