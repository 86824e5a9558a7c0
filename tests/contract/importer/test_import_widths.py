"""What an import shows fits in 80 columns, whatever the file is called and holds."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tests.helpers.import_stage import Desk
from xgw.live import BarCounter
from xgw.report import Style


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, f"sqlite://{tmp_path}/{'a long folder/' * 5}contacts.db", tenant="a-rather-long-tenant")


COMMANDS = ("Next:", "Undo:", "Rejects with reasons:")


def fits(text: str) -> None:
    for line in text.splitlines():
        assert len(line) <= 80 or line.startswith(COMMANDS), (len(line), line)


def test_everything_but_commands_fits_in_80_columns(desk: Desk) -> None:
    Path(desk.url.removeprefix("sqlite://")).parent.mkdir(parents=True)
    columns = ["name", "email", "status", *(f"a column with a long name number {n}" for n in range(9))]
    rows = [f"N{n},n{n}@x.com,active" + ",x" * 9 for n in range(1200)]
    rows += [
        "N,q@x.com," + "a status that nobody knows at all" * 2 + ",x" * 9,
        "N," + "long" * 30 + ",active" + ",x" * 9,
    ]
    text = "\n".join([",".join(columns), *rows]) + "\n"
    name = desk.file(text, "the contacts of the spring fair of this year, second half, final version.csv")
    maps = [word for n, column in enumerate(columns[3:6]) for word in ("--map", f"customFields.c{n}={column}")]
    for words in (("--dry-run",), (), ("--resume",), ("--unmapped", "custom", "--on-duplicate", "update")):
        done = desk.here("import", name, *maps, *words)
        assert done.code == 7
        fits(done.out + done.err)
        assert "1,200" in done.out or "1,202" in done.out
    listed = desk.here("imports")
    fits(listed.out)
    assert "1,200" in listed.out
    fits(desk.here("imports", desk.data("imports")[0]["run"]).out)
    full = desk.here("imports", "-o", "csv").out
    assert "final version.csv" in full, "only the screen is cut"
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


def test_a_file_without_rows_has_nothing_to_undo_and_resuming_nothing_is_said(desk: Desk) -> None:
    Path(desk.url.removeprefix("sqlite://")).parent.mkdir(parents=True)
    done = desk.here("import", desk.file("name,email\n"))
    assert (done.code, "Undo" in done.out) == (0, False)
    done = desk.here("import", desk.file("name,email\nAnn,a@x.com\n", "one.csv"), "--resume")
    assert done.code == 0
    assert "nothing to go on with" in done.err
    again = desk.here("import", "one.csv", "--resume")
    assert again.code == 0
    assert "is finished" in again.err
    assert "done before" in again.out
