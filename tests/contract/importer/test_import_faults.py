"""Imports whose store fails them: nothing is lost, nothing is doubled, and what stops says how to go on."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import grpc
import pytest

from gateway_runtime.contacts.store import FaultKind, StoreFault
from tests.helpers.firestore_emulator import EMULATOR, emulator
from tests.helpers.firestore_faults import Fault, FirestoreFaultProxy
from tests.helpers.import_stage import Desk, expected, leads
from tests.helpers.waiting import until
from xgw.errors import ExitCode
from xgw.importer.run import fault_of

ROWS = 1500
TEXT = leads(ROWS)
CUSTOM = ("--unmapped", "custom", "--batch-size", "100")
Status = grpc.StatusCode


@pytest.fixture(scope="module")
def proxy() -> Iterator[FirestoreFaultProxy]:
    with FirestoreFaultProxy(emulator().host) as made:
        yield made


@pytest.fixture
def behind(proxy: FirestoreFaultProxy, tmp_path: Path) -> Iterator[Desk]:
    """A Firestore behind the proxy. What is read back does not pass the proxy's faults: they are over by then."""
    yield Desk(tmp_path, f"firestore://{emulator().project()}", {EMULATOR: proxy.host})
    proxy.plan.clear()


def whole(desk: Desk, books: dict[str, int]) -> None:
    """Exactly the right rows, and books that say so."""
    stored = desk.stored()
    assert {c.email.casefold(): (c.name, c.custom_fields["company"]) for c in stored.values()} == expected(TEXT)
    assert books["created"] == len(stored)
    assert books["read"] == ROWS


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([Fault("lose", on="BatchWrite", times=4, skip=1)], id="lost answers"),
        pytest.param([Fault("lose", on="BatchWrite", times=3, skip=2, status=Status.ABORTED)], id="lost and aborted"),
        pytest.param([Fault("refuse", on="BatchWrite", times=4, status=Status.RESOURCE_EXHAUSTED)], id="exhausted"),
        pytest.param([Fault("refuse", on="", times=4, skip=3, status=Status.ABORTED)], id="aborted"),
        pytest.param([Fault("rows", on="BatchWrite", times=6, status=Status.ABORTED, every=7)], id="some rows aborted"),
    ],
)
def test_a_store_that_falters_loses_and_doubles_nothing(
    behind: Desk, proxy: FirestoreFaultProxy, faults: list[Fault]
) -> None:
    name, before = behind.file(TEXT), sum(proxy.struck.values())
    proxy.plan = faults
    books = behind.brought(name, *CUSTOM, code=7)
    assert sum(proxy.struck.values()) > before
    proxy.plan = []
    whole(behind, books)


def test_killed_while_its_answers_are_lost_a_resumed_run_finds_its_own_rows(
    behind: Desk, proxy: FirestoreFaultProxy
) -> None:
    name, struck = behind.file(TEXT), proxy.struck["BatchWrite"]
    proxy.plan = [Fault("lose", on="BatchWrite", times=-1, skip=3)]
    with behind.popen("import", name, *CUSTOM) as process:
        until(lambda: proxy.struck["BatchWrite"] >= struck + 4)
        process.kill()
        process.communicate(timeout=240)
    assert proxy.struck["BatchWrite"] >= struck + 4
    proxy.plan = []
    assert behind.stored()
    whole(behind, behind.brought(name, *CUSTOM, "--resume", code=7))


@pytest.mark.parametrize(
    ("kind", "code"), [("denied", 4), ("unauthenticated", 4), ("full", 1), ("busy", 5), ("unavailable", 6)]
)
def test_each_fault_of_a_store_has_its_exit_code_and_says_what_is_left(kind: FaultKind, code: int) -> None:
    fault = fault_of(StoreFault(kind, "detail"), "12 rows are settled, 3 are left", "xgw contacts import x --resume")
    assert fault.exit_code == code
    assert "3 are left" in fault.message
    assert fault.cause == "detail"
    assert fault.fix.endswith("xgw contacts import x --resume")


