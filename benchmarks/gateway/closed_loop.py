"""As many requests as the server takes: wrk, 32 connections, on the other core."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gateway.cases import Case, headers
from benchmarks.gateway.faults import BenchmarkFault

CONNECTIONS = 32

_DONE = """
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\n{"requests":%d,"us":%d,"bytes":%d,"failed":%d,"refused":%d,"p50":%.3f,"p95":%.3f,"p99":%.3f}\\n',
    summary.requests, summary.duration, summary.bytes, e.connect + e.read + e.write + e.timeout, e.status,
    latency:percentile(50) / 1000, latency:percentile(95) / 1000, latency:percentile(99) / 1000))
end
"""


@dataclass(frozen=True)
class Loaded:
    """What wrk saw: milliseconds for the percentiles, bytes with heads."""

    requests: int
    seconds: float
    bytes: int
    failed: int
    refused: int
    p50: float
    p95: float
    p99: float


def script(case: Case, token: str, body: bytes) -> str:
    """The Lua that makes a case's requests, and prints the result as a line of JSON."""
    lines = [f"wrk.method = {_lua(case.method)}"]
    lines += [f"wrk.headers[{_lua(name)}] = {_lua(value)}" for name, value in headers(case, token).items()]
    if case.body:
        lines.append(f"wrk.body = {_lua(body.decode('ascii'))}")
    return "\n".join(lines) + _DONE


def load(wrk: str, lua: Path, port: int, path: str, seconds: float) -> Loaded:
    """One slice; BenchmarkFault when wrk says nothing."""
    url = f"http://127.0.0.1:{port}{path}"
    command = [wrk, "-t1", f"-c{CONNECTIONS}", "-d3600s", "--timeout", "10s", "-s", str(lua), url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)  # wrk counts whole seconds only; this ends it properly at any time
        out = process.communicate(timeout=15)[0]
    finally:
        process.kill()
    return _read(out)


def _read(out: str) -> Loaded:
    for line in out.splitlines():
        if line.startswith('{"requests"'):
            found: Mapping[str, Any] = json.loads(line)
            return Loaded(
                found["requests"], found["us"] / 1e6, found["bytes"], found["failed"], found["refused"],
                found["p50"], found["p95"], found["p99"],
            )  # fmt: skip
    raise BenchmarkFault(f"wrk said nothing that can be read:\n{out[-800:]}")


def _lua(text: str) -> str:
    return json.dumps(text)  # the same escapes, for what stands in requests
