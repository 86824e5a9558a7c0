"""A machine whose clock stands in 1970, and requests that are large in one odd way: the process answers, and stays."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.helpers import tokens
from tests.helpers.gateway_process import Running, read_answer, running
from tests.helpers.raw_upstream import OK, RawUpstream, says
from tests.helpers.waiting import PATIENCE, until

SLACK = "/api/v2/slack/x"
IN_1970 = """
import os, runpy, time
right, began = time.time, time.time()
time.time = lambda: right() - began + 5 if os.path.exists({flag!r}) else right()
runpy.run_module("gateway_runtime", run_name="__main__")
"""
"""The gateway, for which it is five seconds past 1970 until the file is gone: then its clock has been put right."""


def test_in_1970_it_serves_and_logs_and_believes_no_token_until_the_clock_is_put_right(tmp_path: Path) -> None:
    flag = tmp_path / "wrong"
    flag.touch()
    with (
        RawUpstream(says(OK, then="keep")) as upstream,
        running(tmp_path, "-c", IN_1970.format(flag=str(flag)), UPSTREAM_SLACK_URL=upstream.url) as gateway,
    ):
        assert gateway.ask("GET", "/health").status == 200
        refused = gateway.ask("GET", SLACK)
        assert (refused.status, refused.code) == (401, "UNAUTHENTICATED")
        assert (refused.header("date") or "").startswith("Thu, 01 Jan 1970 00:00:")
        assert not upstream.requests
        gateway.await_log(f"GET {SLACK} 401")
        flag.unlink()
        assert until(lambda: gateway.ask("GET", SLACK).status == 200)
        gateway.await_log(f"GET {SLACK} 200")
        gateway.stop()
    in_1970 = [line["message"] for line in gateway.log() if line["time"].startswith("1970-01-01T00:00:")]
    later = [line["message"] for line in gateway.log() if line["time"] > "2026"]
    assert f"GET {SLACK} 401" in in_1970
    assert f"GET {SLACK} 200" in later
    assert len(in_1970) + len(later) == len(gateway.lines())


@pytest.fixture(scope="module")
def upstream() -> Iterator[RawUpstream]:
    with RawUpstream(says(OK, then="keep")) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: RawUpstream) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("odd"), UPSTREAM_SLACK_URL=upstream.url) as process:
        yield process


def test_a_range_of_four_thousand_parts_is_too_large_a_head(gateway: Running, upstream: RawUpstream) -> None:
    before = len(upstream.requests)
    ranges = ",".join(f"{n}-{n}" for n in range(4000))
    answer = gateway.ask("GET", SLACK, f"Range: bytes={ranges}")
    assert (answer.status, answer.code) == (431, "HEAD_TOO_LARGE")
    assert len(upstream.requests) == before


def test_as_many_parts_as_fit_are_the_upstreams_to_answer_and_never_cached(
    gateway: Running, upstream: RawUpstream
) -> None:
    before = len(upstream.requests)
    ranges = ",".join(["0-0"] * 3500)
    for _ in range(2):
        answer = gateway.ask("GET", SLACK, f"Range: bytes={ranges}")
        assert (answer.status, answer.body, answer.header("x-cache")) == (200, b"ok", "bypass")
    assert len(upstream.requests) == before + 2


def test_a_head_of_two_hundred_thousand_fields_is_refused_while_it_is_read(gateway: Running) -> None:
    lines = ["GET /health HTTP/1.1", "Host: g", *(f"F{n}: v" for n in range(200_000))]
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE) as wire:
        with suppress(BrokenPipeError, ConnectionResetError):  # who sends on and on is cut off, perhaps while it sends
            wire.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        answer = read_answer(wire)
    assert (answer.status, answer.code, answer.header("connection")) == (431, "HEAD_TOO_LARGE", "close")
    assert gateway.ask("GET", "/health", token="").status == 200


def test_a_form_of_two_hundred_thousand_fields_is_bytes_to_the_gateway(gateway: Running, upstream: RawUpstream) -> None:
    form = "&".join(f"f{n}=v" for n in range(200_000)).encode()
    answer = gateway.ask("POST", SLACK, "Content-Type: application/x-www-form-urlencoded", body=form)
    assert answer.status == 200
    assert upstream.requests[-1].endswith(form)


def test_a_form_of_two_hundred_thousand_fields_is_no_contact(crm: Running) -> None:
    form = "&".join(f"f{n}=v" for n in range(200_000)).encode()
    answer = crm.ask("POST", "/contacts", "Content-Type: application/x-www-form-urlencoded", body=form)
    assert answer.status == 415
    assert answer.json().keys() == {"error"}
    assert crm.ask("GET", "/contacts", tokens.bearer(), token="").status == 200
