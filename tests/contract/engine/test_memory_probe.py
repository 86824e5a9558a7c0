"""The memory probe against a real HTTP server, its samples in the embedded cloud's Monitoring API."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from google.api import distribution_pb2

from tests.helpers.engine import Engine
from tests.helpers.local_cloud import LocalCloud
from xgw.cloud.metrics import _top
from xgw.load.generator import drive
from xgw.plan.model import GATEWAY, Reading, Subject, Verdict
from xgw.probes.memory import OOM_LINE, memory_fits


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def says(status: int, each: Callable[[], None] = lambda: None) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        each()
        handler.send_response(status)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def measured(engine: Engine, url: str) -> Reading:
    service = engine.target.service(GATEWAY)
    wanted = {GATEWAY: {"memory": service.fields["memory"]}}
    subject = Subject(engine.target, "live", {GATEWAY: url}, {GATEWAY: service.main}, wanted)
    return memory_fits(GATEWAY).measure(subject)


@contextmanager
def sampling(engine: Engine, cloud: LocalCloud, fraction: float = 0.2) -> Iterator[None]:
    """The platform's samples of the revision that serves, as long as the block takes."""
    revision, over = engine.target.service(GATEWAY).main, threading.Event()

    def sample() -> None:
        while not over.wait(0.05):
            cloud.metrics.add_memory_sample("gateway", revision, fraction)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_peak_under_the_limit_passes(engine: Engine, cloud: LocalCloud):
    with serving(says(200)) as url, sampling(engine, cloud):
        assert measured(engine, url).verdict is Verdict.PASSED


def failing(times: int) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answers 503 so often, then well."""
    left = list(range(times))

    def answer(handler: BaseHTTPRequestHandler) -> None:
        says(503 if left and left.pop() >= 0 else 200)(handler)

    return answer


@pytest.mark.parametrize(("times", "verdict"), [(1, Verdict.PASSED), (2, Verdict.FAILED)])
def test_a_share_of_failed_requests_is_allowed_and_no_more(engine: Engine, cloud: LocalCloud, times, verdict):
    with serving(failing(times)) as url, sampling(engine, cloud):
        reading = measured(engine, url)
    assert reading.verdict is verdict, reading


def test_requests_that_were_turned_away_are_no_load(engine: Engine, cloud: LocalCloud):
    with serving(says(403)) as url, sampling(engine, cloud):
        reading = measured(engine, url)
    assert reading.verdict is Verdict.INCONCLUSIVE
    assert "0 of 150" in reading.measured


def test_a_kill_that_the_log_tells_late_still_counts(engine: Engine, cloud: LocalCloud):
    from datetime import UTC, datetime

    revision = engine.target.service(GATEWAY).main
    text = f"{OOM_LINE} 512 MiB exceeded with 514 MiB used."
    say = lambda: cloud.logs.append("gateway", revision, "ERROR", text, datetime.now(UTC))  # noqa: E731
    with serving(says(200)) as url:
        late = threading.Timer(1.9, say)
        late.start()
        sampled = threading.Timer(2.1, lambda: cloud.metrics.add_memory_sample("gateway", revision, 0.2))
        sampled.start()
        reading = measured(engine, url)
        late.join()
        sampled.join()
    assert reading.verdict is Verdict.FAILED, reading
    assert "killed" in reading.measured


def test_a_server_that_trickles_for_ever_does_not_hold_the_load(engine: Engine):
    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        with suppress(OSError):
            for _ in range(300):
                handler.wfile.write(b"x")
                time.sleep(0.2)

    with serving(trickle) as url:
        began = time.monotonic()
        load = drive([url], rate=10, seconds=0.5, timeout=1)
        assert time.monotonic() - began < 30
    assert load.failed == load.sent == 5


@pytest.mark.parametrize(
    ("counts", "top"), [([0, 3], 0.2), ([0, 0, 0, 1], 0.9), ([0, 0, 0, 0, 1], 1.0)], ids=["first", "last", "open"]
)
def test_a_peak_is_never_read_lower_than_its_bucket(counts, top):
    distribution = distribution_pb2.Distribution(count=sum(counts), bucket_counts=counts)
    distribution.bucket_options.explicit_buckets.bounds.extend([0.0, 0.2, 0.5, 0.9])
    assert _top(distribution) == top
