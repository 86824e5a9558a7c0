"""What an import says to type next: it can be typed as it stands, and does what was meant."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.helpers.import_stage import Desk
from xgw.errors import ExitCode

LATIN = "Name;Mail-Adresse;Nr.;Firma\nJörg;jörg at x;1;Müller\nAnn;ann@x.com;2;\n".encode("cp1252")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, f"sqlite://{tmp_path}/the contacts.db", tenant="acme & sons")


def next_of(text: str, sign: str = "Next:") -> list[str]:
    line = next(line for line in text.splitlines() if line.strip().startswith(sign))
    return shlex.split(line[line.index("xgw contacts import") :])


WORDS = (
    *(
        "--map",
        "email=Mail-Adresse",
        "--map",
        "customFields.company=Firma",
        "--unmapped",
        "custom",
        "--encoding",
        "cp1252",
    ),
    *("--delimiter", ";", "--key", "Nr.", "--on-duplicate", "update", "--rule", "Firma=fill", "--max-errors", "5"),
)


def test_the_next_command_repeats_what_decides_about_rows_and_works_as_it_stands(desk: Desk) -> None:
    name = desk.file(LATIN, "my leads.csv")
    done = desk.here("import", name, *WORDS)
    assert done.code == 7, done
    again = next_of(done.err)
    assert again[:4] == ["xgw", "contacts", "import", "my leads.rejects.csv"]
    told = " ".join(again)
    for word in ("--key Nr.", "--rule Firma=fill", "--encoding cp1252", "--delimiter ;", "--unmapped custom"):
        assert word in told
    for word in ("--store", "--tenant", "--map", "--on-duplicate"):
        assert word in again
    assert "--max-errors" not in again
    mended = (desk.root / "my leads.rejects.csv").read_bytes().replace("jörg at x".encode("cp1252"), b"j@x.com")
    desk.file(mended, "my leads.rejects.csv")
    assert desk.here(*again[2:]).code == 0
    assert {one.name: dict(one.custom_fields) for one in desk.stored().values()}["Jörg"] == {
        "company": "Müller",
        "Nr.": "1",
    }


def test_a_rejects_file_with_a_mark_or_in_utf8_needs_no_encoding(desk: Desk) -> None:
    for number, (said, text) in enumerate(
        (("utf-8", b"name,email\nAnn\xff,a@x.com\n"), ("utf-16", "name,email\nAnn,a at x\n".encode("utf-16")))
    ):
        done = desk.here("import", desk.file(text, f"{number}.csv"), "--encoding", said)
        assert "--encoding" not in next_of(done.err)
        assert desk.here(*next_of(done.err)[2:]).code == 7


def test_the_way_to_go_on_repeats_everything_but_the_limit(desk: Desk) -> None:
    text = "name,email,X\n" + "".join(f"N{n},{'bad' if n > 8 else f'n{n}@x.com'},x\n" for n in range(40))
    words = ("--map", "customFields.a b=X", "--batch-size", "5", "--on-duplicate", "fill")
    done = desk.here("import", desk.file(text), *words, "--max-errors", "4")
    assert done.code == 1
    again = next_of(done.err, "fix:")
    assert "--max-errors" not in again
    assert "--restart" not in again
    assert desk.here(*again[2:]).code == 7


BAD = "name,email\nAnn,a@x.com\nBob,bad\n"


def test_rejects_that_somebody_mended_are_not_written_over(desk: Desk) -> None:
    name, first, second = desk.file(BAD), desk.root / "leads.rejects.csv", desk.root / "leads.rejects-2.csv"
    desk.brought(name, code=7)
    desk.brought(name, code=7)
    assert not second.exists(), "nobody touched it: it is replaced"
    first.write_text(mended := first.read_text().replace("bad", "bob@x.com"))
    done = desk.here("import", name)
    assert done.code == 7
    assert first.read_text() == mended
    assert "Bob,bad" in second.read_text()
    assert "leads.rejects-2.csv" in next_of(done.err)
    assert "leads.rejects.csv is there already and was not written by an import, or was changed since" in done.err


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
def test_another_file_is_not_taken_for_the_rejects(desk: Desk, words: tuple[str, ...]) -> None:
    desk.file("mine,all\n1,2\n", "dups.csv")
    done = desk.here("import", desk.file(BAD), "--rejects", "dups.csv", *words)
    done.assert_told(2, "dups.csv", "--rejects")
    assert (desk.root / "dups.csv").read_text() == "mine,all\n1,2\n"
    assert desk.data("imports") == []
    desk.here("import", "leads.csv", "--rejects", "leads.csv").assert_told(2, "leads.csv")


def test_too_many_rejects_are_told_with_their_reasons_and_kept_though_the_first_batch_stops(desk: Desk) -> None:
    text = "name,email\n" + "".join(f"N{n},{'bad' if n % 2 else f'n{n}@x.com'}\n" for n in range(30))
    done = desk.here("import", desk.file(text), "--max-errors", "3", "--batch-size", "10")
    done.assert_told(1, "5 of the 10 rows read so far are rejected", "--max-errors 3", "higher limit or none", "NOT_AN_ADDRESS",
                     "0 rows are settled, 30 are left", "leads.rejects.csv", "undo")  # fmt: skip
    assert (desk.root / "leads.rejects.csv").read_text().count("bad") == 5
    assert desk.stored() == {}
    assert desk.here(*next_of(done.err, "fix:")[2:]).code == 7


def test_with_quiet_only_the_result_is_told(desk: Desk) -> None:
    done = desk.here("import", desk.file(BAD), "-q")
    assert (done.code, done.err) == (ExitCode.REJECTS, "")
    for hint in ("Next:", "Undo:"):
        assert hint not in done.out
    assert "created 1" in done.out
    assert "Rejects with reasons: leads.rejects.csv" in done.out


def test_with_nothing_begun_there_is_nothing_to_resume_and_the_fix_begins_it(desk: Desk) -> None:
    done = desk.here("import", desk.file(BAD, "my leads.csv"), "--on-duplicate", "fill", "--resume")
    done.assert_told(ExitCode.USAGE, "there is nothing to resume")
    assert desk.data("imports") == []
    begin = next_of(done.err, "fix:")
    assert "--resume" not in begin
    assert desk.here(*begin[2:]).code == ExitCode.REJECTS
    assert desk.here(*begin[2:], "--resume").code == ExitCode.REJECTS, "it is finished: that is said, and no fault"


def test_a_job_may_say_resume_in_its_first_try_too(desk: Desk) -> None:
    job = {"CLOUD_RUN_EXECUTION": "e-1", "CLOUD_RUN_TASK_INDEX": "0", "CLOUD_RUN_TASK_COUNT": "2"}
    assert desk.here("import", desk.file(BAD), "--resume", env=job).code == ExitCode.REJECTS


def test_resuming_and_leaving_an_import_at_once_is_refused(desk: Desk) -> None:
    desk.here("import", desk.file(BAD), "--resume", "--restart").assert_told(ExitCode.USAGE, "--resume", "--restart")


def test_a_dry_run_writes_no_contact_and_no_file_but_those_that_are_named(desk: Desk) -> None:
    there = {desk.root / desk.file(BAD)}
    assert desk.here("import", "leads.csv", "--dry-run").code == ExitCode.REJECTS
    assert {path for path in desk.root.iterdir() if path != desk.home} == there
    done = desk.here("import", "leads.csv", "--dry-run", "--save-mapping", "m.toml", "--rejects", "r.csv")
    assert "the mapping is saved in m.toml" in done.err
    assert {path for path in desk.root.iterdir() if path != desk.home} == {
        *there,
        desk.root / "m.toml",
        desk.root / "r.csv",
    }
    assert desk.here("import", "leads.csv", "--mapping", "m.toml").code == ExitCode.REJECTS
