from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.helpers.gateway_process import ROOT, Running, proven, read_answer, running
from tests.helpers.raw_upstream import OK, RawUpstream, mute, says
from tests.helpers.waiting import PATIENCE, free_port, until

CLEAN = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
CRM = {"ROLE": "crm"}


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway_runtime", *arguments]
    return subprocess.run(
        command, env={**CLEAN, **env}, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@pytest.mark.parametrize("role", ["gateway", "crm", "slack", "gmail"])
def test_every_role_is_alive_on_its_port_and_stops_with_0(role: str, tmp_path: Path) -> None:
    env = {**CRM, "CONTACTS_STORE": f"sqlite://{tmp_path}/c.db", "ROLE": role}
    with running(tmp_path, **env) as process:
        answer = process.ask("GET", "/health")
        assert (answer.status, answer.json()) == (200, {"status": "healthy"})
        assert answer.header("server") is None
        assert process.stop() == 0


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({"PORT": "http"}, "PORT"),
        ({"CORS_ALLOWED_ORIGINS": "https://a.*.com"}, "CORS_ALLOWED_ORIGINS"),
        ({"ROLE": "crm"}, "CONTACTS_STORE"),
    ],
)
def test_a_wrong_setting_ends_the_start_with_one_line_and_2(env: dict[str, str], name: str) -> None:
    done = run(**env)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"gateway_runtime: {name}: [^\n]+\n", done.stderr)


def test_a_taken_port_ends_the_start_with_1_and_says_so() -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        done = run(PORT=str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "address already in use" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_database_that_cannot_be_opened_ends_the_start_with_1(tmp_path: Path) -> None:
    done = run(**CRM, CONTACTS_STORE=f"sqlite://{tmp_path}/no/such/folder.db", PORT=str(free_port()))
    assert done.returncode == 1
    assert "unavailable: SQLITE_CANTOPEN" in done.stdout
    assert "no/such/folder.db" in done.stdout


def test_settings_can_be_shown_without_starting() -> None:
    done = run("--show-settings", UPSTREAM_CRM_URL="http://crm.internal:81")
    assert done.returncode == 0
    assert "ERROR_DETAIL=none\n" in done.stdout
    assert "UPSTREAM_CRM_URL=http://crm.internal:81\n" in done.stdout


def test_help_starts_with_examples_and_an_unknown_argument_is_2() -> None:
    assert run("--help").stdout.startswith("Examples:")
    assert run("--frobnicate").returncode == 2


@pytest.mark.parametrize("first", ["--show-settings", "--settings-reference", "--help"])
def test_an_argument_too_many_is_the_one_that_is_named(first: str) -> None:
    done = run(first, "extra", UPSTREAM_CRM_URL="http://crm")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "gateway_runtime: unknown argument 'extra'; see --help\n"


def _ended_once_it_listens(process: subprocess.Popen[str], port: int) -> None:
    while process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            process.terminate()
            return
        time.sleep(0.02)


def test_a_start_imports_nothing_heavy_and_nothing_of_xgw() -> None:
    port = free_port()
    command = [sys.executable, "-X", "importtime", "-m", "gateway_runtime"]
    with subprocess.Popen(
        command,
        env={**CLEAN, "PORT": str(port)},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        ending = threading.Thread(target=_ended_once_it_listens, args=(process, port))
        ending.start()
        try:
            _, said = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            ending.join()
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in said.splitlines()}
    assert {"gateway_runtime", "uvicorn", "httptools"} <= imported
    heavy = {
        "xgw",
        "click",
        "multiprocessing",
        "httpx",
        "grpc",
        "google",
        "sqlite3",
        "redis",
        "starlette",
        "aiohttp",
        "socketio",
    }
    assert not heavy & imported


def accepts(gateway: Running) -> bool:
    try:
        socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


def test_a_request_in_flight_is_finished_after_sigterm(tmp_path: Path) -> None:
    begun, going_on = threading.Event(), threading.Event()

    def play(wire: socket.socket, _number: int) -> None:
        wire.sendall(OK[:-2])
        begun.set()
        going_on.wait(PATIENCE)
        wire.sendall(OK[-2:])
        wire.close()

    with RawUpstream(play) as upstream, running(tmp_path, UPSTREAM_SLACK_URL=upstream.url) as gateway:
        found: list[tuple[int, bytes]] = []
        client = threading.Thread(
            target=lambda: found.append((lambda a: (a.status, a.body))(gateway.ask("GET", "/api/v2/slack/x")))
        )
        client.start()
        assert begun.wait(PATIENCE)
        gateway.process.terminate()
        until(lambda: not accepts(gateway))
        assert gateway.process.poll() is None
        going_on.set()
        assert gateway.process.wait(timeout=PATIENCE) == 0
        client.join()
        assert found == [(200, b"ok")]
        assert any("GET /api/v2/slack/x 200" in line for line in gateway.lines())


@pytest.mark.alone
def test_a_request_that_will_not_end_does_not_keep_the_process_past_8_seconds(tmp_path: Path) -> None:
    with (
        mute() as upstream,
        running(tmp_path, UPSTREAM_SLACK_URL=upstream.url) as gateway,
        socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE) as client,
    ):
        client.sendall(proven(b"GET /api/v2/slack/x HTTP/1.1\r\nHost: x\r\n\r\n"))
        until(lambda: upstream.requests)
        began = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - began < 8
        assert (answer := read_answer(client)).status == 503
        assert answer.code == "SERVICE_UNAVAILABLE"


