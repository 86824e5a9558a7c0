from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from xgw.local.log_store import FileLogStore
from xgw.local.metric_store import FileMetricStore
from xgw.local.stores import Comparison

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_log_lines_survive_a_restart_and_keep_their_order(tmp_path):
    first = FileLogStore(tmp_path)
    for number in range(5):
        first.append("s", "r", "INFO", {"n": number}, at(number))
    # No close: as after kill -9.
    second = FileLogStore(tmp_path)
    second.append("s", "r", "ERROR", "text", at(9))
    found = second.query((), "asc", 100)
    assert [record.payload for record in found] == [*({"n": number} for number in range(5)), "text"]
    assert [record.id for record in found] == sorted({record.id for record in found})


def test_a_torn_last_line_costs_only_itself(tmp_path):
    FileLogStore(tmp_path).append("s", "r", "INFO", "whole", NOON)
    with (tmp_path / "entries.jsonl").open("ab") as file:
        file.write(b'[2,"2026-')
    store = FileLogStore(tmp_path)
    store.append("s", "r", "INFO", "after", at(1))
    assert [record.payload for record in FileLogStore(tmp_path).query((), "asc", 9)] == ["whole", "after"]


def test_the_log_files_stay_bounded(tmp_path):
    store = FileLogStore(tmp_path, segment_bytes=10_000, kept_lines=50)
    for number in range(2_000):
        store.append("s", "r", "INFO", "x" * 50, at(number))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 20_000
    assert len(store.query((), "desc", 10_000)) == 50


def test_pages_go_on_behind_the_last_line(tmp_path):
    store = FileLogStore(tmp_path)
    for number in range(10):
        store.append("s", "r", "INFO", f"{number}", at(0 if number < 5 else 1))
    seen, after = [], None
    while page := store.query((), "desc", 3, after):
        seen += [record.payload for record in page]
        after = (page[-1].at, page[-1].id)
    assert seen == [str(number) for number in reversed(range(10))]


def test_a_filter_narrows(tmp_path):
    store = FileLogStore(tmp_path)
    store.append("a", "r", "INFO", "Memory limit of 512 MiB exceeded", NOON)
    store.append("b", "r", "INFO", "hello", NOON)
    found = store.query((Comparison("textPayload", ":", "memory limit of"),), "asc", 9)
    assert [record.service for record in found] == ["a"]


def clocked(tmp_path, start: float = 1_000_000.0):
    now = [start]
    return FileMetricStore(tmp_path, clock=lambda: now[0]), now


def span(now: float) -> tuple[datetime, datetime]:
    return datetime.fromtimestamp(now - 90_000, UTC), datetime.fromtimestamp(now, UTC)


def test_a_short_peak_is_in_the_memory_distribution(tmp_path):
    store, now = clocked(tmp_path)
    for sample in [0.5] * 30 + [0.97] + [0.5] * 30:
        store.add_memory_sample("s", "r", sample)
        now[0] += 0.05
    (series,) = store.series("container/memory/utilizations", *span(now[0]))
    assert sum(interval.counts.get(98, 0) for interval in series.intervals) == 1
    assert sum(interval.count for interval in series.intervals) == 61


def test_intervals_are_newest_first_and_do_not_overlap(tmp_path):
    store, now = clocked(tmp_path)
    for _ in range(100):
        store.add_request("s", "r", "2xx", 12.0)
        now[0] += 1.7
    (series,) = store.series("request_count", *span(now[0]))
    ordered = list(reversed(series.intervals))
    assert sum(interval.count for interval in ordered) == 100
    assert all(one.end <= two.start for one, two in pairwise(ordered))


def test_old_intervals_are_merged_without_losing_a_count(tmp_path):
    store, now = clocked(tmp_path)
    for number in range(2_000):
        store.add_request("s", "r", "5xx" if number % 10 == 0 else "2xx", float(number % 7))
        now[0] += 2.0
    found = {series.code_class: series for series in store.series("request_latencies", *span(now[0]))}
    assert sum(interval.count for interval in found["5xx"].intervals) == 200
    assert sum(interval.count for interval in found["2xx"].intervals) == 1800
    assert len(found["2xx"].intervals) < 250
    total = sum(interval.count * interval.mean for interval in found["2xx"].intervals)
    assert total / 1800 == pytest.approx(3.0, abs=0.02)


def test_metrics_survive_a_restart_and_count_nothing_twice(tmp_path):
    store, now = clocked(tmp_path)
    for _ in range(50):
        store.add_request("s", "r", "2xx", 5.0)
        now[0] += 1.0
    store.close()
    again, later = clocked(tmp_path, now[0])
    again.add_request("s", "r", "2xx", 5.0)
    later[0] += 60
    again.add_request("s", "r", "2xx", 5.0)
    (series,) = again.series("request_count", *span(later[0]))
    assert sum(interval.count for interval in series.intervals) == 52
