"""What a live gateway answers is what its own description says it may: every status is provoked, then looked up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers import tokens
from tests.helpers.gateway_process import Answer, Running, running
from tests.helpers.raw_upstream import RawUpstream, late, says, status

OPERATOR = "operator-token-of-this-test"
HOST = "Host: gateway.test"
CONTACTS, ONE, SLACK = "/api/v2/crm/contacts", "/api/v2/crm/contacts/{id}", "/api/v2/slack/{rest}"
STREAM = "/api/xynergyos/v2/stream"
JSON_BODY = ("Content-Type: application/json", "Content-Length: 2")
PLAYS = {
    "ok": says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", then="keep"),
    "garbage": says(b"no HTTP at all\r\n\r\n"),
    "late": late(1.0),
    **{str(code): status(code) for code in (201, 304, 404, 409, 412, 415, 422, 503)},
}

# (status, method, described path, how the upstream plays, fields, body)
TABLE: list[tuple[int, str, str, str, tuple[str, ...], str]] = [
    (200, "GET", "/health", "ok", (), ""),
    (200, "HEAD", "/health/deep", "ok", (), ""),
    (200, "GET", "/openapi.json", "ok", (), ""),
    (200, "GET", "/metrics", "ok", (f"Authorization: Bearer {OPERATOR}",), ""),
    (401, "GET", "/metrics", "ok", ("Authorization: Bearer wrong-token-of-this-test",), ""),
    (200, "GET", CONTACTS, "ok", (), ""),
    (201, "POST", CONTACTS, "201", JSON_BODY, "{}"),
    *((code, "POST", CONTACTS, str(code), JSON_BODY, "{}") for code in (409, 415, 422)),
    (412, "PATCH", ONE, "412", JSON_BODY, "{}"),
    (404, "GET", ONE, "404", (), ""),
    (304, "GET", ONE, "304", ('If-None-Match: "v1"',), ""),
    (401, "GET", CONTACTS, "ok", ("Authorization: Bearer x",), ""),
    (400, "GET", SLACK, "ok", ("Authorization: Bearer a", "Authorization: Bearer b"), ""),
    (413, "POST", SLACK, "ok", ("Content-Length: 10485761",), ""),
    (502, "GET", SLACK, "garbage", (), ""),
    (503, "GET", SLACK, "503", (), ""),
    (504, "GET", SLACK, "late", ("X-Deadline-Ms: 100",), ""),
    (200, "GET", f"{STREAM}?EIO=4&transport=polling", "ok", (), ""),
    (400, "GET", f"{STREAM}?EIO=3&transport=polling", "ok", (), ""),
    (401, "GET", f"{STREAM}?EIO=4&transport=polling&token=x", "ok", (), ""),
    (403, "GET", f"{STREAM}/?EIO=4&transport=polling", "ok", ("Origin: https://evil.example",), ""),
]
EDGE: list[tuple[int, str, tuple[str, ...]]] = [
    # what the server itself refuses, whatever the path: (status, how the head begins, its fields)
    (400, "{method} {path} HTTP/1.1", (HOST, HOST)),
    (405, "TRACE {path} HTTP/1.1", (HOST,)),
    (408, "{method} {path} HTTP/1.1", (HOST, "...")),
    (414, "{method} {path}?{long} HTTP/1.1", (HOST,)),
    (417, "{method} {path} HTTP/1.1", (HOST, "Expect: more")),
    (421, "{method} {path} HTTP/1.1", ("Host: elsewhere.test",)),
    (431, "{method} {path} HTTP/1.1", (HOST, *["A: b"] * 101)),
    (501, "{method} {path} HTTP/1.1", (HOST, "Transfer-Encoding: gzip, chunked")),
    (505, "{method} {path} HTTP/2.0", (HOST,)),
]


@pytest.fixture(scope="module")
def upstream() -> Iterator[RawUpstream]:
    with RawUpstream(PLAYS["ok"]) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: RawUpstream) -> Iterator[Running]:
    env = {
        "UPSTREAM_CRM_URL": upstream.url, "UPSTREAM_SLACK_URL": upstream.url, "OPERATOR_TOKEN": OPERATOR, "BREAKER": "off",
        "CACHE": "off", "SERVER_ALLOWED_HOSTS": "gateway.test", "SERVER_HEAD_TIMEOUT": "1",
        "RATE_LIMIT_ADDRESS": "1000/60", "RATE_LIMIT_USER": "off",
    }  # fmt: skip
    with running(tmp_path_factory.mktemp("described"), **env) as process:
        yield process


@pytest.fixture(scope="module")
def document(gateway: Running) -> Any:
    return gateway.ask("GET", "/openapi.json", token="").json()


def statuses(document: Any, path: str, method: str) -> set[str]:
    """What is described for an operation, `default` left out: it would cover everything."""
    return set(document["paths"][path][method.lower()]["responses"]) - {"default"}


def said(gateway: Running, line: str, *fields: str, body: str = "", method: str = "GET") -> Answer:
    end = "" if "..." in fields else "\r\n\r\n"
    head = "\r\n".join([line, *(field for field in fields if field != "..."), *(["Connection: close"] if end else [])])
    return gateway.raw(f"{head}{end}{body}".encode(), head=method == "HEAD")


@pytest.mark.parametrize(("code", "method", "target", "play", "fields", "body"), TABLE)
def test_an_answer_is_described(
    code: int, method: str, target: str, play: str, fields: tuple[str, ...], body: str,
    gateway: Running, upstream: RawUpstream, document: Any,
) -> None:  # fmt: skip
    upstream.play = PLAYS[play]
    shown = () if any(field.startswith("Authorization") for field in fields) else (tokens.bearer(),)
    asked = target.replace("{id}", "1").replace("{rest}", "x")
    answer = said(gateway, f"{method} {asked} HTTP/1.1", HOST, *shown, *fields, body=body, method=method)
    assert answer.status == code
    path = target.partition("?")[0]
    passed_on = path == SLACK and code < 400
    assert passed_on or str(code) in statuses(document, path, method)


@pytest.mark.parametrize(("code", "line", "fields"), EDGE)
def test_what_the_server_refuses_is_described_at_every_operation(
    code: int, line: str, fields: tuple[str, ...], gateway: Running, document: Any
) -> None:
    answer = said(gateway, line.format(method="GET", path="/health", long="x" * 9000), *fields)
    assert (answer.status, answer.json().keys()) == (code, {"error"})
    for path, item in document["paths"].items():
        for method in item.keys() - {"parameters"}:
            assert str(code) in statuses(document, path, method), (method, path)


def test_too_many_requests_is_described_wherever_it_is_answered(tmp_path, document: Any) -> None:
    with running(tmp_path, RATE_LIMIT_ADDRESS="1/600", OPERATOR_TOKEN=OPERATOR) as gateway:
        gateway.ask("GET", "/health/deep")
        for path in document["paths"]:
            asked = path.replace("{id}", "1").replace("{rest}", "x")
            limited = path != "/health"  # it answers always, or a platform would restart the process
            assert gateway.ask("GET", asked).status == (429 if limited else 200), path
            for method in document["paths"][path].keys() - {"parameters"}:
                assert ("429" in statuses(document, path, method)) is limited, (method, path)


def test_the_description_follows_the_settings(tmp_path) -> None:
    env = {"ROUTES": "crm:/v9:/contacts,slack:/team", "DIAGNOSTICS": "on", "WS": "off"}
    with running(tmp_path, **env) as gateway:
        paths = gateway.ask("GET", "/openapi.json", token="").json()["paths"]
    assert {"/v9/contacts", "/v9/contacts/{id}", "/team/{rest}", "/diagnostics/slack/{rest}"} <= set(paths)
    assert not [path for path in paths if path.startswith("/api/")]
    assert paths["/diagnostics/slack/{rest}"]["get"]["security"] == []
