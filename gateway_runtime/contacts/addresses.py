"""When two e-mail addresses are one: in whatever case of letters, and never because two letters merely look or sound alike.

Unicode's case folding is for searching: it makes `straße` of `strasse` and `fi` of `ﬁ`, which are different people's mailboxes
and, in domains, different owners. So the part before the @ is put into lower case, and the domain is compared as DNS does.
"""

from __future__ import annotations

from unicodedata import normalize


def address_key(email: str) -> str:
    """The same text for all spellings of one address, and another for every other address. "" for none.

    Before the @: composed (NFC), each letter in lower case, composed again. `İ` becomes `i̇`, apart from `i` and `ı`; `ß` stays
    apart from `ss`, and `ẞ` is its capital. A final sigma is a sigma: capitals do not tell them apart, so nothing may.
    After the @: the A-label of IDNA 2008 (UTS 46, non-transitional), `xn--strae-oqa.de` for `straße.de`; a domain that has none
    (others may have stored it) in lower case.
    """
    if email.isascii():  # nearly all are, and then both rules are this
        return email.lower()
    local, at, domain = email.rpartition("@")
    return f"{_lower(local)}{at}{_a_label(domain)}"


def _lower(text: str) -> str:
    return normalize("NFC", normalize("NFC", text).lower().replace("ς", "σ"))


def _a_label(domain: str) -> str:
    import idna  # most services never meet such a domain

    try:
        return idna.encode(domain, uts46=True, transitional=False).decode("ascii").lower()
    except UnicodeError:
        return _lower(domain)
