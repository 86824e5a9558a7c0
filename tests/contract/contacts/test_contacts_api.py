from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest

from tests.helpers.contacts_stage import Stage
from tests.helpers.gateway_process import Answer, Running
from tests.helpers.tokens import bearer

JSON = "Content-Type: application/json"
_NUMBERS = count()


class Client:
    """One user of one tenant, asking the crm."""

    def __init__(self, crm: Running, tenant: str, user: str = "ada") -> None:
        self._crm, self.tenant, self._token = crm, tenant, bearer(tenant, user)

    def ask(self, method: str, target: str, *headers: str, data: Any = None, body: bytes = b"") -> Answer:
        if data is not None:
            body = json.dumps(data).encode()
        told = (JSON,) if body and not any(line.startswith("Content-Type") for line in headers) else ()
        return self._crm.ask(method, target, *told, *headers, body=body, token=self._token)

    def add(self, **fields: Any) -> dict[str, Any]:
        data = {"name": "N", "email": f"n{next(_NUMBERS)}@api.example", **fields}
        answer = self.ask("POST", "/contacts", data=data)
        assert answer.status == 201, answer
        found: dict[str, Any] = answer.json()
        return found

    def count(self) -> int:
        return int(self.ask("GET", "/contacts/count").json()["count"])


@pytest.fixture
def ada(crm: Running, stage: Stage) -> Client:
    return Client(crm, stage.tenant())


@pytest.fixture
def eve(crm: Running, stage: Stage) -> Client:
    """Of another tenant, which has a contact of its own."""
    client = Client(crm, stage.tenant(), "eve")
    client.add(name="Eve's")
    return client


def rows(total: int, first: int = 0) -> list[dict[str, Any]]:
    return [{"name": f"N{n}", "email": f"b{n}@batch.example"} for n in range(first, first + total)]


def in_the_same_words(one: Answer, other: Answer) -> bool:
    def words(answer: Answer) -> tuple[Any, ...]:
        error = answer.json()["error"] if answer.body else {}
        fields = {name for name, _ in answer.headers}
        return answer.status, error.get("code"), error.get("message"), sorted(error), fields

    return words(one) == words(other)


# One contact


def test_a_contact_has_the_documents_fields_and_its_defaults(ada: Client) -> None:
    made = ada.ask("POST", "/contacts", data={"name": " Ada ", "email": "Ada@EXAMPLE.com"})
    assert made.status == 201
    found = made.json()
    assert made.header("location") == f"/contacts/{found['id']}"
    assert found.pop("createdAt") == found.pop("updatedAt")
    assert found.pop("id")
    assert found == {
        "type": "person", "name": "Ada", "email": "Ada@example.com", "relationshipType": "prospect", "status": "active",
        "source": "manual", "interactionCount": 0, "emailCount": 0, "slackMessageCount": 0, "createdBy": "ada",
        "customFields": {},
    }  # fmt: skip
    again = ada.ask("POST", "/contacts", data={"name": "B", "email": "aDA@example.com"})
    assert (again.status, again.code) == (409, "CONFLICT")
    for _ in range(2):
        assert ada.ask("POST", "/contacts", data={"name": "nobody's address"}).status == 201


def test_different_people_whose_addresses_only_look_alike_are_not_one_contact(ada: Client) -> None:
    ids = {ada.add(email=email)["id"] for email in ("ada@straße.example", "ada@strasse.example", "ﬁ@x.example")}
    assert ada.add(email="fi@x.example")["id"] not in ids
    assert len(ids) == 3
    again = ada.ask("POST", "/contacts", data={"name": "B", "email": "ADA@xn--strae-oqa.example"})
    assert (again.status, again.json()["id"] in ids) == (409, True)
    one = ada.ask("PATCH", f"/contacts/{again.json()['id']}", data={"email": "Ada@STRAẞE.example"})
    assert (one.status, one.json()["email"]) == (200, "Ada@straße.example")
    other = ada.ask("PATCH", f"/contacts/{again.json()['id']}", data={"email": "ada@strasse.example"})
    assert (other.status, other.code) == (409, "CONFLICT")


