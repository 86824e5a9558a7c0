"""Which import a file belongs to: the one of its very bytes before the one of its name; standard input has no name."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.helpers.import_stage import Desk
from xgw.errors import ExitCode

ONE = "name,email\nAda,a@x.com\n"
TWO = ONE + "Bob,b@x.com\n"
ZED = "name,email\nZed,z@x.com\n"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, f"sqlite://{tmp_path}/contacts.db")


def states(desk: Desk) -> list[str]:
    """The newest first."""
    return [one["shards"][0]["state"] for one in desk.data("imports")]


def broken_off(desk: Desk, name: str, stdin: str | None = None) -> None:
    assert desk.run("import", name, fault="batch-sent:crash", stdin=stdin).code < 0


def test_the_first_bytes_of_a_name_go_on_with_their_own_import_though_a_later_one_has_the_name(desk: Desk) -> None:
    broken_off(desk, desk.file(ONE))
    broken_off(desk, desk.file(TWO))
    assert desk.brought(desk.file(ONE), "--resume")["read"] == 1
    assert states(desk) == ["open", "done"]
    assert desk.brought(desk.file(TWO), "--resume")["read"] == 2
    assert states(desk) == ["done", "done"]
    assert "is finished" in desk.here("import", desk.file(ONE), "--resume").err


def test_bytes_under_another_name_go_on_and_other_bytes_under_the_name_are_refused(desk: Desk) -> None:
    broken_off(desk, desk.file(TWO))
    desk.here("import", desk.file(ONE), "--resume").assert_told(ExitCode.CONFLICT, "the file changed")
    assert desk.brought(desk.file(TWO, "copy.csv"), "--resume")["read"] == 2


def test_standard_input_goes_on_with_its_own_bytes_and_leaves_what_is_open_of_others(desk: Desk) -> None:
    broken_off(desk, "-", ONE)
    other = desk.run("import", "-", "--resume", stdin=ZED)
    other.assert_told(ExitCode.USAGE, "there is nothing to resume")
    assert desk.run("import", "-", "--restart", stdin=ZED).code == 0
    assert states(desk) == ["done", "open"]
    assert desk.run("import", "-", "--resume", stdin=ONE).code == 0
    assert states(desk) == ["done", "done"]
    assert len(desk.stored()) == 2


def test_a_pipe_is_standard_input_by_another_name(desk: Desk) -> None:
    def through_the_pipe(text: str, *words: str) -> int:
        writer = threading.Thread(target=lambda: (desk.root / "pipe").write_text(text))
        writer.start()
        code = desk.run("import", "pipe", *words).code
        writer.join()
        return code

    os.mkfifo(desk.root / "pipe")
    broken_off(desk, "-", ONE)
    assert through_the_pipe(ZED, "--restart") == 0
    assert through_the_pipe(TWO, "--resume") == ExitCode.USAGE
    assert states(desk) == ["done", "open"]
    assert through_the_pipe(ONE, "--resume") == 0


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
@pytest.mark.parametrize("name", ["leads.csv", "./leads.csv", "same.csv", "linked.csv"])
def test_a_mapping_is_never_saved_over_the_file_that_is_imported(desk: Desk, name: str, words: tuple[str, ...]) -> None:
    desk.file(ONE)
    (desk.root / "same.csv").hardlink_to(desk.root / "leads.csv")
    (desk.root / "linked.csv").symlink_to("leads.csv")
    done = desk.here("import", "leads.csv", *words, "--save-mapping", name)
    done.assert_told(ExitCode.USAGE, "is the file that is to be imported", "name another")
    assert (desk.root / "leads.csv").read_text() == ONE
    assert not (desk.root / "contacts.db").exists()


def test_a_mapping_takes_the_place_of_an_older_one_when_it_is_whole(desk: Desk) -> None:
    name = desk.file(ONE)
    for path in ("m.toml", "m.toml"):
        assert desk.here("import", name, "--dry-run", "--save-mapping", path).code == 0
    assert desk.here("import", name, "--dry-run", "--mapping", "m.toml", "--save-mapping", "m.toml").code == 0
    assert sorted(path.name for path in desk.root.iterdir()) == ["leads.csv", "m.toml"]
    refused = desk.here("import", name, "--dry-run", "--save-mapping", "n" * 300)
    refused.assert_told(ExitCode.USAGE, "cannot be written", "name another file")
