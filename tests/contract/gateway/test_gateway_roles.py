from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.gateway_process import Running, free_port, running
from tests.helpers.raw_upstream import RawUpstream, mute, says

JSON = "Content-Type: application/json"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, crm: Running, slack: Running) -> Iterator[Running]:
    with running(
        tmp_path_factory.mktemp("gateway"),
        UPSTREAM_CRM_URL=f"http://127.0.0.1:{crm.port}",
        UPSTREAM_SLACK_URL=f"http://127.0.0.1:{slack.port}",
    ) as process:
        yield process


def post(where: Running, target: str, data: object) -> tuple[int, dict[str, object]]:
    answer = where.ask("POST", target, JSON, body=json.dumps(data).encode())
    return answer.status, answer.json()


def test_a_contact_goes_in_and_comes_out_through_the_gateway(gateway: Running) -> None:
    made = gateway.ask(
        "POST", "/api/v2/crm/contacts", JSON, body=b'{"name":"Ada","email":"ada@example.com","type":"organization"}'
    )
    assert made.status == 201
    where = made.header("location")
    assert where == f"/api/v2/crm/contacts/{made.json()['id']}"
    assert gateway.ask("GET", where).json() == made.json()
    listed = gateway.ask("GET", "/api/v2/crm/contacts?type=organization&status=active&limit=100").json()
    assert made.json() in listed["items"]
    assert post(gateway, "/api/v2/crm/contacts", {"name": "Again", "email": "ADA@example.com"})[0] == 409
    assert gateway.ask("GET", "/api/v2/crm/contacts/nobody").status == 404


def test_a_page_holds_50_unless_asked_and_100_at_most(crm: Running) -> None:
    for number in range(103):
        row = {"name": f"N{number}", "email": f"n{number}@page.example", "type": "organization"}
        assert post(crm, "/contacts", row)[0] == 201
    for query, count, more in (("", 50, True), ("limit=1", 1, True), ("limit=100", 100, True)):
        page = crm.ask("GET", f"/contacts?type=organization&{query}".rstrip("&")).json()
        assert (len(page["items"]), page["hasMore"]) == (count, more)
        assert [item["id"] for item in page["items"]] == sorted(item["id"] for item in page["items"])
    assert crm.ask("GET", "/contacts?type=organization&status=archived").json() == {"items": [], "hasMore": False}


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=-1", "limit=1.0", "limit=", "limit=%D9%A1", "limit=1&limit=2", "limit=1e1", "status=deleted",
     "status=", "type=x", "tenant=other", "cursor=&cursor=", "count=yes",
     "limit=" + "9" * 400, "&".join(["a=1"] * 30), "limit=%00"],
)  # fmt: skip
def test_a_query_that_is_not_allowed_is_400(query: str, crm: Running) -> None:
    answer = crm.ask("GET", f"/contacts?{query}")
    assert (answer.status, answer.code) == (400, "VALIDATION_FAILED")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"name":1,"email":"a@b.co"}', b'{"name":"","email":"a@b.co"}',
     b'{"name":" ","email":"a@b.co"}', b'{"email":"a@b.co"}', b'{"name":"A","email":"a"}',
     b'{"name":"A","email":"a@b.co","type":"x"}',
     b'{"name":"A","email":"a@b.co","type":["lead"]}', b'{"name":"A","email":"a@b.co","status":NaN}',
     b'{"name":"A","email":"a@b.co","tenant":"other"}', b'{"name":"A","email":"a@b.co","id":"1"}',
     b'{"name":"A","name":"B","email":"a@b.co"}',
     b'{"name":"\\ud800","email":"a@b.co"}', b'{"name":"a\\u0000","email":"a@b.co"}',
     b'{"name":"' + b"x" * 201 + b'","email":"a@b.co"}',
     b"[" * 200_000, b'{"name":' + b"9" * 100_000 + b"}"],
)  # fmt: skip
def test_a_contact_that_is_not_right_is_400(body: bytes, crm: Running) -> None:
    answer = crm.ask("POST", "/contacts", JSON, body=body)
    assert answer.status == 400
    assert answer.code in ("BAD_REQUEST", "VALIDATION_FAILED")


def test_a_contact_that_does_not_say_it_is_json_is_415(crm: Running) -> None:
    assert crm.ask("POST", "/contacts", "Content-Type: text/plain", body=b"{}").status == 415


def test_contacts_outlive_the_process(tmp_path: Path) -> None:
    env = {"ROLE": "crm", "CONTACTS_STORE": f"sqlite://{tmp_path}/c.db"}
    with running(tmp_path, **env) as one:
        status, made = post(one, "/contacts", {"name": "A", "email": "a@b.co"})
        assert status == 201
        one.process.kill()
    with running(tmp_path, **env) as again:
        assert again.ask("GET", f"/contacts/{made['id']}").json() == made


def test_the_samples_answer_and_know_nothing_else(gateway: Running, tmp_path: Path) -> None:
    assert gateway.ask("GET", "/api/v2/slack/channels").json()["channels"]
    assert gateway.ask("GET", "/api/v2/slack/nothing").status == 404
    assert gateway.ask("DELETE", "/api/v2/slack/channels").header("allow") == "GET, HEAD"
    with running(tmp_path, ROLE="gmail") as gmail:
        assert gmail.ask("GET", "/messages").json()["messages"]
        assert gmail.ask("GET", "/channels").status == 404


def test_one_request_has_one_id_in_both_services_logs(gateway: Running, slack: Running) -> None:
    gateway.ask("GET", "/api/v2/slack/channels", "X-Request-Id: story-1")
    assert any('"requestId":"story-1"' in line for line in gateway.await_log("story-1"))
    assert any('"requestId":"story-1"' in line for line in slack.await_log("story-1"))


def test_deep_health_names_every_dependency_and_no_address(tmp_path: Path, slack: Running) -> None:
    with (
        mute() as silent,
        running(
            tmp_path,
            UPSTREAM_SLACK_URL=f"http://127.0.0.1:{slack.port}",
            UPSTREAM_CRM_URL=silent.url,
            UPSTREAM_GMAIL_URL=f"http://127.0.0.1:{free_port()}",
        ) as gateway,
    ):
        began = time.monotonic()
        answer = gateway.ask("GET", "/health/deep")
        assert time.monotonic() - began < 15, "half of a request's deadline"
        assert answer.status == 200
        assert answer.json()["status"] == "degraded"
        assert answer.json()["deadlines"] == {"usual": 30, "long": 120, "segments": ["ai", "generate"]}
        assert answer.json()["dependencies"] == {
            "crm": {"status": "unreachable", "breaker": "closed"},
            "slack": {"status": "healthy", "breaker": "closed"},
            "gmail": {"status": "unreachable", "breaker": "closed"},
        }
        assert b"127.0.0.1" not in answer.body
        assert gateway.ask("GET", "/health").status == 200


def test_deep_health_is_healthy_when_all_that_is_configured_is(gateway: Running) -> None:
    body = gateway.ask("GET", "/health/deep").json()
    assert body["status"] == "healthy"
    assert body["dependencies"]["gmail"] == {"status": "not configured"}


def test_an_upstream_that_answers_its_health_with_an_error_is_unhealthy(tmp_path: Path) -> None:
    with (
        RawUpstream(says(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")) as sick,
        running(tmp_path, UPSTREAM_CRM_URL=sick.url) as gateway,
    ):
        assert gateway.ask("GET", "/health/deep").json()["dependencies"]["crm"]["status"] == "unhealthy"
