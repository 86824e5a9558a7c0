"""What an import tells of a file: every mismatch, every duplicate, and a cause and a fix for whatever cannot be done."""

from __future__ import annotations

import csv
import io
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.contract.importer.test_import_faults import until_journal
from tests.helpers.import_stage import Desk, leads
from xgw.errors import ExitCode

HEAD = "name,email,status\n"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, f"sqlite://{tmp_path}/contacts.db")


def test_every_mismatch_of_a_row_is_told_in_one_pass(desk: Desk) -> None:
    name = desk.file(HEAD + ",bad,odd\nAnn,bad,active\nBob,b@x.com,odd\nCy,c@x.com,\n")
    found = desk.data("import", name, "--dry-run", code=7)
    assert found["books"]["rejected"] == 3
    assert {one["code"]: (one["rows"], one["first_line"]) for one in found["reasons"]} == {
        "NOT_AN_ADDRESS": (2, 2), "REQUIRED": (1, 2), "UNKNOWN_VALUE": (2, 2),
    }  # fmt: skip
    desk.brought(name, code=7)
    rows = list(csv.DictReader(io.StringIO((desk.root / "leads.rejects.csv").read_text(), newline="")))
    for words in ("name: is required", "email: must be an e-mail address", "status: must be one of"):
        assert words in rows[0]["xgw_reason"]
        assert rows[0]["xgw_reason"].count(words) == 1
    assert "email: email" not in (desk.root / "leads.rejects.csv").read_text()


FAULTS = [
    ("--rule", "bogus=skip", "--on-duplicate", "update"),
    ("--rule", "status=skip"),
    ("--key", "Nix"),
    ("--delimiter", "xx"),
    ("--map", "email="),
    ("--map", "nothing=name"),
    ("--map", "name"),
]


@pytest.mark.parametrize("words", FAULTS, ids=" ".join)
def test_what_cannot_be_done_has_a_cause_and_a_fix(desk: Desk, words: tuple[str, ...]) -> None:
    desk.here("import", desk.file(HEAD + "Ann,a@x.com,\n"), *words).assert_told(ExitCode.USAGE)


@pytest.mark.parametrize(
    "text",
    [
        "version = 2\n",
        "bogus = 1\n",
        "version = 1\nneutralised = 3\n",
        "version = 1\nunmapped = 3\n",
        "version = 1\nfields = 3\n",
        "version = 1\nunmapped = 'x'\n[fields]\nname = 'name'\n",
        "version = 1\n[fields]\nname = []\n",
        "version = 1\n[fields]\nname = 3\n",
        "version = 1\n[fields.customFields]\na = 'b'\n",
        "version = 1\nvalues.status = 3\n",
        "version = 1\n[values.email]\na = 'b'\n",
        "version = 1\n[fields]\nname = 'name'\n[values.email]\na = 'b'\n",
        "version = 1\n[fields]\nnome = 'name'\n",
    ],
)
def test_a_mapping_file_that_cannot_be_used_has_a_cause_and_a_fix(desk: Desk, text: str) -> None:
    desk.file(text, "m.toml")
    name = desk.file(HEAD + "Ann,a@x.com,\n")
    desk.here("import", name, "--mapping", "m.toml").assert_told(ExitCode.USAGE)


def test_a_duplicate_that_stops_it_is_told_by_its_line(desk: Desk) -> None:
    desk.brought(desk.file(HEAD + "Ann,a@x.com,\n"))
    name = desk.file(HEAD + 'Anna,a@x.com,\n"B\n",b@x.com,\nCy,c@x.com,\nCyd,c@x.com,inactive\n')
    done = desk.here("import", name, "--on-duplicate", "fail")
    assert "error: line 6 is a duplicate" in done.err


def test_a_second_interrupt_says_how_to_go_on_as_well(desk: Desk, tmp_path: Path) -> None:
    desk.brought(desk.file(HEAD + "Ann,a@x.com,\n"))
    name = desk.file(leads(2_000))
    other = sqlite3.connect(tmp_path / "contacts.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # held for as long as it takes, so the first interrupt has batches to wait for
    with desk.popen("import", name) as process:
        until_journal(desk, 1, "NOT settled")
        process.send_signal(signal.SIGINT)
        first = next(line for line in process.stderr if "Ctrl-C again" in line)
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=240)
    other.close()
    assert "finishing the batches on their way" in first
    assert process.returncode == ExitCode.INTERRUPTED
    assert "to go on: " in rest, rest
    assert "--resume" in rest.split("to go on: ")[1]
