"""From a header to fields: what is suggested, what is refused, and what a file keeps of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.importer.known_exports import HUBSPOT
from xgw.errors import UsageFault
from xgw.importer.mapping import FieldMap, choose
from xgw.importer.mapping_file import load, save

XGW = ["id", "type", "name", "email", "relationshipType", "status", "source", "interactionCount", "emailCount",
       "slackMessageCount", "createdAt", "updatedAt", "createdBy", "customFields.company"]  # fmt: skip


def test_only_our_own_export_is_read_without_its_apostrophes() -> None:
    assert choose(XGW).neutralised
    assert choose(XGW).made_for == "xgw"
    assert load(save(choose(XGW))) == choose(XGW)
    assert not choose(HUBSPOT.columns).neutralised
    assert choose(XGW).fields["customFields.company"] == ("customFields.company",)


@pytest.mark.parametrize(
    ("columns", "flags", "fields"),
    [
        (["E-mail", "Full name", "Co."], [], {"name": ("Full name",), "email": ("E-mail",)}),
        (["email", "First name", "Surname"], [], {"name": ("First name", "Surname"), "email": ("email",)}),
        (["email", "Name", "First name"], [], {"name": ("Name",), "email": ("email",)}),
        (["email", "Vorname"], [], {"name": ("Vorname",), "email": ("email",)}),
        (["mail", "x"], ["name=x"], {"name": ("x",), "email": ("mail",)}),
        (["mail", "x"], ["name=X"], {"name": ("x",), "email": ("mail",)}),
        (["mail", "a", "b"], ["name=a", "name=b"], {"name": ("a", "b"), "email": ("mail",)}),
        (["mail", "name", "status"], ["status="], {"name": ("name",), "email": ("mail",)}),
        (["mail", "name"], ["email=", "customFields.mail=mail"], {"name": ("name",), "customFields.mail": ("mail",)}),
        (["email", "e-mail address", "name"], ["email=email"], {"name": ("name",), "email": ("email",)}),
        (["email", "e-mail address", "name"], ["source=email"],
         {"name": ("name",), "email": ("e-mail address",), "source": ("email",)}),
        (["a=b", "mail"], ["name=a=b"], {"name": ("a=b",), "email": ("mail",)}),
    ],
)  # fmt: skip
def test_flags_decide_over_the_suggestion(
    columns: list[str], flags: list[str], fields: dict[str, tuple[str, ...]]
) -> None:
    assert choose(columns, flags).fields == fields


@pytest.mark.parametrize(
    ("columns", "flags", "message", "fix"),
    [
        (
            ["email", "e-mail address", "name"],
            [],
            "2 columns could be email: email, e-mail address",
            "--map 'email=email'",
        ),
        (["email", "name", "full name"], [], "2 columns could be name", "--map"),
        (["email", "first", "first name", "last"], [], "3 columns could be name", "--map"),
        (["email", "x"], [], "no column is the name", "--map name=COLUMN"),
        (["email", "name"], ["name=nmae"], "no column 'nmae'", "did you mean 'name'?"),
        (["email", "name"], ["emial=email"], "no field 'emial'", "did you mean email?"),
        (["email", "name"], ["phone=name"], "no field 'phone'", "customFields.NAME"),
        (["email", "name"], ["email"], "has no =", "FIELD=COLUMN"),
        (["email", "name"], ["name=\x1b[2J\u202e"], "'\\x1b[2J\\u202e'", ""),
    ],
)
def test_what_is_ambiguous_or_not_there_is_refused(
    columns: list[str], flags: list[str], message: str, fix: str
) -> None:
    with pytest.raises(UsageFault) as fault:
        choose(columns, flags)
    assert message in fault.value.message
    assert fix in fault.value.fix


def test_columns_that_nothing_names_are_listed() -> None:
    made = choose(["E-mail", "Full name", "Fax", "Id"])
    assert made.others(["E-mail", "Full name", "Fax", "Id"]) == ["Fax", "Id"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version = 1\n[fields]\nname = ", "not valid TOML"),
        ("[fields]\nname = 'x'", "version None"),
        ("version = 2", "version 2"),
        ("version = 1\nfelds = 3", "no key 'felds'"),
        ("version = 1\nfields = 3", "must be a table"),
        ("version = 1\n[fields]\nname = 3", "fields.name must be text"),
        ("version = 1\n[fields]\nname = []", "names no column"),
        ("version = 1\n[fields]\ncustomFields.a = 'b'", "is a table"),
        ("version = 1\nneutralised = 'yes'", "true or false"),
        ("version = 1\ndate_format = ['%Y', 3]", "date_format must be text"),
        ("version = 1\nseparator = 3", "separator must be text"),
        ("version = 1\n[fields]\nname = 'gone'", "no column 'gone'"),
        ("version = 1\n[fields]\nnmae = 'name'", "no field 'nmae'"),
        ("version = 1\nunmapped = 'keep'\n[fields]\nname = 'name'", "unmapped is 'keep'"),
        ("version = 1\n[fields]\nname = 'name'\n[values.status]\nopen = 'actve'", "becomes 'actve'"),
        ("version = 1\n[fields]\nname = 'name'\n[values.source]\nopen = 'x'", "source has a table"),
        ("version = 1\n[fields]\nemail = 'email'", "no column is the name"),
    ],
)
def test_a_mapping_file_that_does_not_fit_is_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(UsageFault) as fault:
        choose(["name", "email"], saved=load(text, "leads.toml"))
    assert message in fault.value.message


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map("customFields.{}".format),
        st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=3).map(tuple),
    ),
    st.dictionaries(
        st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7F)).map(lambda t: t.strip().casefold()),
        st.text("ab"),
    ),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=3).map(tuple),
)
def test_a_saved_mapping_is_loaded_as_it_was(
    fields: dict[str, tuple[str, ...]], table: dict[str, str], text: str, formats: tuple[str, ...]
) -> None:
    made = FieldMap(fields, {"status": table} if table else {}, "custom", formats, text, separator=text)
    assert load(save(made)) == made
