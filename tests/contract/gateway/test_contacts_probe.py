"""The probe of step 1.4 against real services: the plan's current state, the state after it, and services with one defect."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.helpers.gateway_process import running
from tests.helpers.tokens import issuer
from xgw.plan.model import Reading, Subject, Verdict
from xgw.probes.contacts import pages_are_bounded_and_whole

WANTED = {"env.CONTACTS_PAGE_DEFAULT": "50", "env.CONTACTS_PAGE_MAX": "100"}


def measured(url: str, tokens: Callable[..., str]) -> Reading:
    target = SimpleNamespace(token=tokens)
    subject = Subject(cast(Any, target), "live", {"crm": url}, {"crm": "r"}, {"crm": WANTED})
    return pages_are_bounded_and_whole("crm").measure(subject)


def signs(*, tenant: str = "", user: str = "") -> str:
    return issuer().token(tenant or "acme", user or "ada")


def told(*, tenant: str = "", user: str = "") -> str:
    return "" if tenant or user else issuer().token("acme", "ada")


@pytest.mark.parametrize(
    ("most", "tokens", "verdict", "words"),
    [
        ("off", signs, Verdict.FAILED, "105 contacts in one answer"),
        ("1000", signs, Verdict.FAILED, "limit=101 gets 101 contacts"),
        ("100", signs, Verdict.PASSED, "105 contacts on pages of 50, each once"),
        ("100", told, Verdict.INCONCLUSIVE, "too few to tell"),
    ],
)
def test_what_the_probe_says_of_the_crm(
    most: str, tokens: Callable[..., str], verdict: Verdict, words: str, tmp_path: Path
) -> None:
    with running(tmp_path, ROLE="crm", CONTACTS_STORE=f"sqlite://{tmp_path}/c.db", CONTACTS_PAGE_MAX=most) as crm:
        reading = measured(f"http://127.0.0.1:{crm.port}", tokens)
        assert reading.verdict is verdict
        assert words in reading.measured
    import sqlite3

    database = sqlite3.connect(tmp_path / "c.db")
    assert database.execute("SELECT count(*) FROM contacts").fetchone() == (0,)  # it leaves nothing behind
    database.close()


class Sick:
    """A crm in a few lines, with the defect it is told to have."""

    def __init__(self, defect: str) -> None:
        self.defect = defect
        self.there: dict[str, dict[str, Any]] = {}

    def page(self, wish: dict[str, list[str]]) -> dict[str, Any]:
        limit = min(int(wish.get("limit", ["50"])[0]), 100)
        ids, cursor = sorted(self.there), wish.get("cursor", [""])[0]
        if self.defect == "restarts" and cursor not in self.there:  # the document's own
            cursor = ""
        rest = [id for id in ids if (id >= cursor if self.defect == "repeats" else id > cursor)]
        if self.defect == "skips" and cursor:
            rest = rest[1:]
        items = rest[:limit]
        more = len(rest) > limit
        found: dict[str, Any] = {"items": [{"id": id} for id in items], "hasMore": more}
        return found | ({"nextCursor": items[-1]} if more and self.defect != "no cursor" else {})


@pytest.fixture
def sick(request: pytest.FixtureRequest) -> Iterator[str]:
    service = Sick(request.param)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65536  # a head and its body leave together
        disable_nagle_algorithm = True

        def _say(self, status: int, data: Any = None) -> None:
            body = b"" if data is None else json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._say(200, service.page(parse_qs(urlsplit(self.path).query)))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            id = f"{len(service.there) * 7919 % 1009:05}"
            service.there[id] = {}
            self._say(500 if service.defect == "makes none" else 201, {"id": id})

        def do_DELETE(self) -> None:
            service.there.pop(self.path.rpartition("/")[2], None)
            self._say(204)

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody wants to know."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("sick", "verdict", "words"),
    [
        ("", Verdict.PASSED, "each once"),
        ("restarts", Verdict.FAILED, "followed by itself"),
        ("repeats", Verdict.FAILED, "came twice"),
        ("skips", Verdict.FAILED, "did not come"),
        ("no cursor", Verdict.FAILED, "no nextCursor"),
        ("makes none", Verdict.INCONCLUSIVE, "answers 500"),
    ],
    indirect=["sick"],
)
def test_every_defect_is_seen(sick: str, verdict: Verdict, words: str) -> None:
    reading = measured(sick, signs)
    assert (reading.verdict, words in reading.measured) == (verdict, True), reading.measured
