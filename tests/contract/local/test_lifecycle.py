import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from dataclasses import replace

import httpx
import psutil
import pytest

from tests.helpers.local_daemon import gone, home_of_its_own, instance_pids, ports_of, wait_until
from tests.helpers.waiting import PATIENCE
from xgw.errors import Unreachable, XgwError
from xgw.local import files, leftovers, lifecycle, ports


def test_it_comes_up_with_the_baseline_once_and_goes_down_whole(tmp_path):
    with home_of_its_own(tmp_path) as home:
        assert lifecycle.status(home) is None
        assert lifecycle.down(home) is False
        endpoint = lifecycle.ensure_up(home)
        assert lifecycle.ensure_up(home) == endpoint
        found = lifecycle.status(home)
        assert (found.pid, found.grpc) == (endpoint.pid, endpoint.grpc)
        assert (found.project, found.region) == ("xgw-local", "us-central1")
        assert len(found.services) == 4
        for service in found.services:
            (revision,) = service["revisions"]
            assert (revision["percent"], revision["state"]) == (100, "serving")
            assert revision["memory_bytes"] > 1_000_000
            assert httpx.get(f"{service['url']}/health").status_code == 200
        pids = instance_pids(home)
        began = time.monotonic()
        assert lifecycle.down(home) is True
        assert time.monotonic() - began < lifecycle.STOP_S, "it had to be killed"
        assert all(map(gone, [endpoint.pid, *pids]))
        assert lifecycle.status(home) is None


def test_kill_nine_of_the_daemon_orphans_nothing_and_everything_is_there_again(tmp_path):
    with home_of_its_own(tmp_path) as home:
        endpoint = lifecycle.ensure_up(home)
        pids, promised = instance_pids(home), ports_of(home)
        os.kill(endpoint.pid, signal.SIGKILL)
        wait_until(lambda: all(map(gone, pids)))
        wait_until(
            lambda: not files.is_locked(files.daemon_lock(home))
        )  # its last thread may end after the instances did
        assert lifecycle.status(home) is None
        again = lifecycle.ensure_up(home)
        assert again.pid != endpoint.pid
        assert ports_of(home) == promised
        assert len(instance_pids(home)) == 4


def test_down_in_a_copied_home_leaves_the_processes_of_the_original_alone(tmp_path):
    with home_of_its_own(tmp_path) as home:
        endpoint = lifecycle.ensure_up(home)
        pids, copy = instance_pids(home), tmp_path / "copy"
        shutil.copytree(home, copy)
        assert lifecycle.down(copy) is False
        assert not [pid for pid in (endpoint.pid, *pids) if gone(pid)]
        assert len(instance_pids(home)) == 4


def test_down_ends_everything_also_after_the_home_was_moved(tmp_path):
    moved = tmp_path / "moved"
    with home_of_its_own(tmp_path) as home:
        endpoint = lifecycle.ensure_up(home)
        pids = instance_pids(home)
        home.rename(moved)
        assert lifecycle.down(moved) is True
        assert all(map(gone, [endpoint.pid, *pids]))


def test_two_who_start_it_at_once_get_one_daemon(tmp_path):
    with home_of_its_own(tmp_path) as home:
        found = []
        threads = [threading.Thread(target=lambda: found.append(lifecycle.ensure_up(home))) for _ in range(2)]
        command = [sys.executable, "-c", "import sys, pathlib; from xgw.local import lifecycle; "
                   "print(lifecycle.ensure_up(pathlib.Path(sys.argv[1])).pid)", str(home)]  # fmt: skip
        other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        told, _ = other.communicate(timeout=PATIENCE)
        assert {endpoint.pid for endpoint in found} == {int(told)}
        assert len(found) == 2


def test_a_ready_file_of_a_dead_or_foreign_process_is_not_believed(tmp_path):
    with home_of_its_own(tmp_path) as home:
        files.root(home).mkdir(parents=True)
        me = psutil.Process()
        stale = files.LocalEndpoint("127.0.0.1:1", "http://127.0.0.1:1", "p", "r", me.pid, leftovers.stamp(me.pid))
        files.write_endpoint(home, stale)
        assert lifecycle.status(home) is None
        assert lifecycle.down(home) is False
        endpoint = lifecycle.ensure_up(home)
        assert endpoint.pid != me.pid
        files.write_endpoint(home, replace(endpoint, pid=me.pid))
        assert lifecycle.status(home) is None
        files.write_endpoint(home, endpoint)
        assert lifecycle.status(home) is not None