def test_a_permission_that_is_denied_stops_it_at_once(behind: Desk, proxy: FirestoreFaultProxy) -> None:
    name = behind.file(TEXT)
    proxy.plan = [Fault("refuse", on="BatchWrite", times=-1, skip=2, status=Status.PERMISSION_DENIED)]
    before = proxy.calls["BatchWrite"]
    done = behind.here("import", name, *CUSTOM)
    done.assert_told(ExitCode.NOT_SIGNED_IN, "refuses to be written to", "rows are settled", "are left", "--resume")
    assert proxy.calls["BatchWrite"] - before <= 2 + 4, "nothing is sent after the refusal but what was on its way"
    proxy.plan = []
    whole(behind, behind.brought(name, *CUSTOM, "--resume", code=7))


def test_a_row_that_the_store_does_not_know_what_to_do_with_is_rejected_and_all_others_are_in(
    behind: Desk, proxy: FirestoreFaultProxy
) -> None:
    name = behind.file(TEXT)
    proxy.plan = [Fault("rows", on="BatchWrite", times=1, status=Status.INVALID_ARGUMENT, every=7)]
    found = behind.data("import", name, *CUSTOM, code=7)
    rejected = {one["code"]: one["rows"] for one in found["reasons"]}["NOT_STORABLE"]
    assert 10 <= rejected <= 15, "of the first batch every seventh"
    assert "NOT_STORABLE" in (behind.root / "leads.rejects.csv").read_text()
    proxy.plan = []
    assert 0 < behind.brought(name, *CUSTOM, code=7)["created"] <= rejected, "a later row may have had one's address"
    assert {c.email.casefold() for c in behind.stored().values()} == expected(TEXT).keys()


def test_a_batch_that_is_invalid_as_a_whole_is_sent_row_by_row(behind: Desk, proxy: FirestoreFaultProxy) -> None:
    name = behind.file(TEXT)
    proxy.plan = [
        Fault("refuse", on="BatchWrite", times=1, status=Status.INVALID_ARGUMENT),
        Fault("refuse", on="BatchWrite", times=1, skip=50, status=Status.INVALID_ARGUMENT),
    ]
    found = behind.data("import", name, *CUSTOM, code=7)
    assert {one["code"]: one["rows"] for one in found["reasons"]}["NOT_STORABLE"] == 1
    proxy.plan = []
    assert behind.brought(name, *CUSTOM, code=7)["created"] in (0, 1)
    assert {c.email.casefold() for c in behind.stored().values()} == expected(TEXT).keys()


def test_a_row_that_the_store_does_not_take_in_the_place_of_a_later_one_is_rejected_as_what_it_is(
    behind: Desk, proxy: FirestoreFaultProxy
) -> None:
    rows = [f"{part}{n},p{n}@x.com" for part in "AB" for n in range(10, 30)]
    name = behind.file("name,email\n" + "\n".join(rows) + "\n")
    words = (name, "--batch-size", "20")
    assert behind.brought(*words, "--shard", "2/2")["created"] == 20
    proxy.plan = [Fault("rows", on="BatchWrite", times=1, skip=1, status=Status.INVALID_ARGUMENT, every=7)]
    found = behind.data("import", *words, "--shard", "1/2", code=7)
    (reason,) = found["reasons"]
    assert (reason["code"], found["books"]["created"]) == ("NOT_STORABLE", 20 - reason["rows"])
    merged = behind.data("imports", behind.data("imports")[0]["run"])
    assert merged["whole"] is True
    assert (merged["books"]["created"], merged["books"]["duplicate"]) == (20, 20 - reason["rows"])


def test_an_undo_counts_as_restored_only_what_the_store_took_back(behind: Desk, proxy: FirestoreFaultProxy) -> None:
    rows = "".join(f"{{}}{n},p{n}@x.com\n" for n in range(30))
    behind.brought(behind.file("name,email\n" + rows.replace("{}", "Old")))
    before = behind.stored()
    name = behind.file("name,email\n" + rows.replace("{}", "New"))
    assert behind.brought(name, "--on-duplicate", "update")["updated"] == 30
    proxy.plan = [Fault("rows", on="BatchWrite", times=1, status=Status.INVALID_ARGUMENT, every=7)]
    undone = behind.data("undo", behind.data("imports")[0]["run"])
    assert (undone["restored"], undone["left_alone"]) == (30, 0)
    assert behind.stored() == before


