from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.terminal import span as measured
from xgw.report import Cell, Report, Style, render, safe
from xgw.widths import NARROWEST, USUAL, WIDEST, Whole, columns, cut, flow, span, wrap

TEXT = st.text(st.sampled_from("ab1,-_./: =é張伟💡"), max_size=90).map(str.strip)
WIDTHS = st.integers(NARROWEST, WIDEST)


@pytest.mark.parametrize(
    ("told", "own", "wanted"),
    [
        (None, 100, 100),
        ("90", 100, 90),
        ("", 100, 100),
        ("0", 100, 100),
        ("wide", 100, 100),
        ("²", 100, 100),
        (None, 0, USUAL),
        (None, 3, NARROWEST),
        (None, 500, WIDEST),
    ],
)
def test_a_terminal_is_as_wide_as_columns_or_itself_says_within_bounds(told: str | None, own: int, wanted: int) -> None:
    assert columns(told, own) == wanted


@given(TEXT, st.integers(2, 60))
def test_wrapping_keeps_all_but_spaces_at_line_ends(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert max(map(measured, lines)) <= width
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_a_list_breaks_after_its_commas_and_a_long_item_where_it_has_a_joint() -> None:
    origins = "https://a.example.com,https://b.example.com,https://c.example.com"
    assert wrap(origins, 44) == ["https://a.example.com,https://b.example.com,", "https://c.example.com"]
    assert wrap("xynergyos-intelligence-gateway-00001-byc", 24) == ["xynergyos-intelligence-", "gateway-00001-byc"]
    assert wrap("abcdefghij", 4) == ["abcd", "efgh", "ij"]


@given(TEXT, st.integers(1, 40))
def test_what_is_cut_fits_and_what_fits_is_not_cut(text: str, width: int) -> None:
    shown = cut(text, width)
    assert measured(shown) <= width
    assert (shown == text) is (measured(text) <= width)
    assert cut(text, None) == text


def test_a_line_breaks_between_its_parts_and_only_a_part_that_is_too_long_in_itself() -> None:
    line = "  created 9,600   updated 0   unchanged 0   duplicate 212"
    assert flow(line, 40) == ["  created 9,600   updated 0", "    unchanged 0   duplicate 212"]
    assert flow("one part that is too long  and one", 20) == ["one part that is", "  too long  and one"]
    assert flow(line, None) == [line]


@given(TEXT, WIDTHS)
def test_no_line_that_breaks_is_wider_than_the_terminal_or_loses_anything(text: str, width: int) -> None:
    lines = flow(f"  {text}", width)
    assert max(map(measured, lines)) <= width
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_a_line_that_people_copy_is_left_to_the_terminal() -> None:
    line = Whole("Next: mend them, then  xgw contacts import leads.rejects.csv --tenant acme")
    assert flow(line, 40) == [line]


def test_colours_take_no_columns_and_wide_characters_two() -> None:
    assert (span("\x1b[31;1m✗ 張伟\x1b[0m"), span("abc")) == (6, 3)


CELL = st.one_of(TEXT, st.builds(Cell, TEXT, st.sampled_from(["ok", "fail", "change"])))
ROWS = st.lists(st.tuples(TEXT, CELL, TEXT, st.integers(0, 10**7)), min_size=1, max_size=4)


@given(ROWS, WIDTHS, st.booleans(), st.booleans(), st.booleans())
def test_no_line_of_a_table_is_wider_than_the_terminal(
    rows: list[tuple[str, Cell | str, str, int]], width: int, colour: bool, ascii: bool, dense: bool
) -> None:
    report = Report("t", ("name", "state", "about", "rows"), rows, dense=dense, brief=("about",))
    shown = click.unstyle(render(report, "table", Style(colour, ascii, width)))
    assert max(map(measured, shown.splitlines())) <= width
    assert shown == render(report, "table", Style(False, ascii, width))


@given(ROWS)
def test_where_no_terminal_reads_a_row_is_one_whole_line(rows: list[tuple[str, Cell | str, str, int]]) -> None:
    report = Report("t", ("name", "state", "about", "rows"), rows, brief=("about",))
    lines = render(report, "table", Style(False, False)).splitlines()
    assert len(lines) == len(rows) + 1
    for line, row in zip(lines[1:], rows, strict=True):
        for cell in row[:3]:
            assert safe(cell.text if isinstance(cell, Cell) else str(cell)) in line


def test_a_column_that_only_describes_is_cut_and_all_others_wrap() -> None:
    rows = [("1.5", "HTTP request timeouts and breaker", "memory of gateway: 46Mi, 9% (150 requests)")]
    report = Report("t", ("step", "title", "evidence"), rows, brief=("title",))
    assert render(report, "table", Style(False, False, 40)).splitlines() == [
        "STEP  TITLE             EVIDENCE",
        "1.5   HTTP request ti…  memory of",
        "                        gateway: 46Mi,",
        "                        9% (150",
        "                        requests)",
    ]


def test_a_terminal_too_narrow_for_the_table_gets_its_rows_below_each_other() -> None:
    rows = [("1.1", Cell("change", "change"), "memory"), (" ", " ", "cpu"), ("1.2", Cell("holds", "ok"), "a" * 30)]
    assert render(Report("t", ("step", "", "field"), rows), "table", Style(False, False, 30)).splitlines() == [
        "STEP   1.1",
        "       ~ change",
        "FIELD  memory",
        "FIELD  cpu",
        "",
        "STEP   1.2",
        "       ✓ holds",
        "FIELD  " + "a" * 23,
        "       " + "a" * 7,
    ]
