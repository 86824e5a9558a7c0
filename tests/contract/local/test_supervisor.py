import asyncio
import os
import re
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import psutil

from tests.helpers.local_stage import MIB, QUICK, WELL_BEHAVED, eventually, revision, stage
from tests.helpers.waiting import PATIENCE
from xgw.local import images, leftovers
from xgw.local.instances import CONTAINER_MISSING, HEALTH_CHECK_CONTAINER_ERROR, Route
from xgw.local.slot import State, Timing

HASTY = Timing(startup=1.0, grace=0.5, backoff=(0.1, 0.3, 0.6), steady=5.0)
MEMORY_LINE = re.compile(
    r"Memory limit of (\d+) MiB exceeded with (\d+) MiB used\. Consider increasing the memory limit, "
    r"see https://cloud\.google\.com/run/docs/configuring/memory-limits"
)


def test_an_instance_gets_the_contract_environment_and_nothing_of_the_daemons(tmp_path, monkeypatch):
    monkeypatch.setenv("XGW_SECRET_OF_THE_DAEMON", "1")

    async def play():
        async with stage(tmp_path) as s:
            await s.serve("one")
            running = s.supervisor.running()["one"]
            env = psutil.Process(running.pid).environ()
            assert (env["K_SERVICE"], env["K_REVISION"], env["K_CONFIGURATION"]) == ("shop", "one", "shop")
            assert (env["PORT"], env["COLOUR"]) == (str(running.port), "blue")
            assert "XGW_SECRET_OF_THE_DAEMON" not in env
            assert "HOME" not in env
            assert os.getsid(running.pid) == running.pid

    asyncio.run(play())


