"""A contact has at most 100 custom fields: counted where a row comes in, and where it adds to a contact that is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.import_stage import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, f"sqlite://{tmp_path}/contacts.db")


def wide(first: int, last: int, *rows: tuple[str, int]) -> str:
    """Columns k`first` to k`last`; of each (email, number) so many have a value."""
    names = [f"customFields.k{n}" for n in range(first, last + 1)]
    lines = [",".join(["name", "email", *names])]
    lines += [",".join(["Ann", email, *(["v"] * number + [""] * len(names))[: len(names)]]) for email, number in rows]
    return "\n".join(lines) + "\n"


def codes(desk: Desk, *words: str) -> dict[str, int]:
    return {one["code"]: one["rows"] for one in desk.data("import", *words, code=7)["reasons"]}


def test_a_file_may_have_more_columns_than_a_contact_fields_and_only_rows_with_too_many_are_rejected(
    desk: Desk,
) -> None:
    name = desk.file(wide(1, 130, ("a@x.com", 100), ("b@x.com", 101), ("bad", 101)))
    for words in ((name, "--dry-run"), (name,)):
        assert codes(desk, *words) == {"TOO_MANY": 2, "NOT_AN_ADDRESS": 1}
    assert {email: len(one.custom_fields) for email, one in desk.by_email().items()} == {"a@x.com": 100}
    assert "TOO_MANY" in (desk.root / "leads.rejects.csv").read_text()


@pytest.mark.parametrize("mode", ["update", "fill"])
def test_a_row_that_would_give_a_contact_too_many_is_rejected_and_changes_nothing(desk: Desk, mode: str) -> None:
    desk.brought(desk.file(wide(1, 60, ("a@x.com", 60), ("b@x.com", 10))))
    before = desk.by_email()
    name = desk.file(wide(61, 110, ("a@x.com", 41), ("b@x.com", 50)))
    for words in ((name, "--dry-run"), (name,)):
        assert codes(desk, *words, "--on-duplicate", mode) == {"TOO_MANY": 1}
    after = desk.by_email()
    assert after["a@x.com"] == before["a@x.com"]
    assert len(after["b@x.com"].custom_fields) == 60
    run = desk.data("imports")[0]["run"]
    assert desk.data("undo", run)["restored"] == 1
    assert desk.by_email() == before


def test_a_row_that_changes_what_is_there_needs_no_room(desk: Desk) -> None:
    desk.brought(desk.file(wide(1, 100, ("a@x.com", 100))))
    text = wide(1, 100, ("a@x.com", 100)).replace(",v", ",w").replace("Ann", "Anna")
    assert desk.brought(desk.file(text), "--on-duplicate", "update")["updated"] == 1
    assert set(desk.by_email()["a@x.com"].custom_fields.values()) == {"w"}
