"""The log probe against a real HTTP server, its lines in the embedded cloud's Logging API."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.helpers.engine import Engine
from tests.helpers.local_cloud import LocalCloud
from xgw.plan.model import GATEWAY, Reading, Subject, Verdict
from xgw.probes.logs import _written, logs_are_structured_and_sampled
from xgw.resources import LogLine

REVISION = "gateway-00001-abc"


class Program:
    """Answers /health with `status` and anything else with 404, and logs every request, some of them late."""

    def __init__(
        self, cloud: LocalCloud, *, status: int = 200, late_s: float = 0, log: bool = True, ahead_s: float = 0
    ) -> None:
        self.cloud, self.status, self.late_s, self.log = cloud, status, late_s, log
        self.count, self.ahead_s = 0, ahead_s

    def write(self, status: int, request_id: str) -> None:
        payload = {"message": "x", "requestId": request_id, "sampleRate": 1, "httpRequest": {"status": status}}
        self.cloud.logs.append("gateway", REVISION, "INFO", payload, self.now())

    def now(self) -> datetime:
        """The platform's clock, which need not be this machine's."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s)

    def answer(self, path: str, request_id: str) -> int:
        status = self.status if path == "/health" else 404
        self.count += 1
        if self.log and self.late_s and self.count % 2:
            threading.Timer(self.late_s, self.write, (status, request_id)).start()
        elif self.log:
            self.write(status, request_id)
        return status


@contextmanager
def serving(program: Program) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(program.answer(self.path, self.headers.get("X-Request-Id", "")))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def measured(engine: Engine, url: str) -> Reading:
    wanted = {GATEWAY: {"env.LOG_SAMPLE_RATE": "1"}}
    subject = Subject(engine.target, "live", {GATEWAY: url}, {GATEWAY: REVISION}, wanted)
    return logs_are_structured_and_sampled(GATEWAY).measure(subject)


def test_the_lines_about_the_users_of_a_live_service_are_not_counted(engine: Engine, cloud: LocalCloud):
    program = Program(cloud)
    with serving(program) as url:
        users = threading.Timer(0.05, lambda: [program.write(200, f"user-{n}") for n in range(300)])
        users.start()
        reading = measured(engine, url)
        users.join()
    assert reading.verdict is Verdict.PASSED, reading


@pytest.mark.parametrize("ahead_s", [-6.0, -0.88, 0.88, 30.0])
def test_a_platform_whose_clock_is_another_is_measured_all_the_same(engine: Engine, cloud: LocalCloud, ahead_s: float):
    with serving(Program(cloud, ahead_s=ahead_s)) as url:
        reading = measured(engine, url)
    assert reading.verdict is Verdict.PASSED, reading


def test_a_run_none_of_whose_requests_is_in_the_log_proves_nothing(engine: Engine, cloud: LocalCloud):
    program = Program(cloud, log=False)
    program.write(200, "somebody-elses")
    with serving(program) as url:
        reading = measured(engine, url)
    assert reading.verdict is Verdict.INCONCLUSIVE
    assert "none of this run's requests" in reading.measured


def test_a_plain_line_from_before_the_run_is_not_held_against_it(engine: Engine, cloud: LocalCloud):
    cloud.logs.append("gateway", REVISION, "INFO", "Started server process", datetime.now(UTC))
    with serving(Program(cloud)) as url:
        reading = measured(engine, url)
    assert reading.verdict is Verdict.PASSED, reading


def test_lines_that_come_late_are_waited_for(cloud: LocalCloud, tmp_path):
    from dataclasses import replace

    from tests.helpers.engine import target_on
    from xgw.settings import Limits

    target = target_on(cloud.target, tmp_path)
    patient = replace(target, settings=replace(target.settings, limits=Limits(measure_seconds=30)))
    with serving(Program(cloud, late_s=2.0)) as url:
        reading = measured(Engine(patient, tmp_path), url)
    assert reading.verdict is Verdict.PASSED, reading


def test_requests_that_did_not_get_in_prove_nothing(engine: Engine, cloud: LocalCloud):
    with serving(Program(cloud, status=403, log=False)) as url:
        reading = measured(engine, url)
    assert reading.verdict is Verdict.INCONCLUSIVE
    assert "403" in reading.measured


def test_what_the_platform_logs_about_a_revision_is_not_taken_for_the_programs():
    def line(log: str) -> LogLine:
        return LogLine(datetime.now(UTC), "INFO", REVISION, "", log=log)

    own = [line("stdout"), line("stderr")]
    platforms = [line("requests"), line("varlog/system"), line("cloudaudit.googleapis.com/system_event")]
    assert _written([*own, *platforms]) == own
