from __future__ import annotations

import pytest
from google.cloud import run_v2
from hypothesis import given
from hypothesis import strategies as st

from xgw.cloud import fields


def template(*variables: run_v2.EnvVar) -> run_v2.RevisionTemplate:
    resources = run_v2.ResourceRequirements(limits={"memory": "512Mi"}, cpu_idle=True, startup_cpu_boost=True)
    return run_v2.RevisionTemplate(
        containers=[run_v2.Container(image="app@sha256:1", resources=resources, env=list(variables))]
    )


def secret(name: str) -> run_v2.EnvVar:
    key = run_v2.SecretKeySelector(secret="db", version="3")
    return run_v2.EnvVar(name=name, value_source=run_v2.EnvVarSource(secret_key_ref=key))


def test_a_secret_is_read_as_a_reference_and_written_back_as_one():
    made = template(secret("DB"))
    assert fields.read(made)["env.DB"] == "secret:db/3"
    other = template()
    fields.write(other, {"env.DB": "secret:db/3"})
    assert other.containers[0].env[0] == secret("DB")


@given(st.sampled_from(["", "secret:", "literal:", "literal:secret:", "masked:"]), st.text(max_size=20))
def test_a_literal_stays_a_literal_whatever_it_begins_with(begins, rest):
    made = template(run_v2.EnvVar(name="MODE", value=begins + rest))
    other = template(secret("MODE"))
    fields.write(other, {"env.MODE": fields.read(made)["env.MODE"]})
    assert other.containers[0].env[0] == made.containers[0].env[0]


@pytest.mark.parametrize(
    "vpc",
    [
        "direct:default:default",
        "direct::sub",
        "direct:net:",
        "direct:projects/p/global/networks/n:projects/p/regions/r/subnetworks/s:tag-a,tag-b",
        "connector:projects/p/locations/r/connectors/c",
    ],
)
def test_vpc_access_is_read_as_it_was_written_and_put_back_to_none_at_all(vpc):
    made, before = template(), template()
    fields.write(made, {"vpc": vpc, "vpc_egress": "all-traffic"})
    assert (fields.read(made)["vpc"], fields.read(made)["vpc_egress"]) == (vpc, "all-traffic")
    fields.write(made, {"vpc": "direct:other:other", "vpc_egress": "private-ranges-only"})
    fields.write(made, {"vpc": vpc})
    assert fields.read(made)["vpc"] == vpc
    fields.write(made, {"vpc": None, "vpc_egress": None})
    assert run_v2.RevisionTemplate.serialize(made) == run_v2.RevisionTemplate.serialize(before)


CLEAR = {
    "API_TOKEN": "hunter2",
    "SENTRY_DSN": "https://hunter2@sentry.example/1",
    "REDIS_URL": "redis://:hunter2@10.0.0.3:6379",
    "SIGNING": "-----BEGIN PRIVATE KEY-----\nhunter2",
    "DB_SECRET": "secret:hunter2/1",
    "SMTP_PASS": "hunter2",
    "REDIS_AUTH": "hunter2",
    "AUTH_KEYS_SECRET": "hunter2",
    "ALERT_WEBHOOK_URL": "https://example.com/hunter2",
    "DATABASE": "postgres://me:hunter2/of#many?signs@db/x",
    "CONNECTION": "Server=db;Password='hunter2 hunter2'",
    "CONNECTION_HASH": "password=ab#hunter2",
    "STORAGE": "AccountName=a;AccountKey=hunter2==",
    "CONFIG": '{"client_secret": "hunter2"}',
    "CONFIG_YAML": "user: me\npassword: hunter2",
    "SIGNED": "https://example.com/?sig=hunter2",
    "BOT": "xoxb-123456789012-hunter2",
    "HOOK": "https://hooks.slack.com/services/T0/B0/hunter2",
    "HEADER": "Authorization: Bearer hunter2",
    "TICKET": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.hunter2",
}


@pytest.mark.parametrize("name", CLEAR)
def test_a_secret_in_clear_is_read_masked_and_written_back_as_it_was(name):
    made = template(run_v2.EnvVar(name=name, value=CLEAR[name]))
    shown = fields.read(made)[f"env.{name}"]
    assert shown.startswith("masked:")
    assert "hunter2" not in shown
    assert fields.read(template(run_v2.EnvVar(name=name, value=CLEAR[name] + "3")))[f"env.{name}"] != shown
    other = template()
    fields.write(other, fields.reveal({f"env.{name}": shown, "memory": "1Gi"}, [template(secret(name)), made]))
    assert other.containers[0].env[0] == made.containers[0].env[0]
    with pytest.raises(LookupError, match=name):
        fields.reveal({f"env.{name}": shown}, [other, template()][1:])
    with pytest.raises(LookupError, match=name):
        fields.write(template(), {f"env.{name}": shown})


