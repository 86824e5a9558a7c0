from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgw import __version__
from xgw.report import Cell, Report, Style, When, render, safe

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


def test_a_report_that_is_no_table_has_its_data_in_csv_and_tsv() -> None:
    report = Report(
        "thing", head=("lock of ann removed",), data={"removed": True, "pid": 7, "roles": ["a"], "who": None}
    )
    assert render(report, "csv") == 'removed,pid,roles,who\ntrue,7,"[""a""]",\n'
    assert render(report, "tsv") == 'removed\tpid\troles\twho\ntrue\t7\t["a"]\t\n'
    several = Report("thing", data=[{"a": 1}, {"b": "x"}])
    assert render(several, "csv") == "a,b\n1,\n,x\n"
    assert render(Report("thing", head=("words",)), "csv") == ""


def test_what_is_made_for_eyes_has_a_flat_form_for_csv_and_tsv_alone() -> None:
    report = Report("t", ("change",), [("1Gi -> 512Mi",)], flat=Report("t", ("before", "after"), [("1Gi", "512Mi")]))
    assert render(report, "csv") == "before,after\n1Gi,512Mi\n"
    assert render(report, "tsv") == "before\tafter\n1Gi\t512Mi\n"
    for output in ("table", "json", "jsonl", "md"):
        assert "512Mi" in render(report, output)
        assert "before" not in render(report, output)


def test_people_read_how_long_ago_and_programs_when() -> None:
    at = datetime.now(timezone(timedelta(hours=2))) - timedelta(minutes=2)
    told = at.astimezone(UTC).isoformat(timespec="milliseconds")
    report = Report("t", ("when", "at"), [(When(at), When(at, clock=True))])
    assert render(report).splitlines()[1].split("  ") == ["2m ago", told[11:23]]
    for output in ("json", "jsonl", "csv", "tsv", "md"):
        assert render(report, output).count(told) == 2
        assert "ago" not in render(report, output)
        assert told in render(Report("t", data={"at": at}), output) or output == "md"


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
