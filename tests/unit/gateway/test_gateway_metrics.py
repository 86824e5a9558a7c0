from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
from typing import Any

import pytest

from gateway_runtime.errors import CODES, Problem
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


# The description and the route table say the same.


def described() -> Any:
    from importlib.resources import files

    return json.loads(files("gateway_runtime").joinpath("openapi.json").read_text())


def refs(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [ref for value in node.values() for ref in refs(value)]
    return [ref for value in node for ref in refs(value)] if isinstance(node, list) else []


def rows() -> dict[str, set[str]]:
    """Pattern -> methods, for the default settings."""
    found: dict[str, set[str]] = {}
    for route in gateway(read({}), Metrics()).routes:
        found.setdefault(route.pattern, set()).update(route.methods)
    return found


def pattern_of(path: str) -> str:
    """The route that serves a described path: its own, or the longest `*` above it."""
    table = rows()
    if path in table:
        return path
    fitting = [pattern for pattern in table if pattern.endswith("/*") and f"{path}/".startswith(pattern[:-1])]
    return max(fitting, key=len)


def test_every_route_is_described_and_nothing_else() -> None:
    described_patterns = {pattern_of(path) for path in described()["paths"]}
    assert described_patterns == set(rows())


VERBS = {"get", "head", "post", "put", "patch", "delete"}


@pytest.mark.parametrize("path", sorted(described()["paths"]))
def test_a_described_method_is_a_routed_method(path: str) -> None:
    operations = VERBS & set(described()["paths"][path])
    allowed = {method.lower() for method in rows()[pattern_of(path)]}
    assert operations <= allowed
    assert "get" in operations or path.endswith("/batch")
    if path in rows() or "{rest}" in path:
        assert operations == allowed


def test_public_in_the_description_is_public_in_the_table() -> None:
    public = {route.pattern for route in gateway(read({}), Metrics()).routes if route.public}
    for path, item in described()["paths"].items():
        for verb in VERBS & set(item):
            guarded = item[verb].get("security", described()["security"]) == [{"bearer": []}]
            assert guarded is (pattern_of(path) not in public), (path, verb)


def test_the_description_is_sound_in_itself() -> None:
    document = described()
    assert document["openapi"].startswith("3.1.")
    for ref in refs(document):
        node = document
        for part in ref.removeprefix("#/").split("/"):
            node = node[part]
    operations = [item[verb] for item in document["paths"].values() for verb in VERBS & set(item)]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    for path, item in document["paths"].items():
        given = {p["name"] for p in item.get("parameters", ()) if p.get("in") == "path"}
        assert set(re.findall(r"\{(\w+)\}", path)) == given


def test_described_errors_are_errors_we_have() -> None:
    responses = described()["components"]["responses"]
    assert {int(name[1:4]) for name in responses} <= {status for status, _ in CODES.values()}


def test_the_plans_deadlines_are_the_defaults() -> None:
    settings = read({})
    assert (settings.upstream_timeout, settings.upstream_timeout_long) == (30, 120)
    assert settings.upstream_long_segments == "ai,generate"
    assert read({"UPSTREAM_TIMEOUT": "off"}).upstream_timeout == math.inf
    assert {route.methods for route in gateway(settings, Metrics()).routes} == {READ, ANY}