def test_a_contact_that_was_read_before_a_change_cannot_undo_it(ada: Client) -> None:
    id = ada.add()["id"]
    old = ada.ask("GET", f"/contacts/{id}").header("etag")
    assert ada.ask("GET", f"/contacts/{id}", f"If-None-Match: {old}").status == 304
    changed = ada.ask("PATCH", f"/contacts/{id}", f"If-Match: {old}", data={"name": "B"})
    assert (changed.status, changed.json()["name"]) == (200, "B")
    new = changed.header("etag")
    assert new != old
    for refused in (
        ada.ask("PATCH", f"/contacts/{id}", f"If-Match: {old}", data={"name": "C"}),
        ada.ask("PATCH", f"/contacts/{id}", 'If-Match: "nonsense"', data={"name": "C"}),
        ada.ask("DELETE", f"/contacts/{id}", f"If-Match: {old}"),
    ):
        assert (refused.status, refused.code) == (412, "PRECONDITION_FAILED")
    assert ada.ask("GET", f"/contacts/{id}").json()["name"] == "B"
    assert ada.ask("PATCH", f"/contacts/{id}", f'If-Match: "x", W/{new}', data={"name": "D"}).status == 200
    assert ada.ask("PATCH", f"/contacts/{id}", "If-Match: *", data={"name": "E"}).status == 200
    assert ada.ask("PATCH", f"/contacts/{id}", "If-Match: nonsense", data={"name": "F"}).status == 400
    now = ada.ask("GET", f"/contacts/{id}").header("etag")
    assert ada.ask("DELETE", f"/contacts/{id}", f"If-Match: {now}").status == 204
    for gone in (ada.ask("GET", f"/contacts/{id}"), ada.ask("DELETE", f"/contacts/{id}", "If-Match: *")):
        assert gone.status == 404


def test_a_patch_is_a_merge_patch(ada: Client) -> None:
    made = ada.add(source="fair", customFields={"a": 1, "b": "x", "c": True})
    patch = {"customFields": {"a": None, "b": 2.5, "d": "new", "never": None}, "source": None, "interactionCount": 7}
    kind = "Content-Type: application/merge-patch+json; charset=utf-8"
    found = ada.ask("PATCH", f"/contacts/{made['id']}", kind, data=patch).json()
    assert found["customFields"] == {"b": 2.5, "c": True, "d": "new"}
    assert (found["source"], found["interactionCount"]) == ("manual", 7)
    assert found["createdAt"] == made["createdAt"] < found["updatedAt"]
    for field in ("id", "createdAt", "updatedAt", "createdBy"):
        refused = ada.ask("PATCH", f"/contacts/{made['id']}", data={field: made[field]})
        assert refused.status == 400
        assert refused.json()["fields"][0]["code"] == "READ_ONLY"
    assert ada.ask("PATCH", f"/contacts/{made['id']}", data={"name": None}).json()["fields"][0]["code"] == "REQUIRED"
    assert ada.ask("PATCH", f"/contacts/{made['id']}", "Content-Type: text/plain", data={}).status == 415
    assert ada.ask("PATCH", f"/contacts/{'0' * 32}", data={}).status == 404
    whole = {"customFields": None}
    assert ada.ask("PATCH", f"/contacts/{made['id']}", data=whole).json()["customFields"] == {}


def test_a_patch_that_changes_nothing_is_no_new_version(ada: Client) -> None:
    made = ada.add(customFields={"yes": True})
    before = ada.ask("GET", f"/contacts/{made['id']}").header("etag")
    same = ada.ask("PATCH", f"/contacts/{made['id']}", data={"name": made["name"], "customFields": {"yes": True}})
    assert (same.json(), same.header("etag")) == (made, before)
    other = ada.ask("PATCH", f"/contacts/{made['id']}", data={"customFields": {"yes": 1}})
    assert other.header("etag") != before


def test_an_address_can_be_corrected_but_not_to_somebody_elses(ada: Client) -> None:
    one, two = ada.add(), ada.add()
    refused = ada.ask("PATCH", f"/contacts/{one['id']}", data={"email": two["email"].upper()})
    assert (refused.status, refused.json()["id"]) == (409, two["id"])
    found = ada.ask("PATCH", f"/contacts/{one['id']}", data={"email": "new@api.example"}).json()
    assert (found["id"], found["email"]) == (one["id"], "new@api.example")


