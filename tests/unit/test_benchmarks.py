"""The arithmetic of the benchmarks, on samples that were made up. Nothing here measures time."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks.gateway import closed_loop, data, report, slow_clients
from benchmarks.gateway.cases import CASES, Case, by_name, request
from benchmarks.gateway.measure import Pace
from benchmarks.gateway.table import (
    Ratio,
    Sample,
    details_table,
    markdown,
    median,
    number,
    percentile,
    ratio,
    ratios_table,
)
from benchmarks.gateway.targets import TARGETS


def sample(target: str, at: int, requests: int, *, cpu: float = 1.0, wall: float = 2.0, case: str = "cached") -> Sample:
    return Sample(case, target, at, requests, wall, cpu, 1.0, 2.0, 3.0, 4000.0)


ROUNDS = [
    sample("express", 0, 100), sample("gateway", 0, 1000),
    sample("express", 1, 50), sample("gateway", 1, 1000),
    sample("express", 2, 200), sample("gateway", 2, 3000),
]  # fmt: skip


def result(samples: list[Sample]) -> report.Result:
    machine = {
        "when": "2026-01-02T03:04:05+00:00", "cpu": "Some (CPU) 9", "cores": 2, "system": "Linux", "python": "3.11",
        "versions": {"nginx": "1"}, "commit": "abc", "load_before": 0.1,
    }  # fmt: skip
    names = sorted({each.target for each in samples})
    return report.Result(machine, Pace(3, 2.0, 1.0, 1.0, 2), names, ["a note"], samples)


def test_rates_are_per_second_of_the_server_and_of_the_wall() -> None:
    one = sample("gateway", 0, 600, cpu=0.5, wall=2.0)
    assert (one.per_cpu, one.per_wall, one.busy) == (1200, 300, 0.25)


def test_a_server_that_used_no_time_has_no_rate() -> None:
    one = sample("gateway", 0, 600, cpu=0, wall=0)
    assert (one.per_cpu, one.per_wall, one.busy) == (0, 0, 0)


def test_a_ratio_is_taken_within_a_round_and_then_the_median() -> None:
    # 10, 20, 15: the ratio of the medians would be 10.
    assert ratio(ROUNDS, "cached", "gateway", "express") == Ratio(15, 10, 20)


def test_a_round_without_its_base_counts_for_nothing() -> None:
    assert ratio([*ROUNDS, sample("gateway", 3, 10**9)], "cached", "gateway", "express") == Ratio(15, 10, 20)


@pytest.mark.parametrize(("case", "base"), [("cached", "nginx"), ("health", "express")])
def test_there_is_no_ratio_to_what_was_not_measured(case: str, base: str) -> None:
    assert ratio(ROUNDS, case, "gateway", base) is None


def test_a_base_that_answered_nothing_gives_no_ratio() -> None:
    assert ratio([sample("express", 0, 0), sample("gateway", 0, 5)], "cached", "gateway", "express") is None


@pytest.mark.parametrize(("at", "wanted"), [(50, 50), (95, 95), (99, 99), (100, 100), (1, 1)])
def test_percentiles_are_values_that_occurred(at: int, wanted: int) -> None:
    assert percentile(list(range(100, 0, -1)), at) == wanted


def test_nothing_has_no_percentile_and_no_median() -> None:
    assert math.isnan(percentile([], 50))
    assert math.isnan(median([]))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (math.nan, "–"),
        (0, "0"),
        (12345.6, "12346"),
        (99.96, "100.0"),
        (12.34, "12.3"),
        (1.234, "1.23"),
        (0.00456, "0.0046"),
    ],
)
def test_numbers_in_cells_are_short(value: float, shown: str) -> None:
    assert number(value) == shown


def test_a_range_is_told_only_where_there_is_one() -> None:
    assert (str(Ratio(15, 10, 20)), str(Ratio(2, 2, 2))) == ("15.0 (10.0–20.0)", "2.00")


def test_the_table_of_ratios_shows_the_base_as_one() -> None:
    table = ratios_table(ROUNDS, {"cached": "a hit"}, ["gateway", "express", "nginx"], "express")
    assert [cell.strip() for cell in table.splitlines()[2].split("|")[1:-1]] == [
        "a hit", "15.0 (10.0–20.0)", "1 (100/s)", "–",
    ]  # fmt: skip


def test_the_details_are_medians() -> None:
    line = details_table(ROUNDS, {"cached": "a hit"}, ["gateway", "nginx"]).splitlines()[2:]
    assert [[cell.strip() for cell in each.split("|")[1:5]] for each in line] == [["a hit", "gateway", "1000", "500"]]


def test_tables_line_up() -> None:
    lines = markdown(["a", "long name"], [["longer", "b"]]).splitlines()
    assert lines == ["| a      | long name |", "| ------ | --------- |", "| longer | b         |"]


def test_goals_are_judged_by_the_median() -> None:
    assert [cell.strip() for cell in report.goals(result(ROUNDS)).splitlines()[2].split("|")[1:-1]] == [
        "cached GET, 3 KB", "express", "≥ 13", "15.0", "yes",
    ]  # fmt: skip


def test_a_result_is_written_once_and_the_next_gets_a_number(tmp_path: Path) -> None:
    paths = [report.write(result(ROUNDS), tmp_path) for _ in range(2)]
    assert [path.name for path in paths] == ["2026-01-02-some-cpu-9-2c.json", "2026-01-02-some-cpu-9-2c-2.json"]
    assert json.loads(paths[0].read_text())["ratios"]["cached/gateway/express"] == {"median": 15, "low": 10, "high": 20}
    assert "**a note**" in paths[0].with_suffix(".md").read_text()


def test_the_bodies_are_the_same_every_time_and_of_the_size_that_is_told() -> None:
    made = data.bodies()
    assert made == data.bodies()
    assert 2500 < len(made["contacts.json"]) < 3500 < 30000 < len(made["big.json"]) < 36000


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_cases_name_what_exists_and_ask_the_cache_where_they_say(case: Case) -> None:
    assert {base for base, _ in case.goals} | set(case.targets) <= set(TARGETS)
    assert (case.kind == "caching") == case.path.startswith("/api/v2/crm/")
    assert not (case.asks and case.kind == "caching")


def test_both_generators_send_the_same_fields() -> None:
    body = b'{"a":"b"}'
    sent = request(by_name("post"), "T", body).decode()
    lua = closed_loop.script(by_name("post"), "T", body)
    for name, value in (("Origin", "https://xynergyos.clearforgetech.com"), ("Authorization", "Bearer T")):
        assert f"{name}: {value}\r\n" in sent
        assert f'wrk.headers["{name}"] = "{value}"' in lua
    assert sent.endswith('\r\nContent-Length: 9\r\n\r\n{"a":"b"}')
    assert r'wrk.body = "{\"a\":\"b\"}"' in lua


def test_slow_clients_fail_when_one_is_not_cut_or_the_others_are_slow() -> None:
    cut, quick = {"silent": [10.8, 10.9]}, [1.0] * 100
    assert slow_clients.faults(cut, quick, 2) == []
    assert slow_clients.faults(cut, quick, 3) == ["silent: 1 were not cut"]
    assert slow_clients.faults(cut, [1.0] * 90 + [100.0] * 10, 2) == ["normal client: p95 100.0 ms, 100 at most"]
