from __future__ import annotations

import pytest
from google.cloud import run_v2

from xgw.local import rules
from xgw.local.refusal import Refusal

GEN1, GEN2 = 1, 2


def service(
    cpu: str = "",
    memory: str = "",
    *,
    generation: int = 0,
    idle: bool = True,
    env: tuple[str, ...] = (),
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    **template,
):
    limits = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    container = run_v2.Container(
        image="app",
        resources=run_v2.ResourceRequirements(limits=limits, cpu_idle=idle),
        env=[run_v2.EnvVar(name=name, value="1") for name in env],
    )
    made = run_v2.Service(
        labels=labels,
        template=run_v2.RevisionTemplate(
            containers=[container], execution_environment=generation, annotations=annotations, **template
        ),
    )
    return run_v2.Service.pb(made)


def settle(message):
    rules.populate_service(message)
    rules.check_service(message)
    return message


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"cpu": "1000m", "memory": "512Mi", "generation": GEN2},
        {"memory": "128Mi"},
        {"memory": "256Mi", "generation": GEN1},
        {"cpu": "1", "memory": "4Gi"},
        {"cpu": "2", "memory": "8Gi"},
        {"cpu": "4", "memory": "2Gi"},
        {"cpu": "4", "memory": "16Gi"},
        {"cpu": "6", "memory": "24Gi"},
        {"cpu": "8", "memory": "32Gi"},
        {"cpu": "0.08", "memory": "512Mi"},
        {"cpu": "500m", "memory": "1Gi"},
        {"cpu": "0.5", "memory": "1Gi", "max_instance_request_concurrency": 1},
        {"memory": "536870912"},
        {"memory": "512M"},
        {"env": ("A", "B_2", "with.dot-and-dash")},
        {"max_instance_request_concurrency": 1000},
        {"timeout": {"seconds": 3600}},
        {"labels": {"team": "a"}, "annotations": {"example.com/note": "x"}},
        {"idle": False},
    ],
)
def test_legal_templates_are_accepted(wish):
    settle(service(**wish))


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"memory": "127Mi"}, "between 128Mi and 4Gi"),
        (
            {"memory": "256Mi", "generation": GEN2},
            "gen2 execution environment. For 1.0 CPU, memory must be between 512Mi",
        ),
        ({"memory": "5Gi"}, "between 128Mi and 4Gi"),
        ({"cpu": "2", "memory": "9Gi"}, "For 2.0 CPU, memory must be between 128Mi and 8Gi"),
        ({"cpu": "4", "memory": "1Gi"}, "between 2Gi and 16Gi"),
        ({"cpu": "8", "memory": "33Gi"}, "between 4Gi and 32Gi"),
        ({"cpu": "0.4", "memory": "513Mi"}, "For 0.4 CPU, memory must be between 128Mi and 512Mi"),
        ({"cpu": "0.9", "memory": "1025Mi"}, "between 128Mi and 1Gi"),
        ({"cpu": "3"}, "Invalid value specified for cpu"),
        ({"cpu": "0.07"}, "Invalid value specified for cpu"),
        ({"cpu": "0.5005"}, "Invalid value specified for cpu"),
        ({"cpu": "1.5"}, "Invalid value specified for cpu"),
        ({"cpu": "16", "memory": "32Gi"}, "Invalid value specified for cpu"),
        ({"cpu": "lots"}, "not a quantity"),
        ({"memory": "512MB"}, "not a quantity"),
        ({"cpu": "0.5", "max_instance_request_concurrency": 2}, "cpu < 1 is not supported with concurrency > 1"),
        ({"cpu": "0.5", "idle": False}, "cpu < 1 is not supported with cpu always allocated"),
        ({"cpu": "0.5", "generation": GEN2}, "cpu < 1 is not supported with gen2"),
        ({"max_instance_request_concurrency": 1001}, "not between 1 and 1000"),
        ({"max_instance_request_concurrency": -1}, "not between 1 and 1000"),
        ({"timeout": {"seconds": 3601}}, "at most 3600 seconds"),
        ({"timeout": {"seconds": -1}}, "more than 0"),
        ({"scaling": {"min_instance_count": 3, "max_instance_count": 2}}, "0 <= min <= max"),
        ({"env": ("A", "A")}, "'A' is given twice"),
        ({"env": ("1A",)}, "not a legal variable name"),
        ({"env": ("",)}, "not a legal variable name"),
        ({"env": ("A=B",)}, "not a legal variable name"),
        ({"env": ("PORT", "K_SERVICE")}, "reserved env names were provided: K_SERVICE, PORT"),
        ({"env": ("K_REVISION",)}, "reserved env names"),
        ({"env": ("K_CONFIGURATION",)}, "reserved env names"),
        ({"labels": {"run.googleapis.com/x": "1"}}, "reserved namespace"),
        ({"annotations": {"autoscaling.knative.dev/maxScale": "1"}}, "reserved namespace"),
        ({"annotations": {"serving.knative.dev/x": "1"}}, "reserved namespace"),
        ({"labels": {"cloud.googleapis.com/location": "x"}}, "reserved namespace"),
        ({"volumes": [{"name": "v", "nfs": {"server": "s", "path": "/"}}], "memory": "256Mi"}, "between 512Mi"),
        ({"vpc_access": {"connector": "c", "network_interfaces": [{"network": "n"}]}}, "cannot both be set"),
        ({"vpc_access": {"network_interfaces": [{"network": "n"}, {"network": "m"}]}}, "exactly one interface"),
        ({"vpc_access": {"network_interfaces": [{"tags": ["t"]}]}}, "a network or a subnetwork is required"),
    ],
)
def test_illegal_templates_are_refused_with_the_reason(wish, sentence):
    with pytest.raises(Refusal) as refused:
        settle(service(**wish))
    assert refused.value.code == "INVALID_ARGUMENT"
    assert sentence in refused.value.message


def test_less_than_one_cpu_takes_one_request_at_a_time_by_default():
    assert settle(service(cpu="0.5")).template.max_instance_request_concurrency == 1


def test_a_template_without_a_container_or_an_image_is_refused():
    for template in (run_v2.RevisionTemplate(), run_v2.RevisionTemplate(containers=[run_v2.Container()])):
        with pytest.raises(Refusal):
            settle(run_v2.Service.pb(run_v2.Service(template=template)))


def test_filling_in_defaults_twice_changes_nothing_more():
    once = settle(service())
    twice = settle(type(once).FromString(once.SerializeToString()))
    assert once == twice
