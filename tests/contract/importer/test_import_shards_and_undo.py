"""An import in several processes at once, and taking imports back: on every store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from gateway_runtime.contacts.model import contact_id
from gateway_runtime.contacts.store import ContactStore
from tests.helpers.import_stage import Desk, expected, leads
from xgw.errors import ExitCode

HEAD = "name,email,company,note\n"
CUSTOM = ("--unmapped", "custom", "--batch-size", "50")
SHARDS = 3


def by_all(desk: Desk, *args: str, env: dict[str, str] | None = None) -> Iterator[int]:
    """The parts at once, each a process of its own."""
    made = []
    for number in range(SHARDS):
        told = {**(env or {}), **({"CLOUD_RUN_TASK_INDEX": str(number)} if env else {})}
        part = () if env else ("--shard", f"{number + 1}/{SHARDS}")
        made.append(desk.popen("import", *args, *part, "-q", env=told))
    for process in made:
        _, err = process.communicate(timeout=240)
        assert process.returncode in (0, 7), err
        yield process.returncode


def crossing() -> str:
    """The same addresses in every part, so that each row has rivals in the others."""
    return HEAD + "".join(f"N{n},person{n % 97}@example.com,C{n},\n" for n in range(600))


def test_parts_at_once_end_as_one_import(desk: Desk) -> None:
    whole = replace(desk, tenant=f"{desk.tenant}-whole", root=desk.root / "whole")
    for text in (leads(600), crossing()):
        books = whole.brought(whole.file(text), *CUSTOM, code=7 if text != crossing() else 0)
        list(by_all(desk, desk.file(text), *CUSTOM))
        merged = desk.data("imports", desk.data("imports")[0]["run"])
        assert merged["whole"] is True
        assert merged["books"] == {**books, "balanced": True}
        ours, theirs = desk.by_email(), whole.by_email()
        assert {e: (c.name, c.mark.partition(":")[2]) for e, c in ours.items()} == {
            e: (c.name, c.mark.partition(":")[2]) for e, c in theirs.items()
        }
    assert {c.email.casefold() for c in desk.stored().values()} >= expected(leads(600)).keys()


def test_the_first_row_wins_though_the_last_part_comes_first(desk: Desk) -> None:
    whole = replace(desk, tenant=f"{desk.tenant}-whole", root=desk.root / "whole")
    books = whole.brought(whole.file(crossing()), *CUSTOM)
    name = desk.file(crossing())
    for number in range(SHARDS, 0, -1):
        desk.brought(name, *CUSTOM, "--shard", f"{number}/{SHARDS}")
    merged = desk.data("imports", desk.data("imports")[0]["run"])
    assert (merged["whole"], merged["books"]) == (True, {**books, "balanced": True})
    assert {c.email: c.name for c in desk.stored().values()} == {c.email: c.name for c in whole.stored().values()}


def test_tasks_of_a_cloud_run_job_know_their_part_and_a_retried_task_does_nothing_twice(desk: Desk) -> None:
    name = desk.file(leads(400))
    job = {"CLOUD_RUN_TASK_COUNT": str(SHARDS), "CLOUD_RUN_EXECUTION": "import-x7k2p"}
    list(by_all(desk, name, *CUSTOM, env=job))
    found = desk.data("imports")
    assert len(found) == 1
    assert [part["shard"] for part in found[0]["shards"]] == [1, 2, 3]
    again = replace(desk, root=desk.root / "another-machine")
    again.file(leads(400))
    retried = again.data(
        "import", name, *CUSTOM, code=7, env={**job, "CLOUD_RUN_TASK_INDEX": "1", "CLOUD_RUN_TASK_ATTEMPT": "1"}
    )
    assert retried["books"] == found[0]["shards"][1]["books"]
    assert retried["family"] == found[0]["run"]


def test_a_part_that_is_missing_is_told(desk: Desk) -> None:
    desk.brought(desk.file(leads(300)), *CUSTOM, "--shard", "2/3", code=7)
    run = desk.data("imports")[0]["run"]
    merged = desk.data("imports", run)
    assert (merged["whole"], merged["missing"]) == (False, [1, 3])


@pytest.mark.parametrize("told", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"])
def test_a_part_that_is_none_is_refused(desk: Desk, told: str) -> None:
    desk.here("import", desk.file(leads(3)), "--shard", told).assert_told(ExitCode.USAGE, "--shard")


async def _edited(store: ContactStore, tenant: str, email: str) -> None:
    found = await store.get(tenant, contact_id(tenant, email))
    assert found
    await store.replace(tenant, replace(found, name="edited since", mark="somebody"), version=found.version)


def test_undo_removes_and_restores_and_leaves_alone_what_was_touched_since(desk: Desk) -> None:
    desk.brought(desk.file(HEAD + "".join(f"Old {n},p{n}@x.com,,\n" for n in range(0, 120, 2))), *CUSTOM)
    before = desk.stored()
    found = desk.brought(
        desk.file(HEAD + "".join(f"New {n},p{n}@x.com,C,\n" for n in range(120))), *CUSTOM, "--on-duplicate", "update"
    )
    assert (found["created"], found["updated"]) == (60, 60)
    run = desk.data("imports")[0]["run"]
    for email in ("p4@x.com", "p7@x.com"):
        desk.ask(lambda store, email=email: _edited(store, desk.tenant, email))
    desk.ask(lambda store: store.remove(desk.tenant, contact_id(desk.tenant, "p6@x.com")))
    undone = desk.data("undo", run)
    assert (undone["removed"], undone["restored"], undone["left_alone"]) == (59, 58, 3)
    assert {(item["id"], item["why"]) for item in undone["left"]} == {
        (contact_id(desk.tenant, "p4@x.com"), "changed since"),
        (contact_id(desk.tenant, "p7@x.com"), "changed since"),
        (contact_id(desk.tenant, "p6@x.com"), "deleted since"),
    }
    after = desk.stored()
    touched = {contact_id(desk.tenant, f"p{n}@x.com") for n in (4, 6, 7)}
    assert {id: one for id, one in after.items() if id not in touched} == {
        id: one for id, one in before.items() if id not in touched
    }
    assert desk.data("undo", run) == undone
    assert desk.data("imports")[0]["shards"][0]["state"] == "undone"


def test_undo_of_a_sharded_import_takes_all_of_it_back(desk: Desk) -> None:
    list(by_all(desk, desk.file(crossing()), *CUSTOM))
    created = len(desk.stored())
    undone = desk.data("undo", desk.data("imports")[0]["run"])
    assert (undone["removed"], undone["left_alone"]) == (created, 0)
    assert not desk.stored()


def test_a_later_import_is_not_undone_with_an_earlier_one(desk: Desk) -> None:
    desk.brought(desk.file(HEAD + "A,a@x.com,1,\nB,b@x.com,1,\n"), *CUSTOM)
    first = desk.data("imports")[0]["run"]
    desk.brought(desk.file(HEAD + "B2,b@x.com,2,\n"), *CUSTOM, "--on-duplicate", "update")
    undone = desk.data("undo", first)
    assert (undone["removed"], undone["left_alone"]) == (1, 1)
    assert {one.name for one in desk.stored().values()} == {"B2"}


def test_an_import_that_is_not_there_cannot_be_undone(desk: Desk) -> None:
    desk.here("undo", "nothing").assert_told(ExitCode.USAGE, "there is no import", "xgw contacts imports")


def test_one_part_that_is_done_is_told_as_done_and_a_report_of_rejects_is_no_failure(desk: Desk) -> None:
    desk.brought(desk.file(leads(300)), *CUSTOM, "--shard", "2/3", code=7)
    run = desk.data("imports")[0]["shards"][0]["run"]
    shown = desk.here("imports", run)
    assert shown.code == 0
    assert "done" in shown.out
    assert "unfinished" not in shown.out
    assert f"part 2 of 3 of import {run.partition('.')[0]}" in shown.out
    assert desk.data("imports", run)["whole"] is True
    desk.brought(desk.file(leads(300)), *CUSTOM, code=7)
    assert desk.here("imports", desk.data("imports")[0]["run"]).code == 0


def test_the_list_tells_created_and_updated_apart_from_what_was_left_alone(desk: Desk) -> None:
    desk.brought(desk.file(HEAD + "A,a@x.com,1,\nB,b@x.com,1,\n"), *CUSTOM)
    desk.brought(desk.file(HEAD + "A2,a@x.com,2,\nC,c@x.com,1,\n,,,x\n"), *CUSTOM, code=7)
    lines = desk.here("imports").out.splitlines()
    assert lines[0].split() == ["RUN", "WHEN", "FILE", "TENANT", "CREATED", "UPDATED", "REJECTED", "STATE"]
    assert lines[1].split()[-5:-2] == ["1", "0", "1"]


def test_an_import_that_is_still_at_work_is_not_begun_anew(desk: Desk) -> None:
    from xgw import lock

    name = desk.file(leads(300))
    killed = desk.run("import", name, *CUSTOM, "-q", fault="batch-sent#2:crash")
    assert killed.code < 0
    run = desk.data("imports")[0]["run"]
    target = f"contacts import {run}"
    with lock.held(desk.home, target, target):
        desk.here("import", name, *CUSTOM, "--restart").assert_told(ExitCode.CONFLICT, "is working", "pid")
    assert desk.data("imports")[0]["shards"][0]["state"] == "open"
    desk.brought(name, *CUSTOM, "--restart", code=7)
