"""Changes that meet each other, and those of a contact that holds more than may be put into one."""

from __future__ import annotations

import json
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway_runtime.auth.identity import Identity
from gateway_runtime.contacts import wire
from gateway_runtime.contacts.checks import CUSTOM_KEYS
from gateway_runtime.contacts.cursor import Cursors
from gateway_runtime.contacts.model import Contact, accept, edit
from gateway_runtime.contacts.store import Changed
from gateway_runtime.errors import Problem
from gateway_runtime.roles import crm as role
from tests.helpers.contacts_stage import NO_LIMITS, Stage
from tests.helpers.gateway_process import Answer, Running, running
from tests.helpers.gateway_request import request
from tests.helpers.tokens import bearer


def stored(stage: Stage, tenant: str, **custom: Any) -> str:
    """The id of a contact that somebody put straight into the store."""
    made = accept({"name": "Ada"}, tenant=tenant, now=1, by="ada", mark=secrets.token_hex(4))
    stage.run(stage.store.add(tenant, [replace(made, custom_fields=custom)]))
    return made.id


def patch(crm: Running, tenant: str, id: str, **custom: Any) -> Answer:
    body = json.dumps({"customFields": custom}).encode()
    return crm.ask("PATCH", f"/contacts/{id}", "Content-Type: application/json", body=body, token=bearer(tenant))


def keys(count: int, letter: str = "a") -> dict[str, Any]:
    return {f"{letter}{number}": number for number in range(count)}


def test_custom_fields_are_counted_after_a_patch_and_not_in_it(crm: Running, stage: Stage) -> None:
    tenant = stage.tenant()
    id = stored(stage, tenant, **keys(60))
    refused = patch(crm, tenant, id, **keys(60, "b"))
    assert (refused.status, refused.json()["fields"][0]["code"]) == (400, "TOO_MANY")
    swapped = patch(crm, tenant, id, **dict.fromkeys(keys(60)), **keys(CUSTOM_KEYS, "b"))
    assert (swapped.status, len(swapped.json()["customFields"])) == (200, CUSTOM_KEYS)


def test_from_a_contact_with_too_many_custom_fields_some_can_be_taken_away(crm: Running, stage: Stage) -> None:
    tenant = stage.tenant()
    id = stored(stage, tenant, **keys(2 * CUSTOM_KEYS))
    assert patch(crm, tenant, id, a1=None).json()["customFields"].keys() == keys(2 * CUSTOM_KEYS).keys() - {"a1"}
    assert patch(crm, tenant, id, a2="changed").json()["customFields"]["a2"] == "changed"
    assert patch(crm, tenant, id, a3=None, b3="instead").status == 200
    more = patch(crm, tenant, id, a4=None, b4=1, b5=1)
    assert (more.status, more.json()["fields"][0]["code"]) == (400, "TOO_MANY")


def test_ten_changes_at_once_through_two_processes_are_all_made(crm: Running, stage: Stage, tmp_path: Path) -> None:
    tenant = stage.tenant()
    id = stored(stage, tenant)
    with (
        running(tmp_path, ROLE="crm", CONTACTS_STORE=stage.url, **NO_LIMITS, **stage.env) as other,
        ThreadPoolExecutor(10) as pool,
    ):
        told = list(pool.map(lambda n: patch((crm, other)[n % 2], tenant, id, **{f"a{n}": n}), range(10)))
    assert [answer.status for answer in told] == [200] * 10
    found = stage.run(stage.store.get(tenant, id))
    assert found is not None
    assert found.custom_fields == keys(10)


class Rival:
    """The store, with somebody who changes a contact whenever it is about to be."""

    def __init__(self, stage: Stage) -> None:
        self._store = stage.store
        self.changes = 0

    async def get(self, tenant: str, id: str) -> Contact | None:
        return await self._store.get(tenant, id)

    async def replace(self, tenant: str, contact: Contact, *, version: str) -> Contact:
        self.changes += 1
        there = await self._store.get(tenant, contact.id)
        assert there is not None
        theirs = edit(there, {"name": f"Rival {self.changes}"}, now=2, mark=secrets.token_hex(4))
        await self._store.replace(tenant, theirs, version=version)
        with pytest.raises(Changed):
            await self._store.replace(tenant, contact, version=version)
        raise Changed


def test_who_never_comes_first_is_told_when_to_try_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(role, "CHANGE_SECONDS", 0.3)
    tenant = stage.tenant()
    id, rival = stored(stage, tenant), Rival(stage)
    contacts = role.Contacts(rival, Cursors("", "here"), wire.Limits.of(50, 100))  # type: ignore[arg-type]
    asked = request("PATCH", headers=((b"content-type", b"application/json"),), body=b'{"source": "mine"}')
    asked.params, asked.identity = {"id": id}, Identity(tenant, "ada", (), time.time() + 60)
    with pytest.raises(Problem) as told:
        stage.run(contacts.change(asked))
    assert (told.value.code, dict(told.value.headers)) == ("CONFLICT", {b"retry-after": b"1"})
    assert rival.changes > 1
    found = stage.run(stage.store.get(tenant, id))
    assert found is not None
    assert (found.name, found.source) == (f"Rival {rival.changes}", "manual")
