from __future__ import annotations

import string
from typing import Any

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway_runtime.contacts import checks
from gateway_runtime.contacts.cursor import Cursors
from gateway_runtime.contacts.model import ATTRIBUTES, InvalidContact, accept, contact_id, edit, id_for, shown
from gateway_runtime.contacts.stores import checked
from gateway_runtime.errors import Problem

LABEL = st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,6}[a-zA-Z0-9])?", fullmatch=True)
DOMAIN = st.lists(
    LABEL | st.sampled_from(["xn--bcher-kva", "ab--cd", "a" * 63, "a" * 64, "é", "", "-a", "a-"]), max_size=4
)
LAST = st.sampled_from(
    ["com", "example", "test", "local", "localhost", "arpa", "Invalid", "onion", "c0", "0c", "1", "xn--p1ai"]
)
LOCAL = st.text(string.ascii_letters + string.digits + "!#$%&'*+/=?^_`{|}~-." + '"@ é\\\n', max_size=12)


@st.composite
def addresses(draw: st.DrawFn) -> str:
    return f"{draw(LOCAL)}@{'.'.join([*draw(DOMAIN), draw(LAST | LABEL)])}"


def by_the_book(text: str) -> str | None:
    """What email-validator alone would say."""
    try:
        found = validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError:
        return None
    return found if len(found) <= checks.EMAIL_LENGTH else None


@settings(max_examples=600, deadline=None)
@given(addresses() | st.emails() | st.text(max_size=20))
@example("a@b.co")
@example("Ada.Lovelace@EXAMPLE.Com")
@example("a@xn--bcher-kva.example")
@example("a@ab--cd.example")
@example("a@bücher.example")
@example("a@x.local")
@example("a@x.test")
@example("a@local.x")
@example("a@x.c0")
@example("a@x.0c")
@example("a@" + "a" * 63 + ".com")
@example("a@" + "a" * 64 + ".com")
@example("a" * 65 + "@x.com")
@example("a@b.com\n")
@example("a@localhost")
def test_the_short_look_at_an_address_says_what_email_validator_says(text: str) -> None:
    stripped = text.strip()
    try:
        found: str | None = checks.email(text)
    except InvalidContact:
        found = None
    if not stripped:
        assert found == ""
    elif len(stripped) > checks.EMAIL_LENGTH:
        assert found is None
    else:
        assert found == by_the_book(stripped)


def test_a_plain_address_takes_the_short_look() -> None:
    for text in ("a@b.co", "ada+crm@mail.shop.example", "o'hara@x-y.io"):
        assert checks._PLAIN_ADDRESS.fullmatch(text)
        assert by_the_book(text) == text


def test_an_ordinary_address_is_checked_without_the_long_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr("email_validator.validate_email", lambda value, **_: looked.append(value))
    for address in ("ada.lovelace@mail.example", "a@b.co", "ada+crm@mail.shop.example"):
        assert checks.CHECKS["email"](address) == address
    assert looked == []


@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
def test_a_moment_is_shown_and_read_exactly(at: int) -> None:
    assert checks.moment("createdAt")(checks.rfc3339(at)) == at


MOMENTS = [
    ("2026-01-31T08:15:00Z", 1769847300_000000), ("2026-01-31t08:15:00.5z", 1769847300_500000),
    ("2026-01-31 09:15:00.123456789+01:00", 1769847300_123456), ("2026-01-31", 1769817600_000000),
    ("1969-12-31T23:59:59.999999Z", -1),
]  # fmt: skip


@pytest.mark.parametrize(("text", "at"), MOMENTS)
def test_a_moment_may_be_written_as_rfc_3339_does(text: str, at: int) -> None:
    assert checks.moment("createdAt")(text) == at


@pytest.mark.parametrize(
    "value", ["", "now", 0, None, "2026-02-30", "2026-01-31T24:00:00Z", "2026-01-31T08:15:60Z", "2026-01-31T08:15:00",
              "26-01-31", "2026-01-31T08:15:00+25:00", "٢٠٢٦-01-31", "2026-01-31Z", "0001-01-01T00:00:00+23:59x",
              "0001-01-01T00:00:00+00:01", "0001-01-01T00:59:59.999999+01:00", "9999-12-31T23:59:59-00:01",
              "9999-12-31T19:00:00-05:00"],
)  # fmt: skip
def test_a_moment_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(InvalidContact) as fault:
        checks.moment("createdAt")(value)
    assert fault.value.code == "NOT_A_TIME"


@pytest.mark.parametrize(
    ("text", "shown_as"),
    [("0001-01-01T01:00:00+01:00", "0001-01-01T00:00:00.000000Z"), ("0001-01-01", "0001-01-01T00:00:00.000000Z"),
     ("9999-12-31T18:59:59.9999999-05:00", "9999-12-31T23:59:59.999999Z")],
)  # fmt: skip
def test_the_first_and_the_last_moment_in_utc_are_read_and_shown(text: str, shown_as: str) -> None:
    assert checks.rfc3339(checks.moment("createdAt")(text)) == shown_as


@given(st.integers(-(2**63), 2**63 - 1))
def test_whatever_a_store_holds_as_a_moment_is_shown(at: int) -> None:
    assert checks.moment("createdAt")(checks.rfc3339(at)) == min(max(at, checks.FIRST), checks.LAST)


