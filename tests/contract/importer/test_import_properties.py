"""For any file: the books balance, the store holds the first valid row of every address, and a second time changes nothing."""

from __future__ import annotations

import csv
import io
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.helpers.import_stage import Desk

_numbers = itertools.count()
ADDRESSES = [f"{name}@x.com" for name in "abcdef"] + ["A@X.com", "C@x.COM", "bad at x", "", "e@", "ü@x.com"]
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["Ann", "Bob", "", "  ", "=cmd", "Zoë\n2"]),
        st.sampled_from(ADDRESSES),
        st.sampled_from(["", "1", "'2"]),
    ),
    max_size=30,
)


def text_of(rows: list[tuple[str, str, str]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["name", "email", "company"])
    writer.writerows(rows)
    return out.getvalue()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("properties")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=ROWS,
    size=st.sampled_from(["1", "2", "7", "500"]),
    mode=st.sampled_from(["skip", "update", "fill"]),
    other=ROWS,
)
@example(
    [("Ann", "a@x.com", ""), ("Ann", "a@x.com", "")], "1", "skip", [("Bob", "a@x.com", ""), ("Ann", "a@x.com", "")]
)
def test_books_balance_and_a_second_time_changes_nothing(
    root: Path, rows: list[tuple[str, str, str]], size: str, mode: str, other: list[tuple[str, str, str]]
) -> None:
    number = next(_numbers)
    desk = Desk(root / f"{number}", f"sqlite://{root}/contacts.db", tenant=f"t{number}")
    words = ("--unmapped", "custom", "--batch-size", size, "--on-duplicate", mode)

    def brought(name: str, *more: str) -> dict[str, int]:
        done = desk.here("import", name, *words, *more, "-o", "json")
        assert done.code in (0, 7), done
        books = dict(json.loads(done.out)["data"]["books"])
        assert books.pop("balanced")
        assert books["read"] == sum(books.values()) - books["read"]
        return books

    desk.file(text_of(rows), "one.csv")
    desk.file(text_of(other), "two.csv")
    first = brought("one.csv")
    stored = desk.stored()
    assert first["read"] == len(rows)
    assert first["created"] == len(stored)
    first_of: dict[str, str] = {}
    for number, (name, email, _) in enumerate(rows, 1):
        if name.strip() and "\n" not in name and email.casefold().endswith("@x.com"):
            first_of.setdefault(email.casefold(), str(number))
    assert {one.email.casefold(): one.mark.partition(":")[2] for one in stored.values()} == first_of
    again = brought("one.csv")
    assert again == {**first, "created": 0, "unchanged": first["created"]}
    assert desk.stored() == stored
    said = brought("two.csv", "--dry-run")
    assert desk.stored() == stored
    assert brought("two.csv") == said
    twice = desk.stored()
    assert brought("two.csv")["updated"] == 0
    assert desk.stored() == twice
    desk.data("undo", desk.data("imports")[0]["run"])
    assert desk.stored() == twice, "the last one changed nothing, so its undo does not either"
    desk.data("undo", desk.data("imports")[1]["run"])
    assert desk.stored() == stored
