"""The door to Cloud Monitoring: what Cloud Run measured about a revision.

Memory is a DELTA distribution of the fraction used (0..1). The peak is read as the upper edge of the highest bucket that
holds a sample: never lower than the truth. A point without buckets tells no peak and does not count. Google's package is
imported when it is first needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from xgw.cloud.channel import Address, client
from xgw.cloud.faults import as_ours

HOST = "monitoring.googleapis.com"
MEMORY = "run.googleapis.com/container/memory/utilizations"


@dataclass(frozen=True)
class Peak:
    """The highest fraction of the limit that was seen, from how many samples, and until when the samples reach."""

    fraction: float
    samples: int
    until: datetime


class MetricDoor:
    """Time series of one project. Raises only XgwError."""

    def __init__(self, address: Address, project: str) -> None:
        """`project` is the project id."""
        self._address = address
        self._project = project

    @cached_property
    def _client(self) -> Any:
        from google.cloud.monitoring_v3 import MetricServiceClient

        return client(MetricServiceClient, self._address, HOST)

    def memory_peak(self, service: str, revision: str, *, since: datetime, until: datetime) -> Peak | None:
        """The peak memory of `revision` in the window, as a fraction of its limit; None when there is no sample."""
        from google.cloud.monitoring_v3 import ListTimeSeriesRequest, TimeInterval

        terms = (
            f'metric.type="{MEMORY}"',
            'resource.type="cloud_run_revision"',
            f'resource.labels.service_name="{service}"',
            f'resource.labels.revision_name="{revision}"',
        )
        request = ListTimeSeriesRequest(
            name=f"projects/{self._project}",
            filter=" AND ".join(terms),
            interval=TimeInterval(start_time=since, end_time=until),
        )
        with as_ours(f"read the memory of {revision}"):
            points = [
                point
                for series in self._client.list_time_series(request=request, timeout=30)
                for point in series.points
            ]
        points = [point for point in points if any(point.value.distribution_value.bucket_counts)]
        if not points:
            return None
        samples = sum(int(point.value.distribution_value.count) for point in points)
        return Peak(
            max(_top(point.value.distribution_value) for point in points),
            samples,
            max(p.interval.end_time for p in points),
        )


def _top(distribution: Any) -> float:
    """The upper edge of the highest bucket with a sample in it; of the last, open one: all of the limit."""
    highest = max(index for index, count in enumerate(distribution.bucket_counts) if count)
    options = distribution.bucket_options
    if options.WhichOneof("options") == "linear_buckets":
        linear = options.linear_buckets
        finite, edge = linear.num_finite_buckets, linear.offset + linear.width * highest
    elif options.WhichOneof("options") == "exponential_buckets":
        exponential = options.exponential_buckets
        finite, edge = exponential.num_finite_buckets, exponential.scale * exponential.growth_factor**highest
    else:
        bounds = list(options.explicit_buckets.bounds)
        finite, edge = len(bounds) - 1, bounds[min(highest, len(bounds) - 1)] if bounds else 1.0
    return float(edge) if highest <= finite else max(1.0, float(edge))
