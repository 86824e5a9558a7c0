from __future__ import annotations

import asyncio
import contextlib
import math
import re

import pytest

from gateway_runtime.errors import Problem
from gateway_runtime.layers.measure import Measure
from gateway_runtime.metrics import BUCKETS, SERIES_LIMIT, Metrics
from gateway_runtime.roles.gateway import gateway
from gateway_runtime.routes import ANY, READ, Router
from gateway_runtime.settings import read
from tests.helpers.gateway_request import request

LINE = re.compile(r'[a-z_]+(\{[a-z]+="(\\.|[^"\\])*"(,[a-z]+="(\\.|[^"\\])*")*\})? -?[0-9.e+]+')


def test_the_text_is_what_prometheus_reads() -> None:
    metrics = Metrics()
    counter = metrics.counter("x_total", "What it counts.", "name")
    counter.add('quo"te')
    counter.add("back\\slash", by=2)
    metrics.histogram("y_seconds", "How long.", "name").observe(0.2, "a")
    metrics.gauge("z", "Now.", read=lambda: [((), 1.5)])
    lines = metrics.text().splitlines()
    assert [line for line in lines if not line.startswith("#") and not LINE.fullmatch(line)] == []
    assert 'x_total{name="quo\\"te"} 1' in lines
    assert lines.index("# HELP x_total What it counts.") + 1 == lines.index("# TYPE x_total counter")
    assert {"# TYPE y_seconds histogram", "# TYPE z gauge", "z 1.5"} <= set(lines)


def test_a_histogram_counts_up_and_ends_with_all() -> None:
    metrics = Metrics()
    histogram = metrics.histogram("y_seconds", "How long.")
    for seconds in (0.0, 0.005, 0.2, 30.0, 1000.0):
        histogram.observe(seconds)
    text = metrics.text()
    counts = [int(n) for n in re.findall(r"y_seconds_bucket\{le=\"[^\"]+\"\} (\d+)", text)]
    assert counts == sorted(counts)
    assert (len(counts), counts[0], counts[BUCKETS.index(30.0)], counts[-1]) == (len(BUCKETS) + 1, 2, 4, 5)
    assert 'y_seconds_bucket{le="+Inf"} 5' in text
    assert "y_seconds_count 5" in text


def test_labels_nobody_foresaw_fill_no_memory() -> None:
    metrics = Metrics()
    counter = metrics.counter("x_total", "What.", "name")
    histogram = metrics.histogram("y_seconds", "How long.", "name")
    metrics.gauge("z", "Now.", "name", read=lambda: [((str(n),), n) for n in range(10_000)])
    for number in range(10_000):
        counter.add(str(number))
        histogram.observe(1, str(number))
    assert len(counter.series) == len(histogram.series) == SERIES_LIMIT + 1
    assert counter.series[("other",)] == 10_000 - SERIES_LIMIT
    assert metrics.text().count('z{name="') == SERIES_LIMIT


def test_two_metrics_of_one_name_are_refused() -> None:
    metrics = Metrics()
    metrics.counter("x_total", "What.")
    with pytest.raises(ValueError, match="x_total"):
        metrics.counter("x_total", "Another.")


def test_a_request_is_counted_when_it_has_ended_and_by_its_pattern() -> None:
    metrics = Metrics()
    role = gateway(read({}), metrics)
    router = Router(role.routes)
    measure = Measure(router, metrics)

    async def one(path: bytes, status: int) -> None:
        asked = request("GET", path)
        with contextlib.suppress(Problem):  # what the layer Problems would answer
            await measure(asked)
        assert "gateway_requests_in_flight 1\n" in metrics.text()
        asked.status = status
        asked.finish()

    asyncio.run(one(b"/health", 200))
    asyncio.run(one(b"/api/v2/slack/channels/secret-name", 503))
    asyncio.run(one(b"/api/v2/slack/x", 499))
    asyncio.run(one(b"/no/such/path", 404))
    text = metrics.text()
    assert "gateway_requests_in_flight 0\n" in text
    for line in (
        'gateway_requests_total{route="/health",status="2xx"} 1',
        'gateway_requests_total{route="/api/v2/slack/*",status="5xx"} 1',
        'gateway_requests_total{route="/api/v2/slack/*",status="499"} 1',
        'gateway_requests_total{route="none",status="4xx"} 1',
    ):
        assert line in text
    assert "secret-name" not in text


def test_the_plans_deadlines_are_the_defaults() -> None:
    settings = read({})
    assert (settings.upstream_timeout, settings.upstream_timeout_long) == (30, 120)
    assert settings.upstream_long_segments == "ai,generate"
    assert read({"UPSTREAM_TIMEOUT": "off"}).upstream_timeout == math.inf
    assert {route.methods for route in gateway(settings, Metrics()).routes} == {READ, ANY}
