"""Files whose names are long, or none: where their rejects go is known, and can be written to, before the first row is."""

from __future__ import annotations

import csv
import io
import os
import subprocess
from pathlib import Path

import pytest

from tests.helpers.import_stage import Desk
from xgw.errors import ExitCode

TEXT = "name,email\nAda,a@x.com\nBob,bad\n"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, f"sqlite://{tmp_path}/contacts.db")


@pytest.mark.parametrize("stem", ["n" * 251, "ü" * 125, "n" * 230 + "." + "e" * 20])
def test_the_rejects_of_a_file_with_the_longest_name_have_a_shorter_one_and_are_imported_like_any(
    desk: Desk, stem: str
) -> None:
    name = desk.file(TEXT, f"{stem}.csv"[-255:])
    rejects = desk.data("import", name, code=7)["rejects"]
    assert (desk.root / rejects).read_text().count("NOT_AN_ADDRESS") == 1
    assert rejects.endswith(".rejects.csv")
    again = desk.data("import", rejects, code=7)["rejects"]
    assert again != rejects
    assert desk.data("import", desk.file(TEXT + "C,c\n", name), code=7)["rejects"] == rejects, "as an import wrote it"


def test_two_long_names_that_differ_at_the_end_have_rejects_of_their_own(desk: Desk) -> None:
    found = {desk.data("import", desk.file(TEXT + f"C,{n}\n", "n" * 240 + f"{n}.csv"), code=7)["rejects"] for n in "12"}
    assert len(found) == 2


def test_what_a_shell_hands_over_without_a_name_leaves_its_rejects_where_one_stands(desk: Desk) -> None:
    reader, writer = os.pipe()
    os.write(writer, TEXT.encode())
    os.close(writer)
    with desk.popen("import", f"/dev/fd/{reader}", pass_fds=(reader,)) as process:
        os.close(reader)
        _, err = process.communicate(timeout=240)
    assert process.returncode == ExitCode.REJECTS, err
    desk.file(TEXT)
    with (desk.root / "leads.csv").open() as file:
        process = desk.popen("import", "/dev/stdin", stdin=file, stderr=subprocess.PIPE)
        _, err = process.communicate(timeout=240)
    assert process.returncode == ExitCode.REJECTS, err
    assert len(list(desk.root.glob("import-*.rejects.csv"))) == 2
    assert len(desk.stored()) == 1


@pytest.mark.parametrize("rejects", ["no/such/folder.csv", "n" * 300])
def test_rejects_that_could_not_be_written_are_told_before_a_row_is(desk: Desk, rejects: str) -> None:
    name = desk.file(TEXT)
    for words in ((), ("--dry-run",)):
        done = desk.here("import", name, *words, "--rejects", rejects)
        done.assert_told(ExitCode.USAGE, "rejected rows cannot be written to", "--rejects FILE")
    assert not (desk.root / "contacts.db").exists()


def test_a_folder_that_nobody_may_write_to_is_told_before_a_row_is(desk: Desk) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    desk.file(TEXT, "leads.csv")
    (folder := desk.root / "readonly").mkdir()
    (desk.root / "leads.csv").rename(folder / "leads.csv")
    folder.chmod(0o500)
    desk.here("import", "readonly/leads.csv").assert_told(ExitCode.USAGE, "cannot be written to")
    assert desk.here("import", "readonly/leads.csv", "--dry-run").code == ExitCode.REJECTS


def test_a_cell_that_another_delimiter_would_part_is_quoted_in_an_export(desk: Desk) -> None:
    desk.brought(desk.file('name,email,a\nx;=1+1,a@x.com,"t\t=2"\n'), "--unmapped", "custom")
    out = desk.here("export", "-q").out
    assert ',"x;=1+1",' in out
    assert ',"t\t=2"' in out
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert (rows[0]["name"], rows[0]["customFields.a"]) == ("x;=1+1", "t\t=2")
