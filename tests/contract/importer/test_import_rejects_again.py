"""A rejects file that comes back: as it was, mended, saved by a spreadsheet, or out of joint."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from tests.helpers.import_stage import Desk

HEAD = "name,email,company,note\n"
ROWS = {
    "TOO_FEW_FIELDS": "Bob,b@x.com\n",
    "TOO_MANY_FIELDS": "Cy,c@x.com,Firm, Inc,n\n",
    "STRAY_QUOTE": '"D"d,d@x.com,,\n',
}
CUSTOM = ("--unmapped", "custom")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, f"sqlite://{tmp_path}/contacts.db")


def saved_by_a_spreadsheet(text: str) -> str:
    """All rows as wide as the widest, quoted anew."""
    rows = list(csv.reader(io.StringIO(text, newline="")))
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([row + [""] * (max(map(len, rows)) - len(row)) for row in rows])
    return out.getvalue()


def codes(desk: Desk, name: str) -> dict[str, int]:
    found = desk.data("import", name, *CUSTOM, code=7)
    assert found["books"]["rejected"] == found["books"]["read"]
    return {one["code"]: one["rows"] for one in found["reasons"]}


def in_file(desk: Desk, name: str) -> list[str]:
    rows = list(csv.DictReader(io.StringIO((desk.root / name).read_text(), newline="")))
    assert all(None not in row and None not in row.values() for row in rows)
    return [row["xgw_code"] for row in rows]


def test_our_cells_stand_in_their_own_columns_and_the_code_stays_however_often_it_comes_back(desk: Desk) -> None:
    desk.file(HEAD + "".join(ROWS.values()))
    name = "leads.csv"
    for again in ("leads", "leads.rejects", "leads.rejects.rejects"):
        assert codes(desk, name) == dict.fromkeys(ROWS, 1), name
        name = f"{again}.rejects.csv"
        assert in_file(desk, name) == list(ROWS)
        desk.file(saved_by_a_spreadsheet((desk.root / name).read_text()), "saved.csv")
        assert codes(desk, "saved.csv") == dict.fromkeys(ROWS, 1), name
    assert desk.stored() == {}


def test_a_short_row_that_was_mended_is_taken_as_it_stands(desk: Desk) -> None:
    desk.brought(desk.file(HEAD + ROWS["TOO_FEW_FIELDS"]), *CUSTOM, code=7)
    rows = list(csv.reader(io.StringIO((desk.root / "leads.rejects.csv").read_text(), newline="")))
    assert rows[1][:4] == ["Bob", "b@x.com", "", ""]
    for row in (["Bob", "b@x.com", "Firm", "", *rows[1][4:]], ["Bob", "b@x.com", "", "", "", "", "", "", ""]):
        out = io.StringIO()
        csv.writer(out).writerows([rows[0], row])
        desk.brought(desk.file(out.getvalue(), "mended.csv"), *CUSTOM, "--on-duplicate", "update")
        assert dict(desk.by_email()["b@x.com"].custom_fields) == {"company": "Firm"}


@pytest.mark.parametrize(
    "row",
    [
        'Bob,b@x.com,"3","33","TOO_FEW_FIELDS","the row has fewer","",,\n',
        "Bob,b@x.com,x,3,33,TOO_FEW_FIELDS,the row,,\n",
        "Bob,b@x.com,x,y,z,3,33,TOO_FEW_FIELDS,the row\n",
        "Bob,b@x.com,x,y,3,33,NO_SUCH_CODE,the row,\n",
    ],
)
def test_a_row_whose_cells_moved_is_no_data(desk: Desk, row: str) -> None:
    head = HEAD.strip() + ",xgw_line,xgw_byte,xgw_code,xgw_reason,xgw_raw\n"
    assert codes(desk, desk.file(head + row)) == {"MOVED_CELLS": 1}
    assert codes(desk, "leads.rejects.csv") == {"MOVED_CELLS": 1}
    assert desk.stored() == {}


SINGLE = "'name','email','note'\n'Doe, John','bad','it''s'\n'Alice',alice@,\n'Bob','b@x.com','6\" x 4\"'\n"
FORMS = {
    "single quotes": SINGLE,
    "single quotes, CRLF": SINGLE.replace("\n", "\r\n"),
    "sep= colon": 'sep=:\nname:email:note\nDoe, John:bad:it\'s\nAlice:alice@:\nBob:b@x.com:6" x 4"\n',
    "sep= semicolon": 'sep=;\r\nname;email;note\r\nDoe, John;bad;it\'s\r\nAlice;alice@;\r\nBob;b@x.com;6" x 4"\r\n',
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("form", FORMS)
def test_the_rejects_of_a_file_in_an_unusual_form_are_imported_again_as_they_are_and_mended(
    desk: Desk, form: str, encoding: str
) -> None:
    desk.file(FORMS[form].encode(encoding))
    once = desk.data("import", "leads.csv", "--unmapped", "custom", code=7)
    assert (once["books"]["created"], once["books"]["rejected"]) == (1, 2)
    told = {one["code"]: one["rows"] for one in once["reasons"]}
    again = desk.data("import", "leads.rejects.csv", "--unmapped", "custom", code=7)
    assert {one["code"]: one["rows"] for one in again["reasons"]} == told
    first, second = ((desk.root / f"leads.{'rejects.' * n}csv").read_bytes().decode(encoding) for n in (1, 2))
    assert first.partition("Doe")[0] == second.partition("Doe")[0], "the sep= line and the header stay"
    mended = first.replace("bad", "john@x.com").replace("alice@", "alice@x.com")
    desk.file(mended.encode(encoding), "leads.rejects.csv")
    assert desk.brought("leads.rejects.csv", "--unmapped", "custom")["created"] == 2
    ours = {email: (one.name, one.custom_fields.get("note")) for email, one in desk.by_email().items()}
    assert ours == {
        "john@x.com": ("Doe, John", "it's"),
        "alice@x.com": ("Alice", None),
        "b@x.com": ("Bob", '6" x 4"'),
    }
