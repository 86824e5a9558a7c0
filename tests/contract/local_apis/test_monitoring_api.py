from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.api.metric_pb2 import MetricDescriptor
from google.api_core import exceptions
from google.cloud import monitoring_v3

from tests.helpers.local_cloud import LocalCloud

PREFIX = "run.googleapis.com/"
MEMORY = f'metric.type="{PREFIX}container/memory/utilizations"'


@pytest.fixture
def filled(cloud: LocalCloud) -> LocalCloud:
    def fill() -> None:
        for fraction in (0.25, 0.255, 0.50):
            cloud.metrics.add_memory_sample("shop", "shop-1", fraction)
        cloud.metrics.add_memory_sample("other", "other-1", 0.9)
        for latency, code in ((10, "2xx"), (12, "2xx"), (300, "5xx")):
            cloud.metrics.add_request("shop", "shop-1", code, latency)

    cloud.call(fill)
    return cloud


def listed(cloud: LocalCloud, filter: str, **request) -> list[monitoring_v3.TimeSeries]:
    now = datetime.now(UTC)
    window = monitoring_v3.TimeInterval(start_time=now - timedelta(hours=1), end_time=now + timedelta(minutes=2))
    wish = {"name": "projects/xgw-local", "filter": filter, "interval": window, **request}
    return list(cloud.client(monitoring_v3.MetricServiceClient).list_time_series(request=wish))


def test_memory_is_a_distribution_of_fractions_in_steps_of_a_hundredth(filled: LocalCloud):
    (series,) = listed(filled, f'{MEMORY} AND resource.labels.service_name="shop"')
    assert series.metric_kind == MetricDescriptor.MetricKind.DELTA
    assert series.value_type == MetricDescriptor.ValueType.DISTRIBUTION
    assert series.resource.type == "cloud_run_revision"
    assert series.resource.labels["revision_name"] == "shop-1"
    told = series.points[0].value.distribution_value
    assert told.count == 3
    assert told.mean == pytest.approx(0.335)
    linear = told.bucket_options.linear_buckets
    assert (linear.num_finite_buckets, linear.width, linear.offset) == (100, 0.01, 0)
    assert {index: count for index, count in enumerate(told.bucket_counts) if count} == {26: 2, 51: 1}
    assert series.points[0].interval.start_time < series.points[0].interval.end_time


def test_requests_are_counted_by_class_of_answer(filled: LocalCloud):
    series = listed(filled, f'metric.type="{PREFIX}request_count" AND resource.type="cloud_run_revision"')
    counts = {one.metric.labels["response_code_class"]: one.points[0].value.int64_value for one in series}
    assert counts == {"2xx": 2, "5xx": 1}


def test_latencies_are_distributions_in_milliseconds(filled: LocalCloud):
    filter_ = f'metric.type="{PREFIX}request_latencies" AND metric.labels.response_code_class="2xx"'
    (series,) = listed(filled, filter_)
    told = series.points[0].value.distribution_value
    assert (told.count, told.mean) == (2, pytest.approx(11))
    assert series.unit == "ms"


def test_headers_alone_have_no_points(filled: LocalCloud):
    view = monitoring_v3.ListTimeSeriesRequest.TimeSeriesView.HEADERS
    assert all(not series.points for series in listed(filled, MEMORY, view=view))


def test_series_come_in_pages(filled: LocalCloud):
    assert len(listed(filled, MEMORY, page_size=1)) == 2


def test_there_is_nothing_before_the_first_sample_or_elsewhere(filled: LocalCloud):
    old = datetime.now(UTC) - timedelta(days=1)
    assert listed(filled, MEMORY, interval={"start_time": old - timedelta(hours=1), "end_time": old}) == []
    assert listed(filled, MEMORY, name="projects/other") == []
    assert listed(filled, 'metric.type="run.googleapis.com/container/cpu/utilizations"') == []
    assert listed(filled, f'{MEMORY} AND resource.type="gce_instance"') == []


@pytest.mark.parametrize(
    "wish",
    [
        {"filter": 'resource.type="cloud_run_revision"'},
        {"filter": f"{MEMORY} OR {MEMORY}"},
        {"filter": f'{MEMORY} AND metric.labels.colour="blue"'},
        {"interval": {}},
        {"aggregation": {"alignment_period": {"seconds": 60}, "per_series_aligner": "ALIGN_DELTA"}},
        {"order_by": "x"},
    ],
)
def test_what_is_not_supported_is_refused(filled: LocalCloud, wish):
    with pytest.raises(exceptions.InvalidArgument):
        listed(filled, wish.pop("filter", MEMORY), **wish)


def test_metrics_cannot_be_written_to_cloud_run_revision(cloud: LocalCloud):
    client = cloud.client(monitoring_v3.MetricServiceClient)
    series = monitoring_v3.TimeSeries(
        metric={"type": "custom.googleapis.com/hits"}, resource={"type": "cloud_run_revision"}
    )
    with pytest.raises(exceptions.InvalidArgument, match="Metrics cannot be written to cloud_run_revision"):
        client.create_time_series(name="projects/xgw-local", time_series=[series])
    series.resource.type = "generic_task"
    with pytest.raises(exceptions.MethodNotImplemented):
        client.create_time_series(name="projects/xgw-local", time_series=[series])
