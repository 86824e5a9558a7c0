from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway_runtime.contacts.addresses import address_key
from gateway_runtime.contacts.checks import CHECKS
from gateway_runtime.contacts.model import id_for

ONE = [
    ("Ada@X.example", "aDA@x.EXAMPLE"),
    ("STRAẞE@x.com", "straße@x.com"),
    ("ΟΔΟΣ@x.com", "οδος@x.com"),
    ("ΟΔΟΣ.Α@x.com", "οδος.α@x.com"),  # Python's lower() sees no end of a word before a dot
    ("J\u030c@x.com", "\u01f0@x.com"),  # a capital without a composed form
    ("ZOE\u0308@x.com", "zoë@x.com"),
    ("İ@x.com", "i\u0307@x.com"),
    ("info@STRAẞE.de", "info@straße.de"),
    ("info@straße.de", "INFO@xn--strae-oqa.de"),
    ("a@BÜCHER.example", "a@xn--bcher-kva.example"),
    ("é@a_b.COM", "é@a_b.com"),  # a domain that has no A-label
]
OTHERS = [
    ("info@straße.de", "info@strasse.de"),
    ("straße@x.com", "strasse@x.com"),
    ("ﬁ@x.com", "fi@x.com"),
    ("ı@x.com", "i@x.com"),
    ("İ@x.com", "i@x.com"),
    ("ſ@x.com", "s@x.com"),
    ("é@x.com", "e@x.com"),
    ("é@x.com", "é@y.com"),
]


@pytest.mark.parametrize(("one", "same"), ONE)
def test_an_address_is_one_in_whatever_case_of_letters(one: str, same: str) -> None:
    assert address_key(one) == address_key(same)
    assert id_for("acme", one) == id_for("acme", same)


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_different_peoples_addresses_stay_apart(one: str, other: str) -> None:
    assert address_key(one) != address_key(other)
    assert id_for("acme", one) != id_for("acme", other)


@pytest.mark.parametrize("address", sorted({side for pair in [*ONE, *OTHERS] for side in pair if "_" not in side}))
def test_the_spelling_in_which_an_address_is_kept_has_its_key(address: str) -> None:
    assert address_key(CHECKS["email"](address)) == address_key(address)


@given(st.text(st.characters(codec="utf-8"), max_size=20), st.text(st.characters(codec="utf-8"), max_size=20))
@example("", "")
@example("a", "ＥＸＡＭＰＬＥ。com")
def test_any_text_has_a_key_which_is_its_own(local: str, domain: str) -> None:
    key = address_key(f"{local}@{domain}")
    assert address_key(key) == key


@given(st.text(st.characters(codec="utf-8", categories=["Lu", "Ll", "Nd"]), max_size=12))
def test_letters_that_have_one_capital_do_not_tell_addresses_apart(local: str) -> None:
    def capital(letter: str) -> str:
        return letter.upper() if letter.upper().lower() == letter else letter

    assert address_key(f"{''.join(map(capital, local))}@x.com") == address_key(f"{local}@x.com")