def test_of_an_address_only_the_login_is_masked():
    made = template(run_v2.EnvVar(name="REDIS_URL", value="redis://me:pw@10.0.0.3:6379/0?token=x&db=1"))
    assert fields.read(made)["env.REDIS_URL"].endswith(":redis://***@10.0.0.3:6379/0?token=***&db=1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTH_KEYS", "https://issuer.example/keys.json"),
        ("RATE_LIMIT_KEYS", "1000"),
        ("TOKEN_FILE", "/run/token"),
        ("CORS_ALLOWED_ORIGINS", "https://a.example,https://*.b.example"),
        ("CACHE_ROUTES", "/api/v2/slack ttl=30 scope=user"),
        ("API_TOKEN", ""),
        ("UPSTREAM", "http://host:8080/path?mail=me@example.com"),
        ("AUTHOR", "author=me, tokens=3, bypass=1"),
        ("AUTH_KEYS_STALE", "86400"),
        ("MODEL", "risk-assessment"),
    ],
)
def test_what_only_sounds_like_a_secret_is_read_as_it_is(name, value):
    assert fields.read(template(run_v2.EnvVar(name=name, value=value)))[f"env.{name}"] == value


def test_setting_one_variable_leaves_the_others_and_their_order():
    made = template(run_v2.EnvVar(name="A", value="1"), secret("DB"), run_v2.EnvVar(name="Z", value="9"))
    fields.write(made, {"env.A": "2", "env.NEW": "n"})
    assert [variable.name for variable in made.containers[0].env] == ["A", "DB", "Z", "NEW"]
    assert fields.read(made)["env.DB"] == "secret:db/3"


def test_none_clears_a_field_and_it_is_absent_then():
    made = template(run_v2.EnvVar(name="A", value="1"))
    fields.write(made, {"execution_environment": "gen1", "concurrency": "20", "timeout": "60s"})
    fields.write(made, {"env.A": None, "execution_environment": None, "concurrency": None, "timeout": None})
    assert fields.read(made) == {"image": "app@sha256:1", "memory": "512Mi"}


def test_a_change_of_memory_keeps_the_billing_mode_and_the_boost():
    made = template()
    fields.write(made, {"memory": "1Gi"})
    resources = made.containers[0].resources
    assert (resources.limits["memory"], resources.cpu_idle, resources.startup_cpu_boost) == ("1Gi", True, True)


def test_an_unknown_field_is_never_silently_ignored():
    with pytest.raises(KeyError):
        fields.write(template(), {"memroy": "1Gi"})


VALUES = {
    "memory": st.sampled_from(["512Mi", "1Gi", "2Gi"]),
    "cpu": st.sampled_from(["1", "2", "500m"]),
    "execution_environment": st.sampled_from(["gen1", "gen2"]),
    "concurrency": st.integers(1, 1000).map(str),
    "timeout": st.integers(1, 3600).map(lambda seconds: f"{seconds}s"),
    "image": st.just("app@sha256:2"),
    "env.MODE": st.text(min_size=1, max_size=20).filter(
        lambda text: not text.startswith(("secret:", "literal:", "masked:"))
    ),
}


@given(st.fixed_dictionaries({}, optional=VALUES))
def test_what_is_written_is_what_is_read(wanted):
    made = template()
    fields.write(made, wanted)
    assert {name: fields.read(made)[name] for name in wanted} == wanted


def test_with_sidecars_the_container_that_gets_the_requests_is_meant():
    app = run_v2.Container(image="app@sha256:1", ports=[run_v2.ContainerPort(container_port=8080)])
    template = run_v2.RevisionTemplate(containers=[run_v2.Container(image="otel@sha256:1"), app])
    fields.write(template, {"memory": "512Mi", "env.MODE": "strict"})
    assert fields.read(template) == {"memory": "512Mi", "env.MODE": "strict", "image": "app@sha256:1"}
    assert not template.containers[0].env
    assert not template.containers[0].resources.limits
