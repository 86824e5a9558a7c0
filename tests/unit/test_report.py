from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgw import __version__
from xgw.report import Cell, Report, Style, duration, relative, render, safe, size

FANCY = Style(colour=True, ascii=False)
ROWS = [("gateway", "512Mi", 7), ("crm-engine", None, 12)]
TABLE = Report("thing", ("service", "memory", "n"), ROWS, head=("Head",), foot=("", "Foot"))


def test_a_table_is_aligned_and_names_what_is_not_there() -> None:
    assert render(TABLE).splitlines() == [
        "Head",
        "SERVICE     MEMORY      N",
        "gateway     512Mi       7",
        "crm-engine  -          12",
        "",
        "Foot",
    ]


def test_json_is_versioned_and_has_the_rows_as_objects() -> None:
    assert json.loads(render(TABLE, "json")) == {
        "schema": "xgw.thing/v1",
        "xgw": __version__,
        "data": [
            {"service": "gateway", "memory": "512Mi", "n": 7},
            {"service": "crm-engine", "memory": None, "n": 12},
        ],
    }


def test_jsonl_is_one_object_a_line() -> None:
    assert [json.loads(line)["n"] for line in render(TABLE, "jsonl").splitlines()] == [7, 12]
    assert render(Report("thing", data={"a": 1}), "jsonl") == '{"a": 1}\n'


def test_tsv_is_one_line_a_row_whatever_is_in_it() -> None:
    report = Report("thing", ("a", "b"), [("x\ty", "1\n2")])
    assert render(report, "tsv") == "a\tb\nx\\ty\t1\\n2\n"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-cmd", "@x", "\t=1", "=HYPERLINK(1)"])
def test_csv_has_no_cell_a_spreadsheet_would_run(text: str) -> None:
    rows = list(csv.reader(io.StringIO(render(Report("t", ("a", "n"), [(text, -5)]), "csv"))))
    assert rows == [["a", "n"], [f"'{text}", "-5"]]


def test_markdown_cells_keep_their_bars() -> None:
    report = Report("t", ("a",), [("x|y `z` <b>",)])
    assert render(report, "md") == "| a |\n| --- |\n| x\\|y \\`z\\` \\<b\\> |\n"


def test_a_sign_is_a_word_without_colour_and_ascii_where_it_must() -> None:
    report = Report("t", ("check",), [(Cell("memory", "fail"),), (Cell("cpu", "ok"),)])
    assert render(report).splitlines()[1:] == ["FAIL memory", "ok cpu"]
    assert render(report, "table", Style(False, False)).splitlines()[1:] == ["✗ memory", "✓ cpu"]
    assert "\x1b[31;1m✗ memory\x1b[0m" in render(report, "table", FANCY)
    for output in ("json", "jsonl", "csv", "tsv", "md"):
        assert "\x1b" not in render(report, output, FANCY)
        assert "memory" in render(report, output, FANCY)


def test_colour_does_not_move_a_column() -> None:
    rows = [(Cell("a", "ok"), "x"), (Cell("longer", "fail"), "y")]
    report = Report("t", ("check", "b"), rows)
    import click

    assert click.unstyle(render(report, "table", FANCY)) == render(report, "table", Style(False, False))


@given(st.text())
def test_safe_text_is_one_line_without_control_signs(text: str) -> None:
    shown = safe(text)
    assert len(shown.splitlines()) <= 1
    assert not any(ord(sign) < 32 or 0x7F <= ord(sign) < 0xA0 or 0x202A <= ord(sign) <= 0x202E for sign in shown)
    shown.encode()


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=4))
def test_every_format_holds_any_text(rows: list[tuple[str, str]]) -> None:
    report = Report("t", ("a", "b"), rows)
    read = [(item["a"], item["b"]) for item in json.loads(render(report, "json"))["data"]]
    assert read == rows
    assert len(render(report, "jsonl").splitlines()) == len(rows)
    assert len(render(report, "md").splitlines()) == len(rows) + 2
    assert len(render(report, "table").splitlines()) == len(rows) + 1
    assert len(list(csv.reader(io.StringIO(render(report, "csv"), newline="")))) == len(rows) + 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0s"), (0.61, "0.6s"), (9.96, "10s"), (59.6, "1m00s"), (128, "2m08s"), (3780, "1h03m"), (273600, "3d04h"),
     (3599.7, "1h00m"), (-128, "-2m08s")],
)  # fmt: skip
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(seconds=2), "just now"),
        (timedelta(seconds=59), "59s ago"),
        (timedelta(minutes=2), "2m ago"),
        (timedelta(hours=23, minutes=59), "23h ago"),
        (timedelta(hours=25), "yesterday"),
        (timedelta(days=3), "3d ago"),
        (timedelta(days=40), "2026-10-13"),
        (timedelta(minutes=-5), "in 5m00s"),
    ],
)
def test_times_are_told_from_now(ago: timedelta, text: str) -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert relative(now - ago, now) == text


@pytest.mark.parametrize(("count", "text"), [(512 << 20, "512Mi"), (1 << 30, "1Gi"), (3 << 29, "1.5Gi"), (900, "900")])
def test_sizes_are_spelled_as_cloud_run_spells_them(count: int, text: str) -> None:
    assert size(count) == text