def test_idle_connections_do_not_delay_the_stop(tmp_path: Path) -> None:
    with running(tmp_path) as gateway, socket.create_connection(("127.0.0.1", gateway.port)) as idle:
        idle.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(idle).status == 200
        began = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - began < 5, "it waited for them as for a request: six seconds"


def test_every_line_is_json_with_a_severity_and_names_its_revision(tmp_path: Path) -> None:
    with running(tmp_path, K_SERVICE="svc", K_REVISION="svc-001", GOOGLE_CLOUD_PROJECT="proj-1") as gateway:
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        gateway.ask("GET", "/health?token=hunter2", f"traceparent: {parent}", "X-Request-Id: r-1")
        gateway.ask("GET", "/nothing\x1b[31m")
        gateway.raw(b"NONSENSE\r\n\r\n")
        gateway.stop()
        entries = gateway.log()
        assert all(entry["severity"] in ("INFO", "WARNING", "ERROR") for entry in entries)
        first = next(entry for entry in entries if "httpRequest" in entry)
        assert (first["service"], first["revision"], first["requestId"]) == ("svc", "svc-001", "r-1")
        assert first["logging.googleapis.com/trace"] == "projects/proj-1/traces/0af7651916cd43dd8448eb211c80319c"
        assert first["httpRequest"]["status"] == 200
        assert "hunter2" not in "".join(gateway.lines())


def test_the_documents_current_state_writes_plain_lines_with_debug(tmp_path: Path) -> None:
    with running(tmp_path, LOG_FORMAT="text", LOG_LEVEL="debug") as gateway:
        gateway.ask("GET", "/health", "User-Agent: a b")
        gateway.stop()
        # The keys are read in the background: that line comes when it comes.
        lines = [line for line in gateway.lines() if not line.startswith("info The keys of the tokens ")]
        assert lines[0].startswith("debug route matched ")
        assert lines[1].startswith("info GET /health 200 ")
        assert 'userAgent="a b"' in lines[1]
        assert not any(line.startswith("{") or "\x1b" in line for line in lines)


def test_only_errors_are_logged_at_rate_0(tmp_path: Path) -> None:
    with running(tmp_path, LOG_SAMPLE_RATE="0") as gateway:
        for _ in range(5):
            gateway.ask("GET", "/health")
        gateway.ask("GET", "/nothing")
        gateway.stop()
        assert {entry["httpRequest"]["status"] for entry in gateway.log() if "httpRequest" in entry} == {404}
        assert {entry.get("sampleRate", 0) for entry in gateway.log()} == {0}


@pytest.mark.parametrize(("detail", "shown"), [("none", False), ("full", True)])
def test_an_error_answer_shows_its_stack_only_when_told_to(detail: str, shown: bool, tmp_path: Path) -> None:
    with running(tmp_path, ERROR_DETAIL=detail) as gateway:
        for target, status in (("/nothing", 404), ("/api/v2/slack/x", 503), ("/a/../b", 400)):
            answer = gateway.ask("GET", target)
            assert answer.status == status
            assert ("stack" in answer.json()["error"]) is shown
            assert ("details" in answer.json()["error"]) is shown
            assert (b"gateway_runtime" in answer.body) is shown


def test_an_error_answer_can_be_read_by_an_allowed_page(tmp_path: Path) -> None:
    with running(tmp_path, CORS_ALLOWED_ORIGINS="https://*.xynergy.com") as gateway:
        for target in ("/nothing", "/api/v2/slack/x", "/a//b"):
            answer = gateway.ask("GET", target, "Origin: https://app.xynergy.com")
            assert answer.status >= 400
            assert answer.header("access-control-allow-origin") == "https://app.xynergy.com"
            assert gateway.ask("GET", target, "Origin: https://evil.com").header("access-control-allow-origin") is None
        preflight = gateway.ask(
            "OPTIONS", "/api/v2/slack/x", "Origin: https://app.xynergy.com", "Access-Control-Request-Method: PUT"
        )
        assert (preflight.status, preflight.header("access-control-max-age")) == (204, "7200")


def test_the_host_field_is_never_used_and_strange_targets_do_no_harm(tmp_path: Path) -> None:
    with RawUpstream(says(OK, then="keep")) as upstream, running(tmp_path, UPSTREAM_SLACK_URL=upstream.url) as gateway:
        for data in (
            b"GET /api/v2/slack/x HTTP/1.1\r\nHost: 169.254.169.254\r\nConnection: close\r\n\r\n",
            b"GET http://a.b/api/v2/slack/x HTTP/1.1\r\nHost: a.b\r\nConnection: close\r\n\r\n",
        ):
            assert gateway.raw(proven(data)).status == 200
        for data in (
            b"GET /api/v2/slack/x HTTP/1.1\r\nHost: 169.254.169.254/x?y=\r\nConnection: close\r\n\r\n",
            b"GET http://169.254.169.254/api/v2/slack/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            b"GET @127.0.0.1:1/ HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET //evil HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        ):
            assert gateway.raw(data).status == 400
        host = upstream.url.removeprefix("http://").encode()
        assert [request.split(b"\r\n")[1] for request in upstream.requests] == [b"host: " + host] * 2
        assert gateway.ask("GET", "/health").status == 200


def test_the_log_is_json_even_for_what_libraries_say(tmp_path: Path) -> None:
    with running(tmp_path) as gateway:
        gateway.raw(b"\x00\x01\x02\r\n\r\n")
        line = next(line for line in gateway.await_log("BAD_REQUEST") if "BAD_REQUEST" in line)
        assert json.loads(line)["severity"] == "WARNING"