def test_changes_at_the_same_time_are_all_there(ada: Client) -> None:
    id = ada.add()["id"]
    with ThreadPoolExecutor(4) as pool:
        told = list(
            pool.map(lambda n: ada.ask("PATCH", f"/contacts/{id}", data={"customFields": {f"k{n}": n}}), range(12))
        )
    assert {answer.status for answer in told} == {200}
    assert ada.ask("GET", f"/contacts/{id}").json()["customFields"] == {f"k{n}": n for n in range(12)}


# Lists


def test_a_walk_through_the_pages_sees_everybody_once(ada: Client) -> None:
    assert ada.ask("POST", "/contacts/batch", data={"contacts": rows(120)}).status == 201
    for query, wanted in (("", 50), ("limit=100", 100), ("limit=7", 7)):
        seen, cursor = [], ""
        while True:
            at = f"&cursor={cursor}" if cursor else ""
            page = ada.ask("GET", f"/contacts?count=true&{query}{at}".replace("&&", "&")).json()
            assert page["total"] == 120
            seen += [item["id"] for item in page["items"]]
            assert len(page["items"]) == wanted or not page["hasMore"]
            assert page["hasMore"] is ("nextCursor" in page)
            if not page["hasMore"]:
                break
            cursor = page["nextCursor"]
        assert seen == sorted(set(seen))
        assert len(seen) == 120


def test_a_page_goes_on_where_a_deleted_contact_was(ada: Client) -> None:
    ada.ask("POST", "/contacts/batch", data={"contacts": rows(9)})
    first = ada.ask("GET", "/contacts?limit=4").json()
    assert ada.ask("DELETE", f"/contacts/{first['items'][-1]['id']}").status == 204
    second = ada.ask("GET", f"/contacts?limit=100&cursor={first['nextCursor']}").json()
    assert len(second["items"]) == 5
    assert not {item["id"] for item in first["items"]} & {item["id"] for item in second["items"]}


def test_a_cursor_is_good_for_its_tenant_and_filter_and_otherwise_for_nothing(ada: Client, eve: Client) -> None:
    for client in (ada, eve):
        client.ask("POST", "/contacts/batch", data={"contacts": rows(4)})
    cursor = ada.ask("GET", "/contacts?limit=1&status=active").json()["nextCursor"]
    assert ada.ask("GET", f"/contacts?limit=3&status=active&cursor={cursor}").status == 200
    flipped = [cursor[:n] + ("A" if cursor[n] != "A" else "B") + cursor[n + 1 :] for n in range(len(cursor))]
    for asker, query in [
        (eve, f"status=active&cursor={cursor}"), (ada, f"cursor={cursor}"), (ada, f"status=inactive&cursor={cursor}"),
        (ada, f"status=active&type=person&cursor={cursor}"), (ada, "status=active&cursor=" + "A" * 5000),
        (ada, f"status=active&cursor={cursor}A"), (ada, f"status=active&cursor={cursor}="), (ada, "cursor=%00"),
        (ada, "cursor=%C3%A9"), (ada, "cursor=A"), *((ada, f"status=active&cursor={word}") for word in flipped),
    ]:  # fmt: skip
        answer = asker.ask("GET", f"/contacts?{query}")
        assert (answer.status, answer.code) == (400, "INVALID_CURSOR"), query


def test_counts_follow_the_filter(ada: Client) -> None:
    ada.ask("POST", "/contacts/batch", data={"contacts": [{**row, "status": "inactive"} for row in rows(3)]})
    ada.add(type="organization")
    assert ada.ask("GET", "/contacts/count").json() == {"count": 4}
    assert ada.ask("GET", "/contacts/count?status=inactive").json() == {"count": 3}
    assert ada.ask("GET", "/contacts/count?status=active&type=organization").json() == {"count": 1}
    assert ada.ask("GET", "/contacts?status=inactive&count=true&limit=1").json()["total"] == 3
    assert ada.ask("GET", "/contacts/count?status=deleted").status == 400
    assert ada.ask("GET", "/contacts/count?limit=1").status == 400


# Batches


