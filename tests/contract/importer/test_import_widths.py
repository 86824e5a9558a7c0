"""What an import shows fits the terminal, whatever the file is called and holds; into a pipe it is whole."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tests.helpers.import_stage import Desk
from tests.helpers.terminal import span
from xgw.live import BarCounter
from xgw.report import Style


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, f"sqlite://{tmp_path}/{'a long folder/' * 5}contacts.db", tenant="a-rather-long-tenant")


COMMANDS = ("Next:", "Undo:", "Rejects with reasons:", "import ")
NAME = "the contacts of the spring fair of this year, second half, final version.csv"
STATUS = "a status that nobody knows at all" * 2


def fits(text: str, columns: int) -> None:
    for line in text.splitlines():
        assert span(line) <= columns or line.startswith(COMMANDS), (span(line), line)


def wide_file(desk: Desk) -> tuple[str, list[str]]:
    """Its name, and the words that map three of its columns."""
    Path(desk.url.removeprefix("sqlite://")).parent.mkdir(parents=True)
    columns = ["name", "email", "status", *(f"a column with a long name number {n}" for n in range(9))]
    rows = [f"N{n},n{n}@x.com,active" + ",x" * 9 for n in range(1200)]
    rows += [
        f"N,q@x.com,{STATUS}" + ",x" * 9,
        "N," + "long" * 30 + ",active" + ",x" * 9,
        "N,張伟張伟張伟,active" + ",x" * 9,
    ]
    name = desk.file("\n".join([",".join(columns), *rows]) + "\n", NAME)
    return name, [word for n, column in enumerate(columns[3:6]) for word in ("--map", f"customFields.c{n}={column}")]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_everything_but_commands_fits_the_terminal(desk: Desk, columns: int) -> None:
    name, maps = wide_file(desk)
    for words in (("--dry-run",), (), ("--resume",), ("--unmapped", "custom", "--on-duplicate", "update")):
        code, shown = desk.on_terminal("import", name, *maps, *words, columns=columns)
        assert code == 7
        fits(shown, columns)
        assert "1,200" in shown or "1,203" in shown
    _, listed = desk.on_terminal("imports", columns=columns)
    fits(listed, columns)
    assert "1,200" in listed
    fits(desk.on_terminal("imports", desk.data("imports")[0]["run"], columns=columns)[1], columns)


def test_into_a_pipe_nothing_is_cut(desk: Desk) -> None:
    name, maps = wide_file(desk)
    done = desk.here("import", name, *maps, env={"COLUMNS": "60"})
    assert done.code == 7
    row = next(line for line in done.out.splitlines() if line.startswith("UNKNOWN_VALUE"))
    assert "must be one of active, inactive, archived, or named in [values.status]" in row
    assert f'"{STATUS[:39]}' in row, "the journal keeps no more of an example"
    listed = desk.here("imports").out
    assert [NAME in line and desk.tenant in line for line in listed.splitlines()] == [False, True]
    assert NAME in desk.here("imports", "-o", "csv").out
    data = json.loads(desk.here("imports", "-o", "json").out)["data"]
    assert data[0]["file"].endswith("final version.csv")


@pytest.mark.parametrize("rows", [7_500, 12_345_678])
def test_the_rejects_stay_in_sight_in_the_progress_line(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    bar = BarCounter(io.StringIO(), Style(), "importing")
    bar.told(0.1, 0, "")
    bar._pace.since -= 100
    bar.told(0.75, rows, f"{rows // 50:,} rejected")
    line = bar._picture().plain
    assert len(line) <= 80
    assert f"{rows // 50:,} rejected" in line


def test_a_file_without_rows_has_nothing_to_undo_and_resuming_what_is_finished_is_said(desk: Desk) -> None:
    Path(desk.url.removeprefix("sqlite://")).parent.mkdir(parents=True)
    done = desk.here("import", desk.file("name,email\n"))
    assert (done.code, "Undo" in done.err) == (0, False)
    assert desk.here("import", desk.file("name,email\nAnn,a@x.com\n", "one.csv")).code == 0
    again = desk.here("import", "one.csv", "--resume")
    assert again.code == 0
    assert "is finished" in again.err
    assert "done before" in again.out