def test_a_full_disk_stops_it_and_room_lets_it_go_on(tmp_path: Path) -> None:
    desk = Desk(tmp_path, f"sqlite://{tmp_path}/contacts.db")
    desk.brought(desk.file("name,email\nA,a@x.com\n"))
    name = desk.file(TEXT)
    limit = (tmp_path / "contacts.db").stat().st_size + 150_000
    with desk.popen("import", name, *CUSTOM, largest_file=limit) as process:
        out, err = process.communicate(timeout=240)
    assert process.returncode != 0
    assert out == ""
    assert "--resume" in err, err
    assert "Traceback" not in err
    found = desk.brought(name, *CUSTOM, "--resume", code=7)
    assert found["created"] == len(desk.stored()) - 1
    assert {c.email.casefold() for c in desk.stored().values()} == {*expected(TEXT), "a@x.com"}


def test_a_store_that_somebody_holds_is_said_to_be_held(tmp_path: Path) -> None:
    desk = Desk(tmp_path, f"sqlite://{tmp_path}/contacts.db")
    desk.brought(desk.file("name,email\nA,a@x.com\n"))
    name = desk.file(TEXT)
    other = sqlite3.connect(tmp_path / "contacts.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    desk.here("import", name, *CUSTOM).assert_told(ExitCode.CONFLICT, "somebody else holds the store", "1,500 are left")
    other.execute("ROLLBACK")
    other.close()
    assert desk.brought(name, *CUSTOM, "--resume", code=7)["read"] == ROWS


def test_a_store_that_may_not_be_written_to_is_said_so(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    desk = Desk(tmp_path, f"sqlite://{tmp_path}/contacts.db")
    desk.brought(desk.file("name,email\nA,a@x.com\n"))
    (tmp_path / "contacts.db").chmod(0o400)
    done = desk.here("import", desk.file(TEXT), *CUSTOM)
    done.assert_told(ExitCode.NOT_SIGNED_IN, "refuses to be written to")


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_stops_between_batches_and_says_how_to_go_on(tmp_path: Path, sign: signal.Signals) -> None:
    desk = Desk(tmp_path, f"sqlite://{tmp_path}/contacts.db")
    text = leads(20_000)
    name = desk.file(text)
    with desk.popen("import", name, "--batch-size", "20") as process:
        until_journal(desk, 2)
        process.send_signal(sign)
        out, err = process.communicate(timeout=240)
    assert process.returncode == ExitCode.INTERRUPTED, err
    assert out == ""
    assert "--resume" in err
    assert "are left" in err
    state = desk.data("imports")[0]["shards"][0]
    assert state["state"] == "open"
    assert 0 < state["books"]["read"] < 20_000
    assert state["books"]["read"] % 20 == 0
    assert desk.brought(name, "--batch-size", "20", "--resume", code=7)["read"] == 20_000
    assert {c.email.casefold(): c.name for c in desk.stored().values()} == {
        e: n for e, (n, _) in expected(text).items()
    }


def until_journal(desk: Desk, batches: int, where: str = "settled") -> None:
    def recorded() -> bool:
        for path in (desk.home / "imports").glob("*.db"):
            with (
                suppress(sqlite3.OperationalError),
                closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as found,
            ):
                if found.execute(f"SELECT count(*) FROM batch WHERE {where}").fetchone()[0] >= batches:
                    return True
        return False

    until(recorded)


def test_nothing_in_a_file_reaches_the_terminal_unescaped(tmp_path: Path) -> None:
    desk = Desk(tmp_path, f"sqlite://{tmp_path}/contacts.db")
    evil = "\x1b]0;owned\x07\x1b[2J\u202e\u200b\x9b"
    signs = set("\x1b\x07\u202e\u200b\x9b")
    text = f'name,email,"co l"\nAnn,a@x.com,b\nB{evil},b@x.com,c\nC,{evil}@x,d\n"D",{evil},{evil}\n'
    name = desk.file(text, "leads.csv")
    for words in (("--dry-run",), ("--dry-run", "-o", "json"), (), ("--resume",), ("-o", "md", "--unmapped", "custom")):
        done = desk.here("import", name, *words)
        assert done.code == 7
        assert not set(done.out + done.err) & signs, words
    for words in (("imports",), ("imports", "-o", "json"), ("imports", desk.data("imports")[0]["run"])):
        assert not set(desk.here(*words).out) & signs
    refused = desk.here("import", desk.file(f"a{evil},b{evil}\n1,2\n"), "--restart")
    assert refused.code == ExitCode.USAGE
    assert not set(refused.err) & signs


def test_a_journals_listing_holds_nothing_of_a_contact(tmp_path: Path) -> None:
    desk = Desk(tmp_path, f"sqlite://{tmp_path}/contacts.db")
    desk.brought(desk.file("name,email\nSecretname,secret@example.com\nSecretname,secret at example\n"), code=7)
    run = desk.data("imports")[0]["run"]
    for words in (("imports",), ("imports", "-o", "json"), ("imports", run), ("imports", run, "-o", "json")):
        assert "ecret" not in desk.here(*words).out
    assert "ecret" not in desk.here("undo", run).out
    assert (desk.home / "imports" / f"{run}.db").stat().st_mode & 0o077 == 0


def test_standard_input_is_imported_and_resumed_like_a_file(tmp_path: Path) -> None:
    desk = Desk(tmp_path, f"sqlite://{tmp_path}/contacts.db")
    killed = desk.run("import", "-", *CUSTOM, "-q", fault="batch-sent#4:crash", stdin=TEXT)
    assert killed.code == -signal.SIGKILL
    other = desk.run("import", "-", *CUSTOM, "-q", "--resume", stdin=TEXT + "X,x@x.com,,\n")
    other.assert_told(ExitCode.USAGE, "there is nothing to resume")
    done = desk.run("import", "-", *CUSTOM, "--resume", stdin=TEXT)
    assert done.code == 7, done
    assert {c.email.casefold(): (c.name, c.custom_fields["company"]) for c in desk.stored().values()} == expected(TEXT)


def test_two_imports_of_one_file_at_once_double_nothing(tmp_path: Path) -> None:
    first = Desk(tmp_path / "one", f"sqlite://{tmp_path}/contacts.db")
    second = Desk(tmp_path / "two", f"sqlite://{tmp_path}/contacts.db")
    processes = [desk.popen("import", desk.file(TEXT), *CUSTOM, "-o", "json") for desk in (first, second)]
    for process in processes:
        _, err = process.communicate(timeout=240)
        assert process.returncode == 7, err
    books = [desk.data("imports")[0]["books"] for desk in (first, second)]
    assert sum(one["created"] for one in books) == len(first.stored()) == len(expected(TEXT))
    assert all(one["balanced"] for one in books)


def test_without_a_tenant_nothing_is_done(tmp_path: Path) -> None:
    desk = Desk(tmp_path, f"sqlite://{tmp_path}/contacts.db", tenant="")
    desk.here("import", desk.file(TEXT)).assert_told(ExitCode.USAGE, "whose contacts?", "--tenant")
    assert not (tmp_path / "contacts.db").exists()


def test_a_real_firestore_is_not_written_to_without_a_yes_and_a_no_leaves_nothing_behind(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "firestore://my-project-1")
    done = desk.run("import", desk.file(TEXT), "--no-input")
    done_without_words = done.err.partition("error:")[2]
    assert done.code == ExitCode.USAGE
    assert "add --yes" in done_without_words
    assert "at most 500 rows/s in the beginning" in done.err
    assert desk.data("imports") == []
    faulted = desk.here("import", "leads.csv", "--yes", fault="batch-sent:crash")
    faulted.assert_told(ExitCode.USAGE, "XGW_FAULT is not for a real Firestore")