def made(**fields: Any) -> Any:
    return accept({"name": "Ada", **fields}, tenant="acme", now=1, by="ada", mark="m")


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"name": None}, "name", "NOT_TEXT"), ({"name": ""}, "name", "REQUIRED"), ({"name": "x" * 201}, "name", "TOO_LONG"),
    ({"name": "a\tb"}, "name", "BAD_CHARACTER"), ({"name": "a\u2028b"}, "name", "BAD_CHARACTER"),
    ({"name": "\udc00"}, "name", "BAD_CHARACTER"), ({"email": "x"}, "email", "NOT_AN_ADDRESS"),
    ({"email": 1}, "email", "NOT_TEXT"), ({"type": "lead"}, "type", "NOT_ONE_OF"), ({"status": []}, "status", "NOT_ONE_OF"),
    ({"relationshipType": "friend"}, "relationshipType", "NOT_ONE_OF"), ({"emailCount": True}, "emailCount", "NOT_WHOLE"),
    ({"emailCount": "1"}, "emailCount", "NOT_WHOLE"), ({"interactionCount": -1}, "interactionCount", "OUT_OF_RANGE"),
    ({"slackMessageCount": 2**53}, "slackMessageCount", "OUT_OF_RANGE"), ({"customFields": []}, "customFields", "NOT_AN_OBJECT"),
    ({"customFields": {"a": {}}}, "customFields", "NOT_FLAT"), ({"customFields": {"": 1}}, "customFields", "BAD_KEY"),
    ({"customFields": {"__a__": 1}}, "customFields", "BAD_KEY"),
    ({"customFields": {"a": "x" * 1001}}, "customFields", "TOO_LONG"),
    ({"customFields": {str(n): 1 for n in range(101)}}, "customFields", "TOO_MANY"),
    ({"customFields": {"a": float("inf")}}, "customFields", "OUT_OF_RANGE"), ({"company": "x"}, "company", "UNKNOWN_FIELD"),
    ({"id": "x"}, "id", "READ_ONLY"), ({"createdBy": "x"}, "createdBy", "READ_ONLY"), ({"mark": "x"}, "mark", "UNKNOWN_FIELD"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "field", "code"), WRONG)
def test_what_will_not_do_is_named_with_a_code_and_never_quoted(fields: dict[str, Any], field: str, code: str) -> None:
    with pytest.raises(InvalidContact) as fault:
        made(**fields)
    assert (fault.value.field, fault.value.code) == (field, code)
    assert "xxx" not in fault.value.message


def test_the_id_follows_from_tenant_and_address_and_from_nothing_else() -> None:
    assert (
        made(email="Ada@x.example").id
        == made(email="aDA@X.example", name="B").id
        == contact_id("acme", "ada@x.example")
    )
    assert contact_id("a", "bc") != contact_id("ab", "c")
    assert made().id != made().id
    assert id_for("acme", "a@x.example") != id_for("other", "a@x.example")


def test_what_is_shown_has_every_field_and_no_mark() -> None:
    contact = made(customFields={"a": 1})
    assert list(shown(contact)) == list(ATTRIBUTES)
    assert "mark" not in shown(contact)
    assert "version" not in shown(contact)


def test_time_never_goes_back_in_a_contact() -> None:
    later = edit(made(), {"name": "B"}, now=50, mark="n")
    assert edit(later, {"name": "C"}, now=7, mark="o").updated_at == 50
    assert later.created_at == 1


TEXTS = st.text(max_size=8)
IDS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)


@given(TEXTS, TEXTS, TEXTS, IDS, st.tuples(TEXTS, TEXTS, TEXTS))
@example("ab", "", "", "x", ("a", "b", ""))
@example("a", "bc", "d", "x", ("a", "b", "cd"))
def test_a_cursor_is_read_by_whom_it_was_made_for_and_by_nobody_else(
    tenant: str, status: str, type: str, last: str, other: tuple[str, str, str]
) -> None:
    cursors = Cursors("", "sqlite:///a")
    word = cursors.make(tenant, status, type, last)
    assert cursors.read(tenant, status, type, word) == last
    assert Cursors("", "sqlite:///a").read(tenant, status, type, word) == last
    wrong = [lambda: Cursors("key of sixteen at least", "sqlite:///a").read(tenant, status, type, word)]
    if other != (tenant, status, type):
        wrong.append(lambda: cursors.read(*other, word))
    for reading in wrong:
        with pytest.raises(Problem) as problem:
            reading()
        assert problem.value.code == "INVALID_CURSOR"


@given(st.text(max_size=300) | st.binary(max_size=120).map(lambda data: data.hex()))
def test_no_text_but_a_cursor_is_a_cursor(text: str) -> None:
    with pytest.raises(Problem):
        Cursors("", "x").read("acme", "", "", text)


@pytest.mark.parametrize("url", ["sqlite:///data/c.db", "firestore://my-project", "firestore://a.com:p/other-db"])
def test_a_store_is_named_by_a_url(url: str) -> None:
    assert checked(url) == url


@pytest.mark.parametrize("url", ["", "/data/c.db", "sqlite://c.db", "sqlite:///", "sqlite:///a?x", "firestore://", "x:///a",
                                 "firestore://P", "firestore://p/(x)", "sqlite:///a\n"])  # fmt: skip
def test_what_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be sqlite:///"):
        checked(url)
