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
    "env.MODE": st.text(min_size=1, max_size=20).filter(lambda text: not text.startswith("secret:")),
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
