"""Commands that only read send nothing that could change anything; and `-o json` of every command is for machines."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from tests.helpers.command import environment
from tests.helpers.place import Place
from tests.helpers.terminal import span, xgw_on_terminal
from xgw import __version__
from xgw.cli.main import COMMANDS
from xgw.errors import ExitCode

pytestmark = pytest.mark.e2e

READING = [
    ("plan",),
    ("phase1", "plan"),
    ("phase1", "plan", "--only", "1.7", "--force"),
    ("phase1", "plan", "--out", "plan.json"),
    ("phase1", "apply", "--dry-run"),
    ("phase1", "status"),
    ("phase2", "plan"),
    ("phase2", "status"),
    ("phase3", "plan"),
    ("phase3", "apply", "--dry-run"),
    ("status",),
    ("history",),
    ("history", "show", "1"),
    ("history", "verify"),
    ("revisions", "gateway"),
    ("revisions", "crm-engine"),
    ("state",),
    ("logs", "gateway"),
    ("token",),
    ("unlock",),
    ("rollback", "gateway", "--dry-run"),
    ("rollback", "--run", "1", "--dry-run"),
    ("contacts", "count", "--tenant", "acme"),
    ("contacts", "imports"),
    ("local", "status"),
    ("doctor",),
    ("config", "show"),
    ("version",),
]

WRITING = [
    ("phase1", "apply", "--only", "1.8"),
    ("phase1", "apply", "--only", "1.8"),
    ("phase1", "validate", "--only", "1.8"),
    ("rollback", "gateway"),
    ("rollback", "gateway", "--release"),
    ("phase1", "rollback"),
    ("local", "up"),
]


@pytest.fixture(scope="module")
def used(place: Place) -> Place:
    """A target with a history: one step applied."""
    place.text("phase1", "apply", "--only", "1.7")
    return place


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_command_that_reads_changes_nothing_and_its_json_parses(used: Place, words: tuple[str, ...]) -> None:
    writes, records, state = used.writes(), len(used.records()), used.state()
    done = used.run(*words, "-o", "json")
    assert done.code == ExitCode.OK, done
    document = json.loads(done.out)
    assert document["schema"].startswith("xgw.")
    assert document["schema"].endswith("/v1")
    assert document["xgw"] == __version__
    assert "data" in document
    assert (used.writes(), len(used.records()), used.state()) == (writes, records, state)


LATER_WRONG = re.compile(r"\b\d+[smhd] ago\b|just now|yesterday")
"""Times that are only true now."""


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_records_for_programs_are_whole_and_their_times_stay_true(used: Place, words: tuple[str, ...]) -> None:
    header, *rows = csv.reader(io.StringIO(used.text(*words, "-o", "csv"), newline=""))
    assert all(header), header
    assert rows or words in (("contacts", "imports"), ("logs", "gateway"))
    assert all(len(row) == len(header) and not {" ", "-", "'-"} & set(row) for row in rows), rows
    for output in ("csv", "tsv", "jsonl", "json"):
        assert not LATER_WRONG.search(text := used.text(*words, "-o", output)), text
    for line in used.text(*words, "-o", "jsonl").splitlines():
        assert isinstance(json.loads(line), dict)


def test_commands_that_find_nothing_to_do_say_so_to_programs_too(used: Place) -> None:
    assert used.look("rollback", "gateway", "--to", used.serving())["done"] is False
    assert used.look("rollback", "gateway", "--release")["done"] is False
    assert used.look("phase1", "apply", "--only", "1.7", "--resume")["steps"] == []


def test_commands_that_write_answer_in_json_too(used: Place) -> None:
    for words in WRITING:
        done = used.run(*words, "-o", "json")
        assert done.code == ExitCode.OK, done
        document = json.loads(done.out) if done.out else {}
        assert {"schema", "xgw", "data"} == set(document), (words, done)


def test_a_plan_with_changes_exits_10_only_when_asked(used: Place) -> None:
    assert used.run("phase1", "plan").code == ExitCode.OK
    assert used.run("phase1", "plan", "--detailed-exitcode").code == ExitCode.CHANGES
    assert used.run("plan", "--detailed-exitcode", "-o", "json").data[0]["changes"] is True


@pytest.mark.parametrize("words", [("status",), ("phase1", "plan"), ("phase1", "validate", "--only", "1.8")])
def test_stdout_is_whole_with_stderr_closed(used: Place, words: tuple[str, ...]) -> None:
    done = used.shell(f"xgw {' '.join(words)} -o json 2>&-")
    assert done.code in (ExitCode.OK, ExitCode.MISSED), done
    assert json.loads(done.out)["data"]


def test_piping_into_head_is_quiet_and_keeps_the_exit_code(used: Place) -> None:
    done = used.shell("(xgw phase1 plan -q; echo $? >code) | head -n 1")
    assert done.out.startswith("Phase 1")
    assert done.err == ""
    assert Path(used.root / "code").read_text() == "0\n"


def test_a_full_stdout_is_a_fault_and_no_traceback(used: Place) -> None:
    with Path("/dev/full").open("w") as full:
        done = used.run("state", "--json", stdout=full)
    done.assert_told(ExitCode.FAILED, "the output could not be written", "No space left")


def test_two_states_that_are_equal_are_equal_bytes(used: Place) -> None:
    assert used.run("state", "--json").out == used.run("state", "-o", "json").out != ""


def test_no_command_is_left_out_here() -> None:
    tried = {words[0] for words in (*READING, *WRITING)}
    every = {name for section in COMMANDS.values() for name in section}
    assert every - tried == {"demo", "init", "completion", "help"}  # screens for people, and a file


ORIGINS = "https://xynergyos.clearforgetech.com,https://xynergy-platform.com,https://*.xynergy.com"
SCREENS = [
    *(
        ("plan",),
        ("phase1", "plan"),
        ("phase1", "status"),
        ("phase3", "plan"),
        ("phase3", "status"),
        ("status",),
        ("history",),
        ("history", "show", "1"),
        ("state",),
    ),
    *(
        ("revisions", "gateway"),
        ("logs", "gateway"),
        ("local", "status"),
        ("doctor",),
        ("config", "show"),
        ("help", "environment"),
    ),
]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_every_screen_fits_the_terminal(used: Place, columns: int) -> None:
    for words in SCREENS:
        code, shown = xgw_on_terminal(*words, "-q", columns=columns, cwd=used.root, env=environment(used.home))
        assert code == ExitCode.OK, shown
        assert max(map(span, shown.splitlines())) <= columns, (words, shown)


def test_into_a_pipe_a_plan_is_as_wide_as_it_is_whatever_columns_says(used: Place) -> None:
    piped = used.run("phase1", "plan", "--only", "1.8", env={"COLUMNS": "60"}).out
    assert piped == used.run("phase1", "plan", "--only", "1.8").out
    assert f"→ {ORIGINS}  SEC-4" in piped
