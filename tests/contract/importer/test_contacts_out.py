"""What `contacts count` and `contacts export` say when there is nothing to read, nobody to read it, or no way to ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway_runtime.contacts.store import StoreFault
from tests.helpers.import_stage import Desk, leads
from xgw.errors import ExitCode, NotSignedIn
from xgw.importer.run import fault_of

READS = [("count",), ("export",), ("export", "--to", "out.csv")]


@pytest.fixture
def kept(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path, f"sqlite://{tmp_path}/contacts.db")
    desk.brought(desk.file(leads(4000)), code=7)
    return desk


@pytest.mark.parametrize("words", READS)
def test_reading_a_file_that_is_not_there_is_refused_and_makes_none(words: tuple[str, ...], tmp_path: Path) -> None:
    desk = Desk(tmp_path, f"sqlite://{tmp_path}/nothere.db")
    desk.here(*words).assert_told(ExitCode.USAGE, "nothere.db", "there is no such file")
    assert not list(tmp_path.glob("nothere*"))
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("words", READS)
def test_without_credentials_it_is_the_sign_in_that_is_missing(words: tuple[str, ...], tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "NO_GCE_CHECK": "true", "CLOUDSDK_CONFIG": str(tmp_path)}
    done = Desk(tmp_path, "firestore://my-project-1").here(*words, env=env)
    done.assert_told(ExitCode.NOT_SIGNED_IN, "not signed in to Google Cloud", "gcloud auth application-default login")
    assert "writ" not in done.err


def test_a_denied_read_does_not_speak_of_writing() -> None:
    fault = fault_of(StoreFault("denied", "count: PERMISSION_DENIED"), "nothing was read", "again", deed="read")
    assert isinstance(fault, NotSignedIn)
    assert fault.message == "the store refuses to be read; nothing was read"


@pytest.mark.parametrize("output", ["json", "jsonl"])
def test_an_export_as_a_report_is_refused_with_the_word_that_was_meant(kept: Desk, output: str) -> None:
    done = kept.here("export", "-o", output)
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert "--format jsonl" in done.err


def test_an_export_whose_reader_has_left_ends_quietly_and_claims_nothing(kept: Desk) -> None:
    with kept.popen("export") as process:
        head = process.stdout.readline()
        process.stdout.close()
        told = process.stderr.read()
    assert head.startswith("id,type,name")
    assert (process.returncode, told) == (ExitCode.OK, "")