def test_a_thousand_are_made_by_one_request(ada: Client) -> None:
    answer = ada.ask("POST", "/contacts/batch", data={"contacts": rows(1000)})
    assert answer.status == 201
    told = answer.json()
    assert (told["created"], len(set(told["ids"])), ada.count()) == (1000, 1000, 1000)
    assert len(answer.body) < 40_000
    for index in (0, 499, 500, 999):
        assert ada.ask("GET", f"/contacts/{told['ids'][index]}").json()["email"] == f"b{index}@batch.example"


def test_one_wrong_row_and_nothing_is_stored(ada: Client) -> None:
    batch = rows(1000)
    batch[7] = {"name": "", "email": "x@y.example"}
    batch[500]["email"] = "no address"
    batch[501]["tenant"] = "other"
    batch[999]["email"] = "B3@batch.example"
    answer = ada.ask("POST", "/contacts/batch", "Idempotency-Key: wrong", data={"contacts": batch})
    assert (answer.status, answer.code, answer.json()["rejected"]) == (400, "VALIDATION_FAILED", 4)
    assert [(row["index"], row["field"], row["code"]) for row in answer.json()["rows"]] == [
        (7, "name", "REQUIRED"), (500, "email", "NOT_AN_ADDRESS"), (501, "tenant", "UNKNOWN_FIELD"),
        (999, "email", "DUPLICATE_IN_BATCH"),
    ]  # fmt: skip
    assert set(answer.json()["error"]) == {"code", "message", "requestId", "timestamp"}
    assert ada.count() == 0
    mended = ada.ask("POST", "/contacts/batch", "Idempotency-Key: wrong", data={"contacts": rows(2)})
    assert mended.status == 201


def test_rows_that_exist_are_named_and_the_others_not_stored(ada: Client) -> None:
    ada.ask("POST", "/contacts/batch", data={"contacts": rows(3)})
    answer = ada.ask("POST", "/contacts/batch", data={"contacts": rows(5, first=2)})
    assert (answer.status, answer.code) == (409, "CONFLICT")
    assert [(row["index"], row["code"]) for row in answer.json()["rows"]] == [(0, "EXISTS")]
    assert ada.count() == 3
    whole = ada.ask("POST", "/contacts/batch", data={"contacts": rows(1000, first=2)})
    assert whole.json()["rejected"] == 1
    many = ada.ask("POST", "/contacts/batch", data={"contacts": [{"name": ""}] * 1000}).json()
    assert (many["rejected"], len(many["rows"])) == (1000, 100)


@pytest.mark.parametrize("number", [0, 1001])
def test_a_batch_holds_1_to_1000(number: int, ada: Client) -> None:
    answer = ada.ask("POST", "/contacts/batch", data={"contacts": rows(number)})
    assert (answer.status, answer.code, ada.count()) == (400, "VALIDATION_FAILED", 0)


def test_a_batch_tells_all_of_its_contacts_when_asked(ada: Client) -> None:
    batch = [*rows(2), {"name": "without"}]
    wish = ("Prefer: respond-async, return=representation", "Idempotency-Key: whole")
    first = ada.ask("POST", "/contacts/batch", *wish, data={"contacts": batch})
    assert first.header("preference-applied") == "return=representation"
    assert [item["name"] for item in first.json()["contacts"]] == ["N0", "N1", "without"]
    for item in first.json()["contacts"]:
        assert ada.ask("GET", f"/contacts/{item['id']}").json() == item
    ada.ask("DELETE", f"/contacts/{first.json()['contacts'][0]['id']}")
    again = ada.ask("POST", "/contacts/batch", *wish, data={"contacts": batch})
    assert (again.body, again.header("idempotent-replayed")) == (first.body, "true")


# Idempotency-Key


@pytest.mark.parametrize("path", ["/contacts", "/contacts/batch"])
def test_the_same_request_again_gets_the_same_answer_and_has_no_second_effect(
    path: str, ada: Client, eve: Client
) -> None:
    data: Any = {"contacts": rows(5)} if path.endswith("batch") else {"name": "without an address"}
    key = f"Idempotency-Key: {'k' * 255}"
    first = ada.ask("POST", path, key, data=data)
    before = ada.count()
    assert (first.status, first.header("idempotent-replayed")) == (201, None)
    for _ in range(2):
        again = ada.ask("POST", path, key, data=data)
        assert (again.status, again.body, again.header("location")) == (201, first.body, first.header("location"))
        assert again.header("idempotent-replayed") == "true"
    assert ada.count() == before
    other = {"contacts": rows(6)} if path.endswith("batch") else {"name": "another"}
    refused = ada.ask("POST", path, key, data=other)
    assert (refused.status, refused.code) == (422, "IDEMPOTENCY_KEY_REUSED")
    elsewhere = ada.ask("POST", "/contacts" if path.endswith("batch") else "/contacts/batch", key, data=data)
    assert elsewhere.code == "IDEMPOTENCY_KEY_REUSED"
    assert eve.ask("POST", path, key, data=other).status == 201
    assert ada.count() == before


