"""Rooms of the stream: a tenant's own, bounded, and heard by nobody else."""

from __future__ import annotations

import json
from pathlib import Path

from tests.helpers.gateway_process import Running, running
from tests.helpers.stream_client import raw, user_token
from tests.helpers.tokens import bearer


def test_rooms_are_the_tenants_own_bounded_and_named(tmp_path: Path) -> None:
    with running(tmp_path) as gateway, raw(gateway) as found:
        found.connect(user_token("rooms", "acme"))
        assert found.ask("subscribe", "contacts") == {"ok": True, "rooms": ["contacts"]}
        for wrong in ("", "a" * 65, "a b", "../x", 1, None, [], [1], {"room": "x"}, ["ok", "a/b"]):
            assert found.ask("subscribe", wrong)["error"]["code"] == "INVALID_ROOM", wrong
        assert found.ask("subscribe")["error"]["code"] == "INVALID_ROOM"
        assert found.ask("subscribe", [f"r{n}" for n in range(19)])["ok"]
        assert found.ask("subscribe", "one-more")["error"]["code"] == "TOO_MANY_ROOMS"
        assert found.ask("unsubscribe", "contacts")["ok"]
        assert len(found.ask("subscribe", "one-more")["rooms"]) == 20


def test_nobody_hears_of_another_tenants_writes(tmp_path: Path, crm: Running) -> None:
    with (
        running(tmp_path, UPSTREAM_CRM_URL=f"http://127.0.0.1:{crm.port}") as gateway,
        raw(gateway) as ours,
        raw(gateway) as theirs,
    ):
        ours.connect(user_token("a", "acme"))
        theirs.connect(user_token("a", "globex"))
        for found in (ours, theirs):
            found.ask("subscribe", ["contacts", "4:acme:contacts"])
        body = b'{"type":"person","name":"Eve","email":"eve-of-the-rooms@example.com"}'
        assert (
            gateway.ask(
                "POST", "/api/v2/crm/contacts", "Content-Type: application/json", body=b"{", token=bearer()
            ).status
            == 400
        )
        answer = gateway.ask(
            "POST", "/api/v2/crm/contacts", "Content-Type: application/json", body=body, token=bearer()
        )
        assert answer.status == 201
        assert json.loads(ours.text()[2:]) == ["contacts.changed", {"change": "created", "id": None}]
        batch = json.dumps({"contacts": [{"name": "One"}, {"name": "Two"}]}).encode()
        assert (
            gateway.ask("POST", "/api/v2/crm/contacts/batch", "Content-Type: application/json", body=batch).status
            == 201
        )
        assert json.loads(ours.text()[2:]) == ["contacts.changed", {"change": "created", "id": None}]
        gone = gateway.ask("DELETE", f"/api/v2/crm/contacts/{answer.json()['id']}", token=bearer())
        assert gone.status == 204
        assert json.loads(ours.text()[2:]) == ["contacts.changed", {"change": "deleted", "id": answer.json()["id"]}]
        assert theirs.ask("keepalive") == {"ok": True}  # the next thing it hears
