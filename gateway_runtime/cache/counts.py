"""What the cache counts."""

from __future__ import annotations

from gateway_runtime.cache.store import Store
from gateway_runtime.metrics import Metrics


class Counts:
    """Counters, never ratios: a share of hits is for whoever reads them to divide (plan 3.4)."""

    def __init__(self, metrics: Metrics, store: Store) -> None:
        self.requests = metrics.counter("gateway_cache_requests_total", "Requests the cache saw, by X-Cache.", "result")
        self.stored = metrics.counter("gateway_cache_stored_total", "Answers stored.")
        self.invalidated = metrics.counter("gateway_cache_invalidated_total", "Writes that outdated a collection.")
        self.failed = metrics.counter(
            "gateway_cache_refresh_failed_total", "Fetches behind a stale answer that failed."
        )
        memory = store.memory
        metrics.gauge("gateway_cache_memory_bytes", "Held in this process.", read=lambda: [((), memory.bytes)])
        metrics.gauge("gateway_cache_memory_entries", "Held in this process.", read=lambda: [((), len(memory))])
        metrics.gauge(
            "gateway_cache_evicted_total",
            "Put out for want of room.",
            kind="counter",
            read=lambda: [((), memory.evicted)],
        )
        metrics.gauge(
            "gateway_cache_garbage_total",
            "Values in Redis that were no answers of ours.",
            kind="counter",
            read=lambda: [((), store.found_garbage)],
        )
        metrics.gauge(
            "gateway_cache_degraded", "1 while this instance is on its own.", read=lambda: [((), float(store.alone))]
        )
