"""The contacts through the gateway, with its cache on: what was changed is never shown as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.gateway_process import Answer, Running, running
from tests.helpers.tokens import bearer

BASE = "/api/v2/crm/contacts"
JSON = "Content-Type: application/json"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, crm: Running) -> Iterator[Running]:
    with running(
        tmp_path_factory.mktemp("gateway"),
        UPSTREAM_CRM_URL=f"http://127.0.0.1:{crm.port}",
        CACHE_ROUTES=f"{BASE} ttl=300 scope=tenant",
    ) as process:
        yield process


def ask(gateway: Running, tenant: str, method: str, target: str, *headers: str, data: Any = None) -> Answer:
    body = b"" if data is None else json.dumps(data).encode()
    return gateway.ask(method, f"{BASE}{target}", *((JSON,) if body else ()), *headers, body=body, token=bearer(tenant))


def test_every_write_makes_the_tenants_cached_lists_out_of_date_and_nobody_elses(gateway: Running) -> None:
    tenant, other = "cached-a", "cached-b"
    ask(gateway, other, "POST", "", data={"name": "Other"})

    def listed(who: str) -> tuple[list[str], str | None, int]:
        page, count = ask(gateway, who, "GET", ""), ask(gateway, who, "GET", "/count").json()["count"]
        return [item["name"] for item in page.json()["items"]], page.header("x-cache"), count

    def twice(who: str) -> list[str]:
        """What the list says, when it has said it from the cache too."""
        first, again = listed(who), listed(who)
        assert (again[0], again[2], again[1]) == (first[0], first[2], "hit")
        assert len(first[0]) == first[2]
        return first[0]

    assert (twice(tenant), twice(other)) == ([], ["Other"])
    made = ask(gateway, tenant, "POST", "", data={"name": "A", "email": "a@cache.example"})
    assert made.header("location") == f"{BASE}/{made.json()['id']}"
    one = f"/{made.json()['id']}"
    assert twice(tenant) == ["A"]
    assert ask(gateway, tenant, "GET", one).json()["name"] == "A"
    tag = ask(gateway, tenant, "GET", one).header("etag")
    assert ask(gateway, tenant, "PATCH", one, f"If-Match: {tag}", data={"name": "B"}).status == 200
    assert ask(gateway, tenant, "GET", one).json()["name"] == "B"
    assert twice(tenant) == ["B"]
    assert ask(gateway, tenant, "PATCH", one, f"If-Match: {tag}", data={"name": "C"}).code == "PRECONDITION_FAILED"
    batch = ask(gateway, tenant, "POST", "/batch", "Idempotency-Key: k", data={"contacts": [{"name": "D"}] * 3})
    assert batch.status == 201
    assert sorted(twice(tenant)) == ["B", "D", "D", "D"]
    again = ask(gateway, tenant, "POST", "/batch", "Idempotency-Key: k", data={"contacts": [{"name": "D"}] * 3})
    assert (again.body, again.header("idempotent-replayed")) == (batch.body, "true")
    assert ask(gateway, tenant, "DELETE", one).status == 204
    assert ask(gateway, tenant, "GET", one).status == 404
    assert sorted(twice(tenant)) == ["D", "D", "D"]
    assert listed(other)[:2] == (["Other"], "hit")


def test_pages_and_batches_go_through_whole(gateway: Running) -> None:
    tenant = "paged"
    rows = [{"name": f"N{n}", "email": f"n{n}@paged.example", "customFields": {"note": "x" * 900}} for n in range(1000)]
    assert ask(gateway, tenant, "POST", "/batch", data={"contacts": rows}).json()["created"] == 1000
    seen, cursor = [], ""
    while True:
        page = ask(gateway, tenant, "GET", f"?limit=100{cursor}").json()
        seen += [item["name"] for item in page["items"]]
        if not page["hasMore"]:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert sorted(seen) == sorted(row["name"] for row in rows)
    refused = ask(gateway, tenant, "POST", "/batch", data={"contacts": [*rows[:1], {"name": ""}]})
    assert refused.json()["rows"][0]["index"] == 1
    assert ask(gateway, tenant, "GET", "?cursor=stolen").code == "INVALID_CURSOR"
    assert ask(gateway, tenant, "GET", "/batch").header("allow") == "POST"


def test_a_compressed_contact_can_be_changed_with_the_tag_it_came_with(gateway: Running) -> None:
    made = ask(
        gateway, "coded", "POST", "", data={"name": "A", "customFields": {"note": "x" * 1000, "more": "y" * 999}}
    )
    one = f"/{made.json()['id']}"
    coded = ask(gateway, "coded", "GET", one, "Accept-Encoding: gzip")
    assert coded.header("content-encoding") == "gzip"
    tag = coded.header("etag")
    assert tag is not None
    assert tag.startswith("W/")
    assert ask(gateway, "coded", "PATCH", one, f"If-Match: {tag}", data={"name": "B"}).status == 200
    assert ask(gateway, "coded", "PATCH", one, f"If-Match: {tag}", data={"name": "C"}).status == 412


def test_a_list_of_large_contacts_goes_out_in_pages_that_the_gateway_passes_on(gateway: Running) -> None:
    rows = [
        {"name": f"N{number}", "customFields": {str(key): "\u00fc" * 1000 for key in range(100)}}
        for number in range(16)
    ]
    for _ in range(4):
        assert ask(gateway, "large", "POST", "/batch", data={"contacts": rows}).status == 201
    seen: list[str] = []
    cursor, pages = "", 0
    while pages == 0 or cursor:
        answer = ask(gateway, "large", "GET", f"?limit=100{cursor}")
        assert answer.status == 200, answer.body[:300]
        page = answer.json()
        seen, pages = [*seen, *(item["id"] for item in page["items"])], pages + 1
        cursor = f"&cursor={page['nextCursor']}" if page["hasMore"] else ""
    assert (len(seen), len(set(seen)), pages) == (64, 64, 3)


def test_a_batch_that_was_stored_is_never_told_as_a_fault_for_the_size_of_its_answer(gateway: Running) -> None:
    short = [{"name": f"N{number}", "customFields": {str(key): 1e15 for key in range(100)}} for number in range(900)]
    long = [{"name": "L", "customFields": {str(key): "x" * 1000 for key in range(100)}}] * 94
    text = json.dumps({"contacts": short + long}, separators=(",", ":"))
    body = text.replace("1000000000000000.0", "1e15").encode()  # shorter than what is told of it
    assert len(body) < 10 * 1024 * 1024 < len(text)
    told = (JSON, "Prefer: return=representation", "Idempotency-Key: large")
    for replayed in (None, "true"):
        answer = gateway.ask("POST", f"{BASE}/batch", *told, body=body, token=bearer("told"))
        assert (answer.status, answer.header("preference-applied")) == (201, None), answer.body[:200]
        assert (answer.json()["created"], answer.header("idempotent-replayed")) == (994, replayed)