def test_the_same_request_many_times_at_once_has_one_effect(ada: Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        told = list(
            pool.map(
                lambda _: ada.ask("POST", "/contacts/batch", "Idempotency-Key: at-once", data={"contacts": rows(300)}),
                range(8),
            )
        )
    done = [answer for answer in told if answer.status == 201]
    waiting = [answer for answer in told if answer.status == 409]
    assert len(done) + len(waiting) == 8
    assert len({answer.body for answer in done}) == 1
    assert [answer.header("idempotent-replayed") for answer in done].count(None) == 1
    assert {(answer.code, answer.header("retry-after")) for answer in waiting} <= {("IDEMPOTENCY_KEY_IN_USE", "1")}
    assert ada.count() == 300


@pytest.mark.parametrize("lines", [["Idempotency-Key: "], ["Idempotency-Key: " + "k" * 256], ["Idempotency-Key: é"],
                                   ["Idempotency-Key: a b"], ["Idempotency-Key: a", "Idempotency-Key: a"]])  # fmt: skip
def test_a_key_that_is_no_key_is_400(lines: list[str], ada: Client) -> None:
    answer = ada.ask("POST", "/contacts", *lines, data={"name": "N"})
    assert (answer.status, ada.count()) == (400, 0)


# Tenants, and what is not meant well


@pytest.mark.parametrize(
    ("method", "data"), [("GET", None), ("HEAD", None), ("PATCH", {"name": "mine"}), ("DELETE", None)]
)
@pytest.mark.parametrize("condition", [(), ("If-Match: *",), ('If-None-Match: "x"',)])
def test_another_tenants_contact_is_not_there(
    method: str, data: Any, condition: tuple[str, ...], ada: Client, eve: Client
) -> None:
    made = ada.add()
    seen = ada.ask("GET", f"/contacts/{made['id']}").header("etag")
    conditions = (*condition, *((f"If-Match: {seen}",) if not condition else ()))
    theirs = eve.ask(method, f"/contacts/{made['id']}", *conditions, data=data)
    nobodys = eve.ask(method, f"/contacts/{'0' * 32}", *conditions, data=data)
    assert theirs.status == 404
    assert in_the_same_words(theirs, nobodys)
    assert ada.ask("GET", f"/contacts/{made['id']}").json() == made
    hers = eve.ask("GET", "/contacts?count=true").json()
    assert ([item["name"] for item in hers["items"]], hers["total"]) == (["Eve's"], 1)
    assert eve.ask("POST", "/contacts", data={"name": "E", "email": made["email"]}).status == 201


HOSTILE = (
    b"\xff", b"\x00", b"nul", b"[]", b'"x"', b"1", b"{}x", b'{"contacts":[]}}', b"[" * 100_000, b'{"a":' * 50_000,
    b'{"contacts":{}}', b'{"contacts":[1]}', b'{"contacts":[null,[]]}', b'{"contacts":[{"name":NaN}]}',
    b'{"name":"A","customFields":{"a":NaN}}', b'{"contacts":[{"name":"A","customFields":{"a":-Infinity}}]}',
    b'{"contacts":[{"name":"A","interactionCount":1e400}]}', b'{"name":"A","interactionCount":-1}',
    b'{"contacts":[{"name":"A","interactionCount":' + b"9" * 5000 + b"}]}", b'{"name":"A","emailCount":1.0}',
    b'{"name":"A","name":"B"}', b'{"contacts":[{"name":"A"}],"contacts":[{"name":"A"}]}', b'{"name":true}',
    b'{"name":"\\ud800"}', b'{"name":"A","customFields":{"\\udfff":1}}', b'{"name":"A","customFields":{"":1}}',
    b'{"name":"A","customFields":{"a":{"b":1}}}', b'{"name":"A","customFields":{"a":[1]}}',
    b'{"name":"A","customFields":[]}', b'{"name":"A","customFields":{"__proto__":1}}', b'{"__proto__":{},"name":"A"}',
    b'{"name":"A","customFields":{"a":1e999}}', b'{"name":"A","customFields":{"a":9007199254740992}}',
    b'{"name":"A","customFields":{' + b",".join(b'"k%d":1' % n for n in range(101)) + b"}}",
    b'{"name":"' + b"x" * 201 + b'"}', b'{"name":"A","email":"' + b"a" * 250 + b'@x.example"}',
    b'{"name":"A","email":"a@localhost"}', b'{"name":"A","email":"<a@x.example>"}', b'{"name":"A\\u0000"}',
    b'{"name":"A","email":"a@x.example\\nBcc: b@x.example"}', b'{"name":"A","customFields":{"a":"\\u001b[2J"}}',
    b'{"name":"A","status":"deleted"}', b'{"name":"A","tenant":"other"}', b'{"name":"A","mark":"x"}',
)  # fmt: skip


@pytest.mark.parametrize("target", ["POST /contacts", "POST /contacts/batch", "PATCH /contacts/{}"])
def test_a_hostile_body_is_400_and_changes_nothing(target: str, ada: Client) -> None:
    made = ada.add()
    for body in HOSTILE:
        answer = ada.ask(target.split()[0], target.split()[1].format(made["id"]), body=body)
        assert answer.status == 400, body[:80]
        assert answer.code in ("BAD_REQUEST", "VALIDATION_FAILED")
    assert ada.ask("GET", "/contacts").json()["items"] == [made]


@pytest.mark.parametrize("id", ["x" * 65, "a.b", "a%20b", "a'--", "%00", "é".encode().hex("%"), "*", "(default)"])
def test_an_id_that_is_none_is_not_there(id: str, ada: Client) -> None:
    assert ada.ask("GET", f"/contacts/{id}").status in (400, 404)


@pytest.mark.parametrize("part", [b"{}", b"[]"])
def test_millions_of_parts_are_refused_before_they_are_made(part: bytes, ada: Client) -> None:
    body = b'{"contacts":[' + b",".join([part] * 3_000_000) + b"]}"
    answer = ada.ask("POST", "/contacts/batch", body=body)
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")
    assert "objects and arrays" in answer.json()["error"]["message"]
    brackets = "[{" * 250
    assert (
        ada.ask(
            "POST", "/contacts/batch", data={"contacts": [{"name": "N", "customFields": {"a": brackets}}] * 30}
        ).status
        == 201
    )


def test_no_refusal_puts_an_address_into_the_log(ada: Client, crm: Running) -> None:
    whose = f"jane-{next(_NUMBERS)}"
    mail = f"{whose}@logged.example"
    made = ada.add(email=mail)
    one = f"/contacts/{made['id']}"
    refused = [
        ada.ask("POST", "/contacts", data={"name": "N", "email": mail}),
        ada.ask("POST", "/contacts", data={"name": "N", "email": f"{mail}@"}),
        ada.ask("POST", "/contacts", data={"name": "N", mail: 1}),
        ada.ask("POST", "/contacts", data={"name": "N", "type": mail}),
        ada.ask("POST", "/contacts", data={"name": "N", "customFields": {f"__{mail}": 1}}),
        ada.ask("POST", "/contacts/batch", data={"contacts": [{"name": mail, mail: 1}, {"email": mail}]}),
        ada.ask("POST", "/contacts", body=f'{{"{mail}": '.encode()),
        ada.ask("PATCH", one, data={mail: 1}),
        ada.ask("PATCH", one, f'If-Match: "{mail}"', data={"name": "N"}),
        ada.ask("GET", f"/contacts?cursor={mail}"),
        ada.ask("GET", f"/contacts?{mail}=1"),
        ada.ask("POST", "/contacts", f"Idempotency-Key: {mail} x", data={"name": "N"}),
    ]
    assert {answer.status for answer in refused} <= {400, 409, 412}
    crm.await_log(f"PATCH {one} 412")
    time.sleep(0.3)
    assert not [line for line in crm.lines() if whose in line]
