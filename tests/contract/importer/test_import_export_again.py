"""An export of ours that comes back finds the contacts it was made of, on every store."""

from __future__ import annotations

from dataclasses import replace

from gateway_runtime.contacts.model import contact_id
from gateway_runtime.contacts.store import ContactStore
from tests.helpers.import_stage import Desk

HEAD = "name,email,nr\n"
ROWS = "Ann,a@x.com,1\nBob,b@x.com,2\nCy,c@x.com,3\n"
CUSTOM = ("--unmapped", "custom")


async def _moved(store: ContactStore, tenant: str, email: str, to: str) -> None:
    found = await store.get(tenant, contact_id(tenant, email))
    assert found
    await store.replace(tenant, replace(found, email=to, mark="somebody"), version=found.version)


def exported(desk: Desk) -> str:
    done = desk.here("export", "-q")
    assert done.code == 0
    return desk.file(done.out, "export.csv")


def told(desk: Desk) -> list[tuple[object, ...]]:
    return sorted((c.name, c.email, str(dict(c.custom_fields)), c.created_at) for c in desk.stored().values())


def test_contacts_whose_address_changed_are_found_by_their_id(desk: Desk) -> None:
    desk.brought(desk.file(HEAD + ROWS), *CUSTOM)
    for email, to in (("a@x.com", "new@x.com"), ("b@x.com", "a@x.com")):  # an address may even be another's former one
        desk.ask(lambda store, email=email, to=to: _moved(store, desk.tenant, email, to))
    before, name = desk.stored(), exported(desk)
    for words in ((), ("--on-duplicate", "update"), ("--batch-size", "1"), ("--dry-run",)):
        found = desk.brought(name, *words)
        assert (found["unchanged"], found["created"]) == (3, 0), words
    assert desk.stored() == before
    changed = (desk.root / name).read_text().replace(",Ann,", ",Anna,")
    assert desk.brought(desk.file(changed, "export.csv"), "--on-duplicate", "update")["updated"] == 1
    assert desk.stored()[contact_id(desk.tenant, "a@x.com")].name == "Anna"
    run = desk.data("imports")[0]["run"]
    assert desk.data("undo", run)["restored"] == 1
    assert desk.stored() == before


def test_contacts_without_an_address_or_with_another_key_come_back_once(desk: Desk) -> None:
    desk.brought(desk.file(HEAD + "Ann,,1\nBob,b@x.com,2\n"), *CUSTOM, "--key", "nr")
    before, name = desk.stored(), exported(desk)
    found = desk.brought(name)
    assert (found["unchanged"], found["created"]) == (2, 0)
    assert desk.stored() == before
    other = replace(desk, tenant=f"{desk.tenant}-copy")
    for counts in ((2, 0), (0, 2)):
        found = other.brought(name)
        assert (found["created"], found["unchanged"]) == counts
    assert told(other) == told(desk)


def test_an_export_for_an_empty_store_brings_everybody_though_addresses_were_exchanged(desk: Desk) -> None:
    desk.brought(desk.file(HEAD + ROWS), *CUSTOM)
    for email, to in (("a@x.com", "b@x.com"), ("b@x.com", "d@x.com")):
        desk.ask(lambda store, email=email, to=to: _moved(store, desk.tenant, email, to))
    name, before = exported(desk), told(desk)
    for id in desk.stored():
        desk.ask(lambda store, id=id: store.remove(desk.tenant, id))
    for size in ("1", "500"):
        found = desk.brought(name, "--batch-size", size)
        assert found["created"] + found["unchanged"] == 3
        assert told(desk) == before