def test_a_promised_port_that_is_taken_is_a_fault_that_names_it(tmp_path):
    with home_of_its_own(tmp_path) as home:
        lifecycle.ensure_up(home)
        lifecycle.down(home)
        port = min(ports_of(home).values())
        with ports.listening(port), pytest.raises(XgwError) as caught:
            lifecycle.ensure_up(home)
        assert str(port) in caught.value.message
        assert caught.value.cause
        assert "reset" in caught.value.fix
        lifecycle.ensure_up(home)


def test_a_daemon_that_cannot_start_is_told_with_its_last_words(tmp_path):
    with home_of_its_own(tmp_path) as home:
        files.root(home).mkdir(parents=True)
        (files.root(home) / "cloud.sqlite").write_bytes(b"this is no database" * 100)
        with pytest.raises(XgwError) as caught:
            lifecycle.ensure_up(home)
        assert "not a database" in caught.value.cause
        assert not files.is_locked(files.daemon_lock(home))


def test_a_home_that_cannot_be_written_is_a_fault_that_says_so(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(XgwError) as caught:
        lifecycle.ensure_up(blocked / "home")
    assert "XGW_HOME" in caught.value.fix


def test_not_ready_in_time_is_unreachable_and_nothing_is_left(tmp_path):
    with home_of_its_own(tmp_path) as home:
        with pytest.raises(Unreachable):
            lifecycle.ensure_up(home, timeout=0.3)
        wait_until(lambda: not files.is_locked(files.daemon_lock(home)))


def test_reset_removes_the_state_and_nothing_else(tmp_path):
    with home_of_its_own(tmp_path) as home:
        lifecycle.ensure_up(home)
        ledger = home / "ledger.sqlite"
        ledger.write_text("precious")
        lifecycle.reset(home)
        assert not files.root(home).exists()
        assert ledger.read_text() == "precious"
        lifecycle.reset(home)


def test_sigterm_ends_the_daemon_with_zero(tmp_path):
    with home_of_its_own(tmp_path) as home:
        home.mkdir()
        daemon = subprocess.Popen([sys.executable, "-m", "xgw.local", "--home", str(home)], stderr=subprocess.DEVNULL)
        wait_until(lambda: lifecycle.status(home) is not None)
        pids = instance_pids(home)
        daemon.terminate()
        assert daemon.wait(timeout=PATIENCE) == 0
        assert all(map(gone, pids))


def test_the_control_endpoint_answers_loopback_names_only(tmp_path):
    with home_of_its_own(tmp_path) as home:
        control = lifecycle.ensure_up(home).control
        assert httpx.get(f"{control}/status").json()["services"]
        assert httpx.get(f"{control}/status", headers={"Host": "evil.example"}).status_code == 403
        assert httpx.get(f"{control}/other").status_code == 404
        assert httpx.post(f"{control}/status").status_code == 405


def test_the_front_door_listens_on_loopback_only_and_the_lock_is_private(tmp_path):
    with home_of_its_own(tmp_path) as home:
        endpoint = lifecycle.ensure_up(home)
        listening = [c for c in psutil.Process(endpoint.pid).net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        assert {c.laddr.ip.removeprefix("::ffff:") for c in listening} == {"127.0.0.1"}
        assert stat.S_IMODE(files.daemon_lock(home).stat().st_mode) == 0o600
        with socket.create_connection(("127.0.0.1", int(endpoint.grpc.rpartition(":")[2])), timeout=PATIENCE):
            pass


def test_the_module_loads_nothing_slow():
    code = "import sys; import xgw.local.lifecycle; print([m for m in sys.argv[1:] if m in sys.modules])"
    slow = ["grpc", "google", "google.protobuf", "httpx", "asyncio", "psutil", "sqlite3", "urllib.request"]
    done = subprocess.run([sys.executable, "-c", code, *slow], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
