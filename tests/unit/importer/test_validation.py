"""From a row to a contact, or to a code."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_runtime.contacts.checks import rfc3339
from gateway_runtime.contacts.model import Contact, contact_id, id_for
from xgw.errors import UsageFault
from xgw.importer.mapping import FieldMap, choose
from xgw.importer.neutral import neutral, plain
from xgw.importer.reasons import REASONS, shown
from xgw.importer.validation import Refusal, Validator

COLUMNS = ["name", "email", "type", "status", "relationshipType", "source", "emailCount", "createdAt", "Fax"]
NOW = 1_700_000_000_000_000
GOOD = {"name": "Ann", "email": "ann@x.org"}


def checking(made: FieldMap | None = None, key: str = "email", unmapped: str = "custom") -> Validator:
    made = made or choose(COLUMNS, unmapped=unmapped)
    return Validator(made, COLUMNS, tenant="t", run="run9", now=NOW, by="me", key=key)


def row(**cells: str) -> list[str]:
    return [{**GOOD, **cells}.get(column, "") for column in COLUMNS]


def refusal(found: Contact | Refusal) -> Refusal:
    assert isinstance(found, Refusal)
    return found


def contact(found: Contact | Refusal) -> Contact:
    assert isinstance(found, Contact)
    return found


def test_an_empty_cell_leaves_the_default() -> None:
    found = contact(checking()(row(), 7))
    assert found == Contact(
        contact_id("t", "ann@x.org"), "person", "Ann", "ann@x.org", "prospect", "active", "import", 0, 0, 0, NOW, NOW,
        "me", {}, "run9:7",
    )  # fmt: skip


def test_every_field_is_taken_over() -> None:
    cells = {"type": "Organization", "status": " ARCHIVED ", "relationshipType": "customer", "source": "fair",
             "emailCount": " 12 ", "createdAt": "2026-01-31T08:15:00+01:00", "Fax": "+1 555"}  # fmt: skip
    found = contact(checking()(row(**cells), 1))
    assert (found.type, found.status, found.relationship_type) == ("organization", "archived", "customer")
    assert (found.source, found.email_count, found.created_at) == ("fair", 12, 1_769_843_700_000_000)
    assert found.custom_fields == {"Fax": "+1 555"}


@pytest.mark.parametrize(
    ("cells", "code", "column", "example"),
    [
        ({"name": ""}, "REQUIRED", "name", ""),
        ({"name": "  "}, "REQUIRED", "name", "  "),
        ({"name": "x" * 201}, "TOO_LONG", "name", "x" * 40 + "…"),
        ({"name": "A\x07nn"}, "BAD_CHARACTER", "name", "A\\x07nn"),
        ({"name": "A\nnn"}, "BAD_CHARACTER", "name", "A\\nnn"),
        ({"email": "jane at acme.com"}, "NOT_AN_ADDRESS", "email", "jane at acme.com"),
        ({"email": "a@b"}, "NOT_AN_ADDRESS", "email", "a@b"),
        ({"email": "\x1b[31m\u202ea@x.org"}, "NOT_AN_ADDRESS", "email", "\\x1b[31m\\u202ea@x.org"),
        ({"email": ""}, "NO_KEY", "email", ""),
        ({"type": "Person?"}, "UNKNOWN_VALUE", "type", "Person?"),
        ({"status": "open"}, "UNKNOWN_VALUE", "status", "open"),
        ({"emailCount": "1.5"}, "NOT_WHOLE", "emailCount", "1.5"),
        ({"emailCount": "1,000"}, "NOT_WHOLE", "emailCount", "1,000"),
        ({"emailCount": "٣"}, "NOT_WHOLE", "emailCount", "٣"),
        ({"emailCount": "-1"}, "OUT_OF_RANGE", "emailCount", "-1"),
        ({"emailCount": "9" * 5000}, "OUT_OF_RANGE", "emailCount", "9" * 40 + "…"),
        ({"createdAt": "31/01/2026"}, "NOT_A_TIME", "createdAt", "31/01/2026"),
        ({"createdAt": "2026-02-30"}, "NOT_A_TIME", "createdAt", "2026-02-30"),
        ({"Fax": "x" * 1001}, "TOO_LONG", "Fax", "x" * 40 + "…"),
        ({"Fax": "a\x00b"}, "BAD_CHARACTER", "Fax", "a\\x00b"),
        ({"name": "", "email": ""}, "EMPTY_ROW", "", ""),
    ],
)
def test_a_row_is_refused_with_a_code_that_stays(cells: dict[str, str], code: str, column: str, example: str) -> None:
    found = refusal(checking()(row(**cells), 1))
    assert (found.code, found.column, found.example) == (code, column, example)
    assert found.code in REASONS
    assert found.reason.isprintable()


def test_the_same_address_in_other_case_is_the_same_contact_and_the_domain_is_lowered() -> None:
    one, two = (contact(checking()(row(email=email), 1)) for email in ("Ann@X.org", "ann@x.ORG"))
    assert one.id == two.id
    assert one.email == "Ann@x.org"


def test_another_column_can_tell_contacts_apart() -> None:
    check = checking(key="Fax")
    assert contact(check(row(email="", Fax=" 17 "), 1)).id == contact_id("t", "17")
    assert refusal(check(row(), 1)).code == "NO_KEY"
    with pytest.raises(UsageFault, match="no column 'Id'"):
        checking(key="Id")
    with pytest.raises(UsageFault, match="no column is the e-mail"):
        checking(FieldMap({"name": ("name",)}))


def test_words_are_mapped_in_any_case_and_the_rest_as_the_file_says() -> None:
    made = FieldMap(
        {"name": ("name",), "email": ("email",), "status": ("status",)},
        {"status": {"open deal": "active", "*": "archived"}},
    )
    for cell, status in (("Open Deal", "active"), ("INACTIVE", "inactive"), ("who knows", "archived"), ("", "active")):
        assert contact(checking(made)(row(status=cell), 1)).status == status


def test_a_date_format_is_read_as_utc_and_rfc3339_still_is() -> None:
    fields = {"name": ("name",), "email": ("email",), "createdAt": ("createdAt",)}
    for pattern, cell in (("%d.%m.%Y %H:%M", "31.01.2026 07:15"), ("%Y-%m-%dT%H:%M:%S.%f%z", "2026-01-31T08:15:00.000+0100"),
                          ("%d.%m.%Y", "2026-01-31T07:15:00Z")):  # fmt: skip
        check = checking(FieldMap(fields, date_formats=(pattern,)))
        assert contact(check(row(createdAt=cell), 1)).created_at == 1_769_843_700_000_000
    assert refusal(check(row(createdAt="yesterday"), 1)).reason == "createdAt: must be a time as %d.%m.%Y writes it"


@pytest.mark.parametrize("pattern", ["", "%Y-%m-%dT%H:%M:%S%z"])
@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("0001-01-01T00:00:00+00:00", True),
        ("0001-01-01T00:00:00+01:00", False),
        ("9999-12-31T23:59:59+00:00", True),
        ("9999-12-31T23:59:59-05:00", False),
    ],
)
def test_a_time_that_its_zone_takes_out_of_the_years_that_can_be_shown_is_refused(
    pattern: str, text: str, kept: bool
) -> None:
    fields = {"name": ("name",), "email": ("email",), "createdAt": ("createdAt",)}
    found = checking(FieldMap(fields, date_formats=(pattern,) if pattern else ()))(row(createdAt=text), 1)
    if kept:
        assert rfc3339(contact(found).created_at).startswith(text[:19])
    else:
        assert refusal(found).code == "NOT_A_TIME"


def test_several_date_formats_are_tried_in_turn() -> None:
    fields = {"name": ("name",), "email": ("email",), "createdAt": ("createdAt",)}
    check = checking(FieldMap(fields, date_formats=("%d.%m.%Y %H:%M", "%Y-%m-%d %H:%M")))
    for cell in ("31.01.2026 07:15", "2026-01-31 07:15"):
        assert contact(check(row(createdAt=cell), 1)).created_at == 1_769_843_700_000_000
    reason = "createdAt: must be a time as %d.%m.%Y %H:%M or %Y-%m-%d %H:%M writes it"
    assert refusal(check(row(createdAt="yesterday"), 1)).reason == reason


@pytest.mark.parametrize("email", ["Ann@X.org", "info@straße.de", "info@strasse.de", "İ@x.org", "ß@x.org", "SS@x.org"])
def test_the_id_of_a_row_is_the_one_that_the_api_gives_this_address(email: str) -> None:
    assert contact(checking()(row(email=email), 1)).id == id_for("t", email)


def test_the_first_of_several_addresses_is_the_email() -> None:
    check = checking(FieldMap({"name": ("name",), "email": ("email",)}, separator=" ::: "))
    assert contact(check(row(email="ann@x.org ::: no address"), 1)).email == "ann@x.org"
    assert refusal(check(row(email="no address ::: ann@x.org"), 1)).code == "NOT_AN_ADDRESS"
    assert contact(check(row(email=" ::: ann@x.org"), 1)).email == "ann@x.org"
    assert contact(check(row(email="ann@x.org :::"), 1)).email == "ann@x.org"
    assert refusal(check(row(email=" ::: "), 1)).code in ("NO_KEY", "NOT_AN_ADDRESS")
    assert refusal(checking()(row(email="ann@x.org ::: bob@x.org"), 1)).code == "NOT_AN_ADDRESS"


def test_names_are_joined_and_what_is_given_is_told() -> None:
    made = FieldMap({"name": ("name", "Fax"), "email": ("email",), "source": ("source",)})
    check = checking(made)
    assert contact(check(row(Fax=" Lee "), 1)).name == "Ann Lee"
    assert contact(check(row(name="", Fax="Lee"), 1)).name == "Lee"
    assert check.given(row(source=" ")) == {"name", "email"}
    assert refusal(check(row(name=""), 1)).column == "name + Fax"


def test_formulas_stay_text_and_only_our_own_export_loses_its_apostrophes() -> None:
    fields = {"name": ("name",), "email": ("email",), "customFields.x": ("Fax",)}
    for neutralised, name in ((True, "=HYPERLINK(1)"), (False, "'=HYPERLINK(1)")):
        found = contact(checking(FieldMap(fields, neutralised=neutralised))(row(name="'=HYPERLINK(1)", Fax="=1+1"), 1))
        assert (found.name, found.custom_fields["x"]) == (name, "=1+1")


@given(st.text(st.sampled_from("'=+-@\t\r\nab＝"), max_size=6) | st.text())
def test_a_neutralised_cell_is_no_formula_and_comes_back(text: str) -> None:
    cell = neutral(text)
    assert cell[:1] not in ("=", "+", "-", "@", "\t", "\r", "\n", "＝")
    assert plain(cell) == text


@given(st.lists(st.text(st.sampled_from("'=+-@\t\r\nab,\""), max_size=5), min_size=2, max_size=2))
def test_neutralised_cells_come_back_through_a_file(cells: list[str]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerow(map(neutral, cells))
    back = next(csv.reader(io.StringIO(out.getvalue(), newline="")))
    assert [plain(cell) for cell in back] == cells


@given(st.text())
def test_what_an_error_repeats_is_short_and_visible(value: str) -> None:
    assert shown(value).isprintable()
    assert len(shown(value)) <= 41


def test_of_a_row_with_thousands_of_bad_fields_a_hundred_are_told_and_that_they_are_too_many() -> None:
    columns = ("name", "email", *(f"customFields.k{n:04}" for n in range(3000)))
    check = Validator(choose(columns), columns, tenant="t", run="run9", now=NOW, by="me")
    found = refusal(check(["Ann", "a@x.org", *["\x01"] * 3000], 1))
    codes = [found.code, *(one.code for one in found.also)]
    assert codes == ["BAD_CHARACTER"] * 100 + ["TOO_MANY"]
    far = refusal(check(["Ann", "a@x.org", *["v"] * 100, *["\x01"] * 2900], 1))
    assert (far.code, far.also) == ("TOO_MANY", ())
