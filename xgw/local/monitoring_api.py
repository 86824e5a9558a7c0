"""google.monitoring.v3 on the wire: ListTimeSeries over what the revisions did, and who may not write.

Raw series only: no aligner or reducer is carried out here, and asking for one is refused rather than answered wrongly.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from google.cloud import monitoring_v3
from google.protobuf import empty_pb2

from xgw.local.filters import Term, parse, unsupported
from xgw.local.logging_api import revision_labels
from xgw.local.messages import Message
from xgw.local.naming import Place
from xgw.local.refusal import Refusal, invalid
from xgw.local.rpc import Method, generic_handler, page_limit, page_number, page_token
from xgw.local.stores import (
    LATENCY_BUCKETS,
    MEMORY_BUCKETS,
    METRICS,
    Buckets,
    Interval,
    MetricName,
    MetricStore,
    Series,
)

PREFIX = "run.googleapis.com/"
DELTA, INT64, DISTRIBUTION, HEADERS = 2, 2, 5, 1  # google.api.MetricDescriptor, ListTimeSeriesRequest.TimeSeriesView
_TimeSeries: Any = monitoring_v3.TimeSeries.pb()
_Point: Any = monitoring_v3.Point.pb()
_Response: Any = monitoring_v3.ListTimeSeriesResponse.pb()
_SELECTORS = {
    f"{where}.{labels}.{name}": name
    for labels in ("labels", "label")
    for where, name in (("resource", "service_name"), ("resource", "revision_name"), ("metric", "response_code_class"))
}
_UNITS = {"container/memory/utilizations": "10^2.%", "request_count": "1", "request_latencies": "ms"}


def monitoring_handlers(metrics: MetricStore, home: Place) -> list[Any]:
    """The handler of the service."""

    async def list_series(request: Message) -> Message:
        _refuse_unsupported(request)
        metric, wanted = _selection(request.filter)
        start, end = _interval(request.interval)
        if metric is None or request.name != f"projects/{home.project}":
            return _Response()
        found = [series for series in metrics.series(metric, start, end) if wanted(series)]
        limit, offset = page_limit(request.page_size, most=100_000), page_number(request.page_token)
        page = found[offset : offset + limit]
        response = _Response(time_series=[_series(home, metric, one, request.view == HEADERS) for one in page])
        if offset + limit < len(found):
            response.next_page_token = page_token(str(offset + limit))
        return response

    async def create_series(request: Message) -> Message:
        for series in request.time_series:
            if series.resource.type == "cloud_run_revision":
                invalid(
                    "Metrics cannot be written to cloud_run_revision. See "
                    "https://cloud.google.com/monitoring/custom-metrics/creating-metrics#which-resource for a list of "
                    "writable resource types."
                )
        raise Refusal("UNIMPLEMENTED", "The embedded cloud does not store written time series yet.")

    requests = monitoring_v3.ListTimeSeriesRequest.pb(), monitoring_v3.CreateTimeSeriesRequest.pb()
    return [
        generic_handler(
            "google.monitoring.v3.MetricService",
            {
                "ListTimeSeries": Method(requests[0], _Response, list_series),
                "CreateTimeSeries": Method(requests[1], empty_pb2.Empty, create_series),
            },
        )
    ]


def _refuse_unsupported(request: Message) -> None:
    for name in ("aggregation", "secondary_aggregation"):
        if request.HasField(name):
            invalid(f"{name}: not supported by the embedded cloud, which answers raw series.")
    if request.order_by:
        invalid("order_by: not supported by the embedded cloud.")


def _selection(text: str) -> tuple[MetricName | None, Callable[[Series], bool]]:
    """The metric a filter names (None: one that nothing here has) and a test of its series."""
    metric, elsewhere = "", False
    terms: list[Term] = []
    for term in parse(text):
        if term.op != "=":
            unsupported(f"{term.field}{term.op}")
        if term.field == "metric.type":
            metric = term.value
        elif term.field == "resource.type":
            elsewhere = term.value != "cloud_run_revision"
        elif term.field in _SELECTORS:
            terms.append(term)
        else:
            unsupported(term.field)
    if not metric:
        invalid("filter: must specify a single metric.type.")
    known = next((name for name in METRICS if PREFIX + name == metric), None)
    return None if elsewhere else known, lambda series: all(_has(series, term) for term in terms)


def _has(series: Series, term: Term) -> bool:
    labels = {
        "service_name": series.service,
        "revision_name": series.revision,
        "response_code_class": series.code_class,
    }
    return labels[_SELECTORS[term.field]] == term.value


def _interval(interval: Message) -> tuple[datetime, datetime]:
    if not interval.HasField("end_time"):
        invalid("interval.end_time: required.")
    end = interval.end_time.ToDatetime(tzinfo=UTC)
    start = interval.start_time.ToDatetime(tzinfo=UTC) if interval.HasField("start_time") else end
    if start > end:
        invalid("interval: start_time must not be later than end_time.")
    # Without a start the newest point is meant; the shortest step of a timestamp below its own moment finds it.
    return (start if start < end else end - timedelta(microseconds=1)), end


def _series(home: Place, metric: MetricName, series: Series, headers: bool) -> Message:
    counter = metric == "request_count"
    message = _TimeSeries(metric_kind=DELTA, value_type=INT64 if counter else DISTRIBUTION, unit=_UNITS[metric])
    message.metric.type = PREFIX + metric
    if series.code_class:
        message.metric.labels["response_code_class"] = series.code_class
    message.resource.type = "cloud_run_revision"
    message.resource.labels.update(revision_labels(home, series.service, series.revision))
    buckets = MEMORY_BUCKETS if metric == "container/memory/utilizations" else LATENCY_BUCKETS
    if not headers:
        message.points.extend(_point(one, None if counter else buckets) for one in series.intervals)
    return message


def _point(interval: Interval, buckets: Buckets | None) -> Message:
    point = _Point()
    point.interval.start_time.FromDatetime(interval.start)
    point.interval.end_time.FromDatetime(interval.end)
    if buckets is None:
        point.value.int64_value = interval.count
        return point
    distribution = point.value.distribution_value
    distribution.count, distribution.mean = interval.count, interval.mean
    distribution.sum_of_squared_deviation = interval.squared
    if buckets.growth:
        options = distribution.bucket_options.exponential_buckets
        options.growth_factor, options.scale = buckets.growth, buckets.scale
    else:
        options = distribution.bucket_options.linear_buckets
        options.width, options.offset = buckets.width, buckets.offset
    options.num_finite_buckets = buckets.finite
    last = max(interval.counts, default=-1)
    distribution.bucket_counts.extend(interval.counts.get(i, 0) for i in range(last + 1))
    return point