def test_starting_a_running_revision_is_no_second_process(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            results = await asyncio.gather(*(s.supervisor.start(revision("one")) for _ in range(3)))
            assert all(result.ready for result in results)
            pid = s.supervisor.running()["one"].pid
            assert (await s.supervisor.start(revision("one"))).ready
            assert s.supervisor.running()["one"].pid == pid

    asyncio.run(play())


def test_a_program_that_crashes_at_start_is_not_ready_and_its_words_are_logged(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            result = await s.supervisor.start(revision("bad", images.FAULT_CRASH))
            assert (result.ready, result.reason) == (False, HEALTH_CHECK_CONTAINER_ERROR)
            assert "listen on the port defined provided by the PORT=8080 environment variable" in result.message
            assert "Container called exit(1)." in result.message
            assert [line.payload for line in s.lines(revision="bad")] == [
                "fault-crash: giving up at start",
                "Container called exit(1).",
            ]
            assert not s.supervisor.running()

    asyncio.run(play())


def test_a_program_that_never_listens_is_ended_at_the_deadline(tmp_path):
    async def play():
        async with stage(tmp_path, HASTY) as s:
            starting = asyncio.create_task(s.supervisor.start(revision("mute", images.FAULT_SILENT)))
            pid = await eventually(lambda: (r := s.supervisor.running().get("mute")) and r.pid)
            began = time.monotonic()
            result = await starting
            assert (result.ready, result.reason) == (False, HEALTH_CHECK_CONTAINER_ERROR)
            assert time.monotonic() - began < 8
            assert not psutil.pid_exists(pid)

    asyncio.run(play())


def test_an_unknown_image_is_missing(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            assert (await s.supervisor.start(revision("x", "gcr.io/nowhere/x"))).reason == CONTAINER_MISSING

    asyncio.run(play())


def test_a_revision_that_takes_too_much_memory_at_start_is_killed_and_says_so(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            result = await s.supervisor.start(revision("fat", images.FAULT_MEMORY_AT_START, memory_mib=128))
            assert not result.ready
            (line,) = s.lines(revision="fat", severity="ERROR")
            found = MEMORY_LINE.fullmatch(line.payload)
            assert int(found[1]) == 128 <= int(found[2])

    asyncio.run(play())


def test_a_revision_over_its_memory_limit_is_killed_logged_and_restarted(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            url = await s.serve("fat", image=images.FAULT_MEMORY_UNDER_LOAD, memory_mib=128)
            pid = s.supervisor.running()["fat"].pid
            answers = []
            async with httpx.AsyncClient(timeout=PATIENCE) as client:
                for _ in range(60):
                    answers.append(await client.get(url))
                    if answers[-1].status_code != 200:
                        break
                    await asyncio.sleep(0.01)
                assert answers[-1].status_code == 503
                assert answers[-1].content == b""
                await eventually(lambda: s.supervisor.running()["fat"].restarts == 1 and s.supervisor.place("fat"))
                assert (await client.get(f"{url}/health")).status_code == 200
            assert s.supervisor.running()["fat"].pid != pid
            (line,) = s.lines(revision="fat", severity="ERROR")
            assert MEMORY_LINE.fullmatch(line.payload)
            now = datetime.now(UTC)
            (series,) = s.metrics.series("container/memory/utilizations", now - timedelta(minutes=1), now)
            assert max(index for interval in series.intervals for index in interval.counts) == 101

    asyncio.run(play())


def test_a_crash_while_serving_is_answered_with_an_empty_503_and_a_restart(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            url = await s.serve("one")
            async with httpx.AsyncClient(timeout=PATIENCE) as client:
                dying = await client.get(f"{url}/die")
                assert (dying.status_code, dying.content) == (503, b"")
                await eventually(lambda: s.supervisor.running()["one"].restarts == 1 and s.supervisor.place("one"))
                assert (await client.get(url)).status_code == 200
            assert s.supervisor.running()["one"].restarts == 1
            assert "Container called exit(3)." in [line.payload for line in s.lines(revision="one")]

    asyncio.run(play())


def test_a_crash_loop_is_slowed_down(tmp_path):
    async def play():
        async with stage(tmp_path, replace(QUICK, steady=PATIENCE)) as s:
            await s.serve("one")
            pauses = []
            for _ in range(4):
                pid = s.supervisor.running()["one"].pid
                os.kill(pid, signal.SIGKILL)
                died = time.monotonic()
                await eventually(lambda pid=pid: s.supervisor.running()["one"].pid not in (pid, 0))
                pauses.append(time.monotonic() - died)
                await eventually(lambda: s.supervisor.running()["one"].state is State.SERVING)
            for pause, least in zip(pauses, (*QUICK.backoff, QUICK.backoff[-1]), strict=True):
                assert pause >= least

    asyncio.run(play())


def test_a_program_that_ignores_sigterm_is_killed_after_the_grace(tmp_path):
    async def play():
        async with stage(tmp_path, replace(HASTY, startup=PATIENCE)) as s:
            assert (await s.supervisor.start(revision("slow", images.FAULT_SLOW_STOP))).ready
            pid = s.supervisor.running()["slow"].pid
            began = time.monotonic()
            await asyncio.gather(s.supervisor.stop("slow"), s.supervisor.stop("slow"))
            assert 0.4 < time.monotonic() - began < 8
            assert not psutil.pid_exists(pid)
            await s.supervisor.stop("slow")
            await s.supervisor.stop("never-heard-of")

    asyncio.run(play())


def test_a_request_in_flight_ends_before_the_stop_and_a_start_calls_the_stop_off(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            url = await s.serve("one")
            pid = s.supervisor.running()["one"].pid
            async with httpx.AsyncClient(timeout=PATIENCE) as client:
                slow = asyncio.create_task(client.get(f"{url}/slow?0.8"))
                await eventually(lambda: s.in_flight.count("one"))
                await s.supervisor.stop("one")
                assert s.supervisor.running()["one"].state is State.DRAINING
                assert (await client.get(url)).status_code == 503
                assert (await s.supervisor.start(revision("one"))).ready
                assert (await client.get(url)).json()["pid"] == pid
                await s.supervisor.stop("one")
                assert (await slow).status_code == 200
            await eventually(lambda: not s.supervisor.running())
            assert not psutil.pid_exists(pid)

    asyncio.run(play())


def test_a_fault_that_answers_500_still_looks_healthy(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            url = await s.serve("bad", image=images.FAULT_ERRORS)
            async with httpx.AsyncClient(timeout=PATIENCE) as client:
                assert (await client.get(f"{url}/health")).status_code == 200
                assert (await client.post(f"{url}/api", content=b"x")).status_code == 500

    asyncio.run(play())


def test_leftovers_are_ended_but_never_a_process_that_only_has_the_same_pid(tmp_path):
    async def play():
        async with stage(tmp_path / "stage") as s:
            assert (await s.supervisor.start(revision("one", WELL_BEHAVED))).ready
            pid = s.supervisor.running()["one"].pid
            (noted,) = leftovers.noted(tmp_path / "stage" / "instances")
            assert noted.pid == pid
            notes = tmp_path / "notes"
            notes.mkdir()
            leftovers.note(notes, "foreign", leftovers.Noted(pid, noted.created - 100))
            assert leftovers.sweep(notes) == 0
            assert psutil.pid_exists(pid)
            leftovers.note(notes, "own", noted)
            assert leftovers.sweep(notes) == 1
            assert not leftovers.is_alive(noted)
            assert not list(notes.iterdir())

    asyncio.run(play())


def test_memory_of_children_counts_and_they_die_with_the_instance(tmp_path):
    async def play():
        async with stage(tmp_path) as s:
            await s.serve("one", image="tests/parent")
            await s.door.set_routes("shop", [Route("one", 100)])
            running = s.supervisor.running()["one"]
            (child,) = await eventually(lambda: psutil.Process(running.pid).children())
            await eventually(lambda: s.supervisor.running()["one"].memory_bytes > 60 * MIB)
            os.kill(running.pid, signal.SIGKILL)
            await eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)

    asyncio.run(play())
