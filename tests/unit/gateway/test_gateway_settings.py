from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from gateway_runtime.server.limits import HIGH_WATER
from gateway_runtime.setting_types import Setting, UpstreamUrl
from gateway_runtime.settings import TABLE, Settings, SettingsFault, read, reference, show
from gateway_runtime.upstream.settings import UPSTREAMS

REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "gateway-settings.md"

WRONG = [
    ("PORT", "0"),
    ("LISTEN_ADDRESS", "256.0.0.1"), ("LISTEN_ADDRESS", "localhost"),
    ("PORT", "65536"), ("PORT", "80a"), ("PORT", "-1"), ("PORT", "8080 "), ("PORT", "٨٠"), ("PORT", "1" * 5000),
    ("ROLE", "Gateway"), ("ROLE", "admin"), ("ENVIRONMENT", "a b"), ("ERROR_DETAIL", "FULL"), ("ERROR_DETAIL", "1"),
    ("CORS_ALLOWED_ORIGINS", "*"), ("CORS_ALLOWED_ORIGINS", "https://a.*.com"), ("CORS_ALLOWED_ORIGINS", "https://x.com,null"),
    ("CORS_MAX_AGE", "-1"), ("CORS_MAX_AGE", "86401"), ("CORS_MAX_AGE", "1.5"), ("LOG_LEVEL", "trace"), ("LOG_FORMAT", "xml"),
    ("LOG_SAMPLE_RATE", "1.01"), ("LOG_SAMPLE_RATE", "-0.1"), ("LOG_SAMPLE_RATE", "nan"), ("LOG_SAMPLE_RATE", "inf"),
    ("LOG_SAMPLE_RATE", "1e-1"), ("UPSTREAM_CRM_URL", "crm:80"), ("UPSTREAM_CRM_URL", "ftp://crm"),
    ("UPSTREAM_CRM_URL", "http://"), ("UPSTREAM_CRM_URL", "http://u:p@crm"), ("UPSTREAM_CRM_URL", "http://crm?x=1"),
    ("UPSTREAM_CRM_URL", "http://crm#x"), ("UPSTREAM_CRM_URL", "http://crm:0"), ("UPSTREAM_CRM_URL", "http://crm:99999"),
    ("UPSTREAM_CRM_URL", "http://crm/../x"), ("UPSTREAM_SLACK_URL", "http://crm//x"), ("UPSTREAM_GMAIL_URL", "http://cr m"),
    ("UPSTREAM_TIMEOUT", "0"), ("UPSTREAM_TIMEOUT", "3601"), ("UPSTREAM_TIMEOUT", "soon"),
    ("CONTACTS_STORE", "sqlite:///:memory:?x"),
    ("CONTACTS_STORE", "contacts.db"), ("CONTACTS_PAGE_DEFAULT", "0"), ("CONTACTS_PAGE_MAX", "1001"),
    ("CONTACTS_BATCH", "yes"), ("CONTACTS_CURSOR_KEY", "short"), ("GOOGLE_CLOUD_PROJECT", "My Project"),
    ("SERVER_ALLOWED_HOSTS", "a/b"), ("SERVER_ALLOWED_HOSTS", "a,,b"), ("SERVER_ALLOWED_HOSTS", "*"),
    ("SERVER_ALLOWED_HOSTS", "a.*.b"), ("SERVER_ALLOWED_HOSTS", "a:80"), ("SERVER_HEAD_BYTES", "1023"),
    ("SERVER_HEAD_FIELDS", "7"), ("SERVER_URL_BYTES", "8193"), ("SERVER_HEAD_TIMEOUT", "0"), ("SERVER_BODY_TIMEOUT", "-1"),
    ("SERVER_BODY_RATE", "1.5"), ("SERVER_WRITE_TIMEOUT", "1e3"), ("SERVER_WRITE_RATE", "-1"), ("SERVER_IDLE_TIMEOUT", "x"),
    ("SERVER_DRAIN_TIMEOUT", "601"), ("SERVER_MAX_CONNECTIONS", "0"),
    ("CACHE", "yes"), ("CACHE_ROUTES", "/api/x"), ("CACHE_ROUTES", "/api/x ttl=-1"), ("CACHE_ROUTES", "/api/x ttl=1 scope=all"),
    ("CACHE_ROUTES", "/a ttl=1, /a ttl=2"), ("CACHE_ROUTES", "/a/../b ttl=1"), ("CACHE_ROUTES", "/a ttl=1 ttl=2"),
    ("CACHE_MEMORY", "0"), ("CACHE_ENTRY_LIMIT", "10241"), ("CACHE_LONGEST", "0"), ("CACHE_TRUST", "1001"),
    ("COMPRESSION", "yes"), ("COMPRESSION_CODINGS", "br,deflate"), ("COMPRESSION_CODINGS", "br,br"),
    ("COMPRESSION_MIN_BYTES", "0"), ("COMPRESSION_BROTLI_QUALITY", "11"), ("COMPRESSION_ZSTD_LEVEL", "0"),
    ("COMPRESSION_GZIP_LEVEL", "6"),
    ("ROUTES", "crm"), ("ROUTES", "crm:/a/../b"), ("ROUTES", "other:/a"), ("ROUTES", "crm:/a,slack:/a"),
    ("ROUTES", "crm:/health"), ("ROUTES", "crm:/a@0.5s"), ("UPSTREAM_TIMEOUT_LONG", "off"),
    ("UPSTREAM_LONG_SEGMENTS", "ai,/generate"),
    ("UPSTREAM_LONG_SEGMENTS", "ai,"), ("UPSTREAM_STREAM_IDLE", "0"), ("UPSTREAM_CONNECT_TIMEOUT", "61"),
    ("UPSTREAM_CA_FILE", "/no/such/file.pem"), ("UPSTREAM_CA_FILE", "pyproject.toml"), ("UPSTREAM_MAX_IN_FLIGHT", "0"),
    ("UPSTREAM_QUEUE", "-1"), ("UPSTREAM_QUEUE_TIMEOUT", "0"), ("UPSTREAM_RETRIES", "4"), ("UPSTREAM_RETRY_BUDGET", "1.1"),
    ("UPSTREAM_RETRY_PAUSE", "11"), ("BREAKER", "OFF"), ("BREAKER_FAILURE_SHARE", "0"), ("BREAKER_SLOW_SHARE", "50"),
    ("BREAKER_SLOW_AFTER", "1.01"), ("BREAKER_WINDOW", "0"), ("BREAKER_MIN_CALLS", "0"), ("BREAKER_HALF_OPEN_CALLS", "0"),
    ("BREAKER_OPEN_SECONDS", "0"), ("BREAKER_HALF_OPEN_SECONDS", "3601"), ("OPERATOR_TOKEN", "short"),
    ("OPERATOR_TOKEN", "sixteen letters!"), ("DIAGNOSTICS", "true"), ("UPSTREAM_TIMEOUT", "OFF"),
    ("REDIS_URL", "10.0.0.3:6379"), ("REDIS_URL", "http://r:1"), ("REDIS_URL", "redis://"), ("REDIS_URL", "redis://r:0"),
    ("REDIS_URL", "redis://r/x"), ("REDIS_URL", "redis://r?db=1"), ("REDIS_URL", "unix:///tmp/s"), ("REDIS_POOL_MAX", "0"),
    ("REDIS_TIMEOUT", "0"), ("REDIS_SHARED_CLIENT", "yes"), ("RATE_LIMIT_ADDRESS", "100"), ("RATE_LIMIT_ADDRESS", "0/60"),
    ("RATE_LIMIT_ADDRESS", "1/0"), ("RATE_LIMIT_USER", "1/86401"), ("RATE_LIMIT_USER", "1e3/60"),
    ("RATE_LIMIT_TRUSTED_HOPS", "11"), ("RATE_LIMIT_KEYS", "99"), ("RATE_LIMIT_INSTANCES", "0"),
    ("AUTH_FIREBASE_PROJECT", "My"), ("AUTH_KEYS", "keys.json"), ("AUTH_KEYS", "http://keys.example/"), ("AUTH_KEYS", "//x/y"),
    ("AUTH_KEYS", "https://u:p@x/"), ("AUTH_KEYS", "https://x:0/"), ("AUTH_KEYS", "https://x:99999/"), ("AUTH_KEYS", "https://x/#k"),
    ("AUTH_KEYS", "file:///keys"), ("AUTH_KEYS", "http://127.0.0.1.evil/"), ("AUTH_ISSUER", "a b"), ("AUTH_AUDIENCE", "é"),
    ("AUTH_TENANT_CLAIM", "a b"), ("AUTH_USER_CLAIM", "\t"), ("AUTH_ROLES_CLAIM", "x" * 257), ("AUTH_LEEWAY", "61"),
    ("AUTH_LEEWAY", "-1"), ("AUTH_KEYS_REFETCH", "0"), ("AUTH_KEYS_STALE", "604801"), ("AUTH_REMEMBERED", "-1"),
    ("FIREBASE_AUTH_EMULATOR_HOST", "here"),
    ("WS", "yes"), ("WS_MAX_PER_USER", "0"), ("WS_MAX_PER_USER", "5.5"), ("WS_MAX_PER_USER", "OFF"), ("WS_MAX_TOTAL", "-1"),
    ("WS_LEASE", "0"), ("WS_LEASE", "off"), ("WS_CONNECT_TIMEOUT", "0"), ("WS_IDLE_TIMEOUT", "0"), ("WS_MAX_AGE", "0.5"),
    ("WS_MAX_AGE", "nan"), ("WS_PING_INTERVAL", "0"), ("WS_PING_TIMEOUT", "301"), ("WS_POLL_GAP", "0"),
    ("WS_MESSAGE_BYTES", "1023"), ("WS_MESSAGE_RATE", "0"), ("WS_BACKLOG_BYTES", "1"),
    ("K_SERVICE", "a\nb"), ("K_REVISION", "é"), ("K_CONFIGURATION", "{}"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_named_in_one_line(name: str, value: str) -> None:
    with pytest.raises(SettingsFault) as caught:
        read({name: value})
    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 300


def test_every_setting_has_a_value_that_is_refused() -> None:
    assert {name for name, _ in WRONG} == {setting.env for setting in TABLE}


def test_the_defaults_are_the_hardened_ones() -> None:
    settings = read({})
    assert settings == Settings()
    assert (settings.environment, settings.error_detail, settings.log_level, settings.log_format) == (
        "production", "none", "info", "json",
    )  # fmt: skip
    assert not settings.cors_allowed_origins.allows("http://localhost:3000")


def test_an_empty_variable_counts_as_unset() -> None:
    assert read({setting.env: "" for setting in TABLE}) == Settings()


def test_the_crm_needs_its_database() -> None:
    assert read({"ROLE": "crm", "CONTACTS_STORE": "sqlite:///x.db"}).contacts_store == "sqlite:///x.db"
    with pytest.raises(SettingsFault, match=r"^CONTACTS_STORE: required for ROLE=crm$"):
        read({"ROLE": "crm"})


def test_a_firebase_project_stands_for_its_keys_issuer_and_audience() -> None:
    found = read({"AUTH_FIREBASE_PROJECT": "proj-1"})
    assert found.auth_issuer == "https://securetoken.google.com/proj-1"
    assert found.auth_audience == "proj-1"
    assert found.auth_keys.startswith(
        "https://www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount"
    )
    own = read({"AUTH_FIREBASE_PROJECT": "proj-1", "AUTH_KEYS": "/etc/keys.json"})
    assert (own.auth_keys, own.auth_audience) == ("/etc/keys.json", "proj-1")


@pytest.mark.parametrize(
    ("given", "named"),
    [("AUTH_KEYS", "AUTH_ISSUER"), ("AUTH_ISSUER", "AUTH_KEYS"), ("AUTH_AUDIENCE", "AUTH_KEYS")],
)
def test_half_of_an_authentication_is_refused(given: str, named: str) -> None:
    with pytest.raises(SettingsFault, match=f"^{named}: required with {given}$"):
        read({given: "/etc/keys.json"})


def test_the_emulators_unsigned_tokens_are_impossible_on_the_platform() -> None:
    emulator = {"FIREBASE_AUTH_EMULATOR_HOST": "127.0.0.1:9099"}
    assert read(emulator).auth_keys == ""
    with pytest.raises(SettingsFault, match=r"^FIREBASE_AUTH_EMULATOR_HOST: must not be set on Cloud Run"):
        read({**emulator, "K_SERVICE": "svc"})


def test_an_upstream_url_is_read_into_its_parts() -> None:
    settings = read({"UPSTREAM_CRM_URL": "https://crm.example.com/base/", "UPSTREAM_SLACK_URL": "http://127.0.0.1:81"})
    assert settings.upstream_crm_url == UpstreamUrl(True, "crm.example.com", 443, "/base")
    assert settings.upstream_slack_url is not None
    assert settings.upstream_slack_url.authority == "127.0.0.1:81"


def test_the_table_and_the_settings_name_the_same_things() -> None:
    assert [setting.attribute for setting in TABLE] == [each.name for each in fields(Settings)]


def test_what_is_shown_can_be_read_again() -> None:
    env = {
        "CORS_ALLOWED_ORIGINS": "https://*.x.com,http://a:1",
        "LOG_SAMPLE_RATE": "0.25",
        "UPSTREAM_CRM_URL": "http://a/b",
    }
    lines = dict(line.split("=", 1) for line in show(read(env)).splitlines())
    assert read(lines) == read(env)


def test_a_secret_is_not_shown_and_not_named_in_a_fault() -> None:
    secret = Setting("K_SERVICE", str, "", "", secret=True)
    assert show(replace(Settings(), k_service="hunter2"), (secret,)) == "K_SERVICE=********\n"


SECRETS = [
    ("UPSTREAM_CRM_URL", "http://u:hunter2@crm"), ("UPSTREAM_CRM_URL", "http://u:a/hunter2@crm"),
    ("UPSTREAM_CRM_URL", "u:hunter2@crm"),
    ("UPSTREAM_CRM_URL", "http://u:a?hunter2@crm"), ("UPSTREAM_CRM_URL", "http://u:a@hunter2@crm"),
    ("UPSTREAM_CRM_URL", "http:/u:hunter2@crm"), ("UPSTREAM_CRM_URL", "http:\\u:hunter2@crm"),
    ("UPSTREAM_CRM_URL", "http://" + "u" * 70 + ":hunter2@crm"), ("UPSTREAM_CRM_URL", "http://crm?key=hunter2"),
    ("UPSTREAM_CRM_URL", "http://crm#hunter2"), ("AUTH_KEYS", "https://u:hunter2@keys.example/"),
    ("AUTH_KEYS", "http://keys.example/?key=hunter2"), ("ROUTES", "crm:http://u:hunter2@crm"),
    ("CORS_ALLOWED_ORIGINS", "https://a.example,https://u:hunter2@b.example"), ("CONTACTS_STORE", "postgres://u:hunter2@db"),
    ("CORS_ALLOWED_ORIGINS", "u:hunter2@b.example,https://a.example"), ("UPSTREAM_CRM_URL", "redis:/u:hunter2@crm"),
    ("ROUTES", "crm:/a,https://u:hunter2@crm"),
    ("UPSTREAM_CA_FILE", "https://u:hunter2@h/ca"), ("SERVER_ALLOWED_HOSTS", "u:hunter2@h"), ("REDIS_URL", "http://:hunter2@r"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), SECRETS)
def test_a_wrong_value_is_named_without_the_password_in_it(name: str, value: str) -> None:
    with pytest.raises(SettingsFault) as caught:
        read({name: value})
    assert str(caught.value).startswith(f"{name}: ")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_a_wrong_route_is_shown_with_its_deadline(upstream: str) -> None:
    with pytest.raises(SettingsFault, match=rf"'{upstream}:/a@0\.5s'"):
        read({"ROUTES": f"{upstream}:/a@0.5s"})


def test_the_query_of_a_url_is_not_shown_and_the_rest_of_it_is() -> None:
    auth = {"AUTH_ISSUER": "x", "AUTH_AUDIENCE": "x", "AUTH_KEYS": "https://keys.example/set@1?key=hunter2"}
    assert "AUTH_KEYS=https://keys.example/set@1?********\n" in show(read(auth))
    assert "securetoken@system.gserviceaccount.com\n" in show(read({"AUTH_FIREBASE_PROJECT": "proj-1"}))


def test_the_longest_head_fits_into_what_is_read_ahead() -> None:
    assert read({"SERVER_HEAD_BYTES": str(HIGH_WATER)}).server_head_bytes == HIGH_WATER
    with pytest.raises(SettingsFault):
        read({"SERVER_HEAD_BYTES": str(HIGH_WATER + 1)})


def test_the_reference_page_is_the_table() -> None:
    assert REFERENCE.read_text() == reference()
