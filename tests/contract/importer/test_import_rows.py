"""What becomes of rows, on every store: created, updated, unchanged, duplicate or rejected, each exactly one of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway_runtime.contacts.model import contact_id
from gateway_runtime.contacts.store import ContactStore
from tests.helpers.import_stage import Desk, expected, leads, told
from xgw.errors import ExitCode

HEAD = "name,email,company,note\n"
CUSTOM = ("--unmapped", "custom")


def books(read: int, **parts: int) -> dict[str, int]:
    return {
        "read": read,
        **{name: parts.get(name, 0) for name in ("created", "updated", "unchanged", "duplicate", "rejected")},
    }


def test_a_file_ends_as_its_first_rows(desk: Desk) -> None:
    text = leads(1203)
    name = desk.file(text)
    found = desk.brought(name, *CUSTOM, code=ExitCode.REJECTS)
    stored = desk.stored()
    assert {one.email.casefold(): (one.name, one.custom_fields["company"]) for one in stored.values()} == expected(text)
    assert found["created"] == len(stored)
    assert found["read"] == 1203
    assert found["duplicate"] > 20
    assert found["rejected"] > 10
    assert all(id == contact_id(desk.tenant, one.email.casefold()) for id, one in stored.items())
    assert {one.source for one in stored.values()} == {"import"}


def test_a_file_twice_changes_nothing(desk: Desk) -> None:
    name = desk.file(leads(701))
    first = desk.brought(name, *CUSTOM, code=7)
    before = desk.stored()
    for mode in ("skip", "update", "fill"):
        again = desk.brought(name, *CUSTOM, "--on-duplicate", mode, code=7)
        assert again == {**first, "created": 0, "unchanged": first["created"]}, mode
        assert desk.stored() == before
        assert {id: one.version for id, one in desk.stored().items()} == {id: one.version for id, one in before.items()}


@pytest.mark.parametrize("mode", ["skip", "update", "fill"])
@pytest.mark.parametrize("size", [1, 3, 500])
def test_the_first_row_of_an_address_wins_wherever_the_batches_end(desk: Desk, size: int, mode: str) -> None:
    rows = [f"N{n},{'abc'[n % 3].upper() if n > 3 else 'abc'[n % 3]}@x.com,C{n},\n" for n in range(9)]
    name = desk.file(HEAD + "".join(rows))
    found = desk.brought(name, "--batch-size", str(size), "--on-duplicate", mode, *CUSTOM)
    assert found == books(9, created=3, duplicate=6)
    assert {email: (one.name, one.mark.partition(":")[2]) for email, one in desk.by_email().items()} == {
        "a@x.com": ("N0", "1"),
        "b@x.com": ("N1", "2"),
        "c@x.com": ("N2", "3"),
    }


@pytest.mark.parametrize("size", ["1", "500"])
def test_in_update_the_first_row_wins_even_when_it_has_nothing_to_change(desk: Desk, size: int) -> None:
    desk.brought(desk.file(HEAD + "Ann,a@x.com,A,\n"), *CUSTOM)
    text = HEAD + "Ann,a@x.com,A,\nBob,A@x.com,B,\n"
    for mode in ("update", "fill"):
        found = desk.brought(desk.file(text), "--on-duplicate", mode, "--batch-size", size, *CUSTOM)
        assert found == books(2, unchanged=1, duplicate=1)
    assert desk.by_email()["a@x.com"].name == "Ann"


def test_what_is_there_already_is_treated_as_was_asked(desk: Desk) -> None:
    desk.brought(desk.file(HEAD + "Ann,a@x.com,,old\nBob,b@x.com,B,\n"), *CUSTOM)
    text = HEAD + "Anna,a@x.com,A,\nBob,b@x.com,B,\nCy,c@x.com,C,\n"
    name = desk.file(text)
    assert desk.brought(name, *CUSTOM, "--dry-run") == books(3, created=1, unchanged=1, duplicate=1)
    filled = desk.brought(name, *CUSTOM, "--on-duplicate", "fill")
    assert filled == books(3, created=1, updated=1, unchanged=1)
    ann = desk.by_email()["a@x.com"]
    assert (ann.name, dict(ann.custom_fields)) == ("Ann", {"company": "A", "note": "old"})
    assert desk.brought(name, *CUSTOM, "--on-duplicate", "update") == books(3, updated=1, unchanged=2)
    ann = desk.by_email()["a@x.com"]
    assert (ann.name, dict(ann.custom_fields)) == ("Anna", {"company": "A", "note": "old"})


def test_a_rule_is_for_its_column_alone(desk: Desk) -> None:
    desk.brought(desk.file(HEAD + "Ann,a@x.com,A,one\n"), *CUSTOM)
    name = desk.file(HEAD + "Anna,a@x.com,B,two\n")
    rules = ("--rule", "name=skip", "--rule", "company=fill")
    assert desk.brought(name, *CUSTOM, "--on-duplicate", "update", *rules) == books(1, updated=1)
    ann = desk.by_email()["a@x.com"]
    assert (ann.name, dict(ann.custom_fields)) == ("Ann", {"company": "A", "note": "two"})


def test_fail_stops_at_the_first_duplicate_and_undo_takes_the_rest_back(desk: Desk) -> None:
    desk.brought(desk.file(HEAD + "Ann,a@x.com,A,\n"), *CUSTOM)
    before = desk.stored()
    rows = "".join(f"N{n},n{n}@x.com,,\n" for n in range(20))
    name = desk.file(HEAD + rows + "Anna,a@x.com,B,\n" + rows.replace("n", "m"))
    done = desk.here("import", name, "--on-duplicate", "fail", "--batch-size", "5", *CUSTOM)
    done.assert_told(ExitCode.FAILED, "line 22 is a duplicate", "xgw contacts undo")
    assert len(desk.stored()) > 1
    run = desk.data("imports")[0]["run"]
    desk.data("undo", run)
    assert desk.stored() == before


def test_a_dry_run_says_what_a_run_does_and_writes_nothing(desk: Desk) -> None:
    desk.brought(desk.file(leads(300)), *CUSTOM, code=7)
    before, journals = desk.stored(), len(desk.data("imports"))
    name = desk.file(leads(900, seed=9))
    for mode in ("skip", "update", "fill"):
        said = desk.brought(name, *CUSTOM, "--on-duplicate", mode, "--dry-run", code=7)
        assert desk.stored() == before
        assert len(desk.data("imports")) == journals
    assert not (desk.root / "leads.rejects.csv").exists() or journals
    assert desk.brought(name, *CUSTOM, "--on-duplicate", "fill", code=7) == said


def test_another_tenants_contacts_are_not_touched(desk: Desk) -> None:
    name = desk.file(leads(120))
    desk.brought(name, code=7)
    other = replace(desk, tenant=f"{desk.tenant}-other")
    assert not other.stored()
    assert other.brought(name, code=7)["created"] == len(desk.stored())
    run = next(one["run"] for one in desk.data("imports") if one["tenant"] == other.tenant)
    other.data("undo", run)
    assert not other.stored()
    assert desk.stored()


def test_a_mended_rejects_file_is_imported_and_the_books_add_up(desk: Desk) -> None:
    name = desk.file(HEAD + "Ann,a@x.com,A,\nBob,bob at x,B,\n,c@x.com,C,\n")
    assert desk.brought(name, *CUSTOM, code=7) == books(3, created=1, rejected=2)
    rejects = desk.root / "leads.rejects.csv"
    text = rejects.read_text()
    assert "Bob,bob at x,B,," in text
    rejects.write_text(text.replace("bob at x", "bob@x.com").replace(",c@x.com,C", "Cy,c@x.com,C"))
    assert desk.brought(rejects.name, *CUSTOM) == books(2, created=2)
    assert {one.name for one in desk.stored().values()} == {"Ann", "Bob", "Cy"}


def test_too_many_rejects_stop_it_and_a_higher_limit_goes_on(desk: Desk) -> None:
    rows = [f"N{n},{'bad' if n % 4 == 3 else f'n{n}@x.com'},,\n" for n in range(40)]
    name = desk.file(HEAD + "".join(rows))
    done = desk.here("import", name, "--max-errors", "4", "--batch-size", "5")
    done.assert_told(ExitCode.FAILED, "--max-errors 4", "--resume")
    assert len(desk.stored()) < 30
    found = desk.brought(name, "--max-errors", "10", "--batch-size", "5", "--resume", code=7)
    assert found == books(40, created=30, rejected=10)
    rehearsed = desk.here("import", name, "--max-error-rate", "0.2", "--dry-run")
    assert rehearsed.code == ExitCode.FAILED
    assert "read 40" in rehearsed.out, "a dry run tells everything before it says no"
    assert "--max-error-rate 0.2" in rehearsed.err


def test_a_contact_that_somebody_changes_meanwhile_is_read_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from xgw.importer import writing

    desk.brought(desk.file(HEAD + "Ann,a@x.com,A,\n"), *CUSTOM)
    id = contact_id(desk.tenant, "a@x.com")
    left = [2]

    def meddle(point: str) -> None:
        if point == "pictures-kept" and left[0]:
            left[0] -= 1
            _in_thread(lambda: desk.ask(lambda store: _changed(store, desk.tenant, id, f"edit {left[0]}")))

    monkeypatch.setattr(writing, "reach", meddle)
    name = desk.file(HEAD + "Anna,a@x.com,B,\n")
    assert desk.brought(name, *CUSTOM, "--on-duplicate", "update") == books(1, updated=1)
    ann = desk.by_email()["a@x.com"]
    assert (ann.name, dict(ann.custom_fields)) == ("Anna", {"company": "B", "theirs": "edit 0"})
    left[0] = 99
    name = desk.file(HEAD + "Annabel,a@x.com,B,\n")
    assert desk.brought(name, *CUSTOM, "--on-duplicate", "update", code=7) == books(1, rejected=1)
    assert desk.by_email()["a@x.com"].name == "Anna"
    assert "CONTENDED" in (desk.root / "leads.rejects.csv").read_text()


async def _changed(store: ContactStore, tenant: str, id: str, text: str) -> None:
    found = await store.get(tenant, id)
    assert found
    fields = {**found.custom_fields, "theirs": text}
    await store.replace(tenant, replace(found, custom_fields=fields, mark=f"theirs {text}"), version=found.version)


def _in_thread(work: object) -> None:
    import threading

    thread = threading.Thread(target=work)  # type: ignore[arg-type]
    thread.start()
    thread.join()


def test_an_export_comes_back_as_it_was(desk: Desk) -> None:
    text = HEAD + '=cmd|x,a@x.com,"-1+1","it\'s"\n\'=Bob,b@x.com,"two\nlines",@x\nZoë 李,c@x.com,,\n'
    desk.brought(desk.file(text), *CUSTOM)
    done = desk.here("export", "-q")
    assert done.code == 0
    assert not any(cell.startswith(("=", "@", "-")) for line in done.out.splitlines() for cell in line.split(","))
    desk.file(done.out, "export.csv")
    other = replace(desk, tenant=f"{desk.tenant}-copy")
    assert other.brought("export.csv") == books(3, created=3)
    ours = {c.email: (c.name, dict(c.custom_fields), c.created_at, c.created_by) for c in desk.stored().values()}
    theirs = {c.email: (c.name, dict(c.custom_fields), c.created_at, c.created_by) for c in other.stored().values()}
    assert ours == theirs
    assert desk.brought("export.csv", "--on-duplicate", "update") == books(3, unchanged=3)
    lines = desk.here("export", "--format", "jsonl", "-q").out.splitlines()
    assert len(lines) == 3
    assert desk.data("count")["count"] == 3


def test_told_leaves_out_only_what_differs_between_runs(desk: Desk) -> None:
    desk.brought(desk.file(HEAD + "Ann,a@x.com,A,\n"), *CUSTOM)
    one = next(iter(desk.stored().values()))
    assert told({one.id: one}) == told({one.id: replace(one, mark="other:1", created_at=1)})
    assert told({one.id: one}) != told({one.id: replace(one, mark="other:2")})
