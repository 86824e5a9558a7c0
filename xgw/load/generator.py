"""A short, bounded open-model load: requests start when they are due, whether or not earlier ones have ended.

Latency counts from the moment a request was *due*, so a stalled service cannot hide behind a stalled generator.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

MAX_RATE, MAX_SECONDS = 500.0, 60.0


@dataclass(frozen=True)
class LoadResult:
    """What a load saw. Latencies in seconds, sorted; `failed` counts 5xx answers and requests without any answer in time,
    `good` the answers below 400, `late` the requests that were started more than 50 ms after they were due."""

    sent: int
    failed: int
    good: int
    latencies: tuple[float, ...]
    late: int
    began: datetime
    ended: datetime

    @property
    def doubtful(self) -> bool:
        """Whether what failed may be this machine's fault: nothing was answered with 5xx, some had no answer, and at least as
        many were sent late. Whoever cannot send in time cannot wait in time either."""
        unanswered = self.sent - len(self.latencies)
        return 0 < self.failed == unanswered <= self.late

    def percentile(self, share: float) -> float:
        """The latency that `share` of the answered requests did not exceed; NaN without answers."""
        if not self.latencies:
            return float("nan")
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


def drive(
    urls: Sequence[str], *, rate: float, seconds: float, timeout: float = 10.0, headers: Mapping[str, str] | None = None
) -> LoadResult:
    """Send GET requests to `urls` in turn at `rate` per second for `seconds`. Raises ValueError over the bounds."""
    if not (0 < rate <= MAX_RATE and 0 < seconds <= MAX_SECONDS):
        raise ValueError(f"a load is at most {MAX_RATE:.0f} requests/s for {MAX_SECONDS:.0f} s")
    return asyncio.run(_drive(urls, rate, seconds, timeout, headers or {}))


async def _drive(
    urls: Sequence[str], rate: float, seconds: float, patience: float, headers: Mapping[str, str]
) -> LoadResult:
    import httpx

    latencies: list[float] = []
    counts = {"failed": 0, "good": 0, "late": 0}
    began = datetime.now(UTC)
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=20)
    async with httpx.AsyncClient(
        timeout=patience, limits=limits, headers=dict(headers), follow_redirects=False, trust_env=False
    ) as client:

        async def one(url: str, due: float) -> None:
            try:
                async with asyncio.timeout(patience):  # httpx bounds each read, and a server may trickle for ever
                    answer = await client.get(url)
            except (httpx.HTTPError, TimeoutError):
                counts["failed"] += 1
                return
            latencies.append(time.monotonic() - due)
            counts["failed"] += answer.status_code >= 500
            counts["good"] += answer.status_code < 400

        await _paced(lambda index, due: one(urls[index % len(urls)], due), int(rate * seconds), rate, counts)
    return LoadResult(
        sent=int(rate * seconds),
        failed=counts["failed"],
        good=counts["good"],
        latencies=tuple(sorted(latencies)),
        late=counts["late"],
        began=began,
        ended=datetime.now(UTC),
    )


async def _paced(
    start: Callable[[int, float], Coroutine[None, None, None]], count: int, rate: float, counts: dict[str, int]
) -> None:
    """Start request i at i/rate; a start more than 50 ms behind its time counts as late."""
    zero, tasks = time.monotonic(), []
    for index in range(count):
        due = zero + index / rate
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        counts["late"] += time.monotonic() - due > 0.05
        tasks.append(asyncio.ensure_future(start(index, due)))
    await asyncio.gather(*tasks)
