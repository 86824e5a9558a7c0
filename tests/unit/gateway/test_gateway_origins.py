from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_runtime.origins import OriginPolicy

POLICY = OriginPolicy.parse("https://xynergy-platform.com, https://*.xynergy.com ,http://localhost:3000")

GOOD = [
    "https://xynergy-platform.com",
    "https://app.xynergy.com",
    "https://a.b.xynergy.com",
    "https://xn--bcher-kva.xynergy.com",
    "http://localhost:3000",
]

BAD = [
    "",
    "null",
    "NULL",
    "*",
    "file://",
    "https://",
    "https://*.xynergy.com",
    "https://xynergy.com",
    "https://.xynergy.com",
    "https://evil.com",
    "https://evil.com/.xynergy.com",
    "https://evil.com#.xynergy.com",
    "https://u@evil.com?.xynergy.com",
    "https://_evil`.xynergy.com",
    "https://evil.com?.xynergy.com",
    "https://evil.com\\.xynergy.com",
    "https://evil.com%2f.xynergy.com",
    "https://evil.com%23.xynergy.com",
    "https://evilxynergy.com",
    "https://app.xynergy.com.evil.com",
    "https://app.xynergy.com.",
    "https://app..xynergy.com",
    "https://-app.xynergy.com",
    "https://app-.xynergy.com",
    "https://app_1.xynergy.com",
    "https://app.xynergy.com:443",
    "https://app.xynergy.com:8443",
    "https://app.xynergy.com:",
    "https://app.xynergy.com/",
    "https://app.xynergy.com/path",
    "https://app.xynergy.com?x",
    "https://app.xynergy.com#x",
    "https://user@app.xynergy.com",
    "https://user:pass@app.xynergy.com",
    "http://app.xynergy.com",
    "wss://app.xynergy.com",
    "HTTPS://app.xynergy.com",
    "https://APP.xynergy.com",
    "https://app.XYNERGY.com",
    "https://app.xynergy.comX",
    "https://app.xynergy.co",
    "https://app.xynergy.com https://evil.com",
    "https://app.xynergy.com, https://evil.com",
    " https://app.xynergy.com",
    "https://app.xynergy.com ",
    "https://app.xynergy.com\n",
    "https://app\x00.xynergy.com",
    "https://\xe4pp.xynergy.com",
    "https://аpp.xynergy.com",
    "https:/app.xynergy.com",
    "https:app.xynergy.com",
    "//app.xynergy.com",
    "app.xynergy.com",
    "https://xynergy-platform.com:443",
    "http://xynergy-platform.com",
    "https://XYNERGY-platform.com",
    "http://localhost",
    "http://localhost:3001",
    "http://localhost:30000",
    "https://localhost:3000",
    "http://127.0.0.1:3000",
    f"https://{'a' * 64}.xynergy.com",
    f"https://{'a.' * 125}xynergy.com",
]


@pytest.mark.parametrize("origin", GOOD)
def test_a_listed_origin_may_call(origin: str) -> None:
    assert POLICY.allows(origin)


@pytest.mark.parametrize("origin", BAD)
def test_every_other_spelling_may_not_call(origin: str) -> None:
    assert not POLICY.allows(origin)


def test_no_origin_is_not_an_origin() -> None:
    assert not POLICY.allows(None)


def test_an_unset_list_lets_nobody_in() -> None:
    assert not any(OriginPolicy().allows(origin) for origin in GOOD + BAD)


@pytest.mark.parametrize(
    "text",
    [
        "*", "null", "https://*", "https://*.com", "https://a.*.com", "https://*.*.example.com", "https://x*.example.com",
        "http://*.example.com", "https://*.example.com:8443", "https://*.example.com/", "https://example.com/",
        "https://example.com/path", "https://user@example.com", "ftp://example.com", "example.com", "https://",
        "https://example.com,,https://example.org", "https://example.com:99999", "https://exa mple.com", "https://_x.com",
    ],
)  # fmt: skip
def test_a_list_that_is_not_clear_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"origin|wildcard"):
        OriginPolicy.parse(text)


def test_a_listed_origin_is_kept_as_a_browser_writes_it() -> None:
    policy = OriginPolicy.parse("HTTPS://App.Example.com:443,http://b.example:80,http://c.example:8080")
    assert policy.exact == {"https://app.example.com", "http://b.example", "http://c.example:8080"}


HOSTS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?){0,4}", fullmatch=True)
JUNK = st.text(alphabet=st.sampled_from("ab.:/@#?\\%*-_ \t\r\n`,;'\"[]\x00é"), min_size=1, max_size=12)


@given(host=HOSTS)
def test_a_wildcard_lets_in_exactly_the_hosts_below_its_suffix(host: str) -> None:
    policy = OriginPolicy.parse("https://*.xynergy.com")
    assert policy.allows(f"https://{host}.xynergy.com")
    assert policy.allows(f"https://{host}") == host.endswith(".xynergy.com")
    assert not policy.allows(f"https://{host}xynergy.com") or f"{host}xynergy.com".endswith(".xynergy.com")


@given(before=JUNK, host=HOSTS)
def test_nothing_strange_before_the_suffix_gets_in(before: str, host: str) -> None:
    policy = OriginPolicy.parse("https://*.xynergy.com")
    origin = f"https://{host}{before}.xynergy.com"
    if policy.allows(origin):
        assert set(origin.removeprefix("https://")) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")


@given(st.text(max_size=60))
def test_no_text_at_all_breaks_the_policy(text: str) -> None:
    assert not POLICY.allows(text) or text in GOOD
    assert not POLICY.allows("https://" + text) or text.endswith((".xynergy.com", "xynergy-platform.com"))
