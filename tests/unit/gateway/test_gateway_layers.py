from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway_runtime.asgi import Response
from gateway_runtime.errors import CODES, Problem, Shed
from gateway_runtime.layers.access_log import AccessLog
from gateway_runtime.layers.cors import Cors
from gateway_runtime.layers.problems import Problems
from gateway_runtime.layers.request_id import RequestId
from gateway_runtime.logs import Log
from gateway_runtime.origins import OriginPolicy
from tests.helpers.gateway_request import answers, raises, request

TRACE = b"0af7651916cd43dd8448eb211c80319c"
PARENT = b"00-" + TRACE + b"-b7ad6b7169203331-01"
POLICY = OriginPolicy.parse("https://*.xynergy.com")
GOOD = b"https://app.xynergy.com"


def named(*headers: tuple[bytes, bytes]) -> tuple[str, str, Response]:
    asked = request(headers=headers)

    async def answered() -> Response:
        return await RequestId(answers())(asked)

    response = asyncio.run(answered())
    response.headers += asked.answer_fields  # as Edge does
    return asked.id, asked.trace, response


@pytest.mark.parametrize("given", [b"abc", b"A-b_c.d~1", b"x" * 128])
def test_a_well_formed_request_id_is_kept(given: bytes) -> None:
    name, _, response = named((b"x-request-id", given))
    assert name.encode() == given == response.header(b"x-request-id")


@pytest.mark.parametrize("given", [b"", b"a b", b"a\x1bb", b"a\xe9", b"x" * 129, b"a,b", b"<x>", b"a\nb"])
def test_a_bad_request_id_is_replaced(given: bytes) -> None:
    name, _, response = named((b"x-request-id", given))
    assert re.fullmatch(r"[0-9a-f]{32}", name)
    assert response.header(b"x-request-id") == name.encode()


def test_two_request_ids_are_none() -> None:
    assert named((b"x-request-id", b"a"), (b"x-request-id", b"a"))[0] != "a"


@pytest.mark.parametrize(
    ("headers", "trace"),
    [
        ([(b"traceparent", PARENT)], TRACE),
        ([(b"traceparent", PARENT), (b"x-cloud-trace-context", b"f" * 32 + b"/1;o=1")], TRACE),
        ([(b"traceparent", b"01" + PARENT[2:] + b"-more")], TRACE),
        ([(b"x-cloud-trace-context", b"F" * 32 + b"/123;o=1")], b"f" * 32),
        ([(b"x-cloud-trace-context", b"f" * 32)], b"f" * 32),
        ([(b"traceparent", PARENT + b"-more")], None),
        ([(b"traceparent", b"ff" + PARENT[2:])], None),
        ([(b"traceparent", PARENT.upper())], None),
        ([(b"traceparent", PARENT.replace(TRACE, b"0" * 32))], None),
        ([(b"traceparent", PARENT.replace(b"b7ad6b7169203331", b"0" * 16))], None),
        ([(b"traceparent", b"x"), (b"x-cloud-trace-context", b"f" * 32 + b"/1")], b"f" * 32),
        ([(b"x-cloud-trace-context", b"0" * 32 + b"/1")], None),
        ([(b"x-cloud-trace-context", b"f" * 31 + b"/1")], None),
    ],
)
def test_the_trace_is_w3c_first_then_googles_then_our_own(
    headers: list[tuple[bytes, bytes]], trace: bytes | None
) -> None:
    name, found, _ = named(*headers)
    assert re.fullmatch(r"[0-9a-f]{32}", found)
    assert found == (trace.decode() if trace else name)


def crossed(method: str, *headers: tuple[bytes, bytes], inner: Any = None) -> Response:
    return asyncio.run(Cors(inner or answers(), POLICY, max_age=60)(request(method, headers=headers)))


def test_an_allowed_page_may_read_the_answer() -> None:
    response = crossed("GET", (b"origin", GOOD))
    assert response.header(b"access-control-allow-origin") == GOOD
    assert response.header(b"access-control-allow-credentials") == b"true"
    assert response.header(b"vary") == b"Origin"


@pytest.mark.parametrize("origin", [None, b"null", b"https://evil.com", GOOD + b":443", GOOD.upper()])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_stranger_gets_the_ordinary_answer_without_permission(origin: bytes | None, method: str) -> None:
    response = crossed(method, *([(b"origin", origin)] if origin else []))
    assert response.status == 200
    assert response.header(b"vary") == b"Origin"
    assert not [name for name, _ in response.headers if name.startswith(b"access-control-")]


def test_two_origins_are_none() -> None:
    assert crossed("GET", (b"origin", GOOD), (b"origin", GOOD)).header(b"access-control-allow-origin") is None


@pytest.mark.parametrize(("origin", "granted"), [(GOOD, True), (b"https://evil.com", False), (b"null", False)])
def test_a_preflight_is_answered_before_anything_else(origin: bytes, granted: bool) -> None:
    response = crossed(
        "OPTIONS",
        (b"origin", origin),
        (b"access-control-request-method", b"PUT"),
        inner=raises(RuntimeError("reached")),
    )
    assert response.status == 204
    assert (response.header(b"access-control-max-age") == b"60") is granted
    assert (response.header(b"access-control-allow-origin") == origin) is granted
    assert b"Origin" in (response.header(b"vary") or b"")


def test_a_preflight_of_two_thousand_names_gets_our_list_not_theirs() -> None:
    names = b",".join(b"x-%d" % number for number in range(2000))
    response = crossed(
        "OPTIONS",
        (b"origin", GOOD),
        (b"access-control-request-method", b"GET"),
        (b"access-control-request-headers", names),
    )
    assert len(response.header(b"access-control-allow-headers") or b"") < 200


def test_vary_is_said_once() -> None:
    response = crossed("GET", inner=answers(200, (b"vary", b"Accept-Encoding, Origin")))
    assert [value for name, value in response.headers if name == b"vary"] == [b"Accept-Encoding, Origin"]


def failed(
    error: Exception, tmp_path: Path, *, full: bool = False
) -> tuple[Response, dict[str, Any], list[dict[str, Any]]]:
    with (tmp_path / "log").open("wb") as sink:
        log = Log(fd=sink.fileno())
        asked = request(raw_path=b"/x", query=b"secret=1")
        asked.id = "r1"
        response = asyncio.run(Problems(raises(error), log, full=full)(asked))
        log.close()
    assert isinstance(response.body, bytes)
    entries = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    return response, json.loads(response.body)["error"], entries


@pytest.mark.parametrize("code", CODES)
def test_every_code_answers_in_the_one_envelope(code: str, tmp_path: Path) -> None:
    response, error, entries = failed(Problem(code, "our own words", address="10.0.0.3:6379"), tmp_path)
    assert response.status == CODES[code][0]
    assert error.keys() == {"code", "message", "requestId", "timestamp"}
    assert (error["code"], error["requestId"]) == (code, "r1")
    assert error["message"] == ("our own words" if response.status < 500 else CODES[code][1])
    assert (response.header(b"content-type"), response.header(b"cache-control")) == (b"application/json", b"no-store")
    if response.status < 500:
        assert entries == [], "a refusal is told by its access line alone"
        return
    assert (entries[0]["severity"], entries[0]["message"].partition(":")[0]) == ("ERROR", code)
    assert entries[0]["details"] == {"address": "10.0.0.3:6379"}
    assert "stack_trace" not in entries[0], "it was raised on purpose"


def test_a_refusal_is_one_line_with_its_code_and_its_reason(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as sink:
        log = Log(fd=sink.fileno())
        asked = request(raw_path=b"/x")
        problems = Problems(raises(Problem("NOT_FOUND", "There is no such contact", looked="here")), log, full=False)
        asked.status = asyncio.run(AccessLog(problems, log, rate=0)(asked)).status
        asked.finish()
        log.close()
    (entry,) = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert (entry["severity"], entry["code"], entry["reason"]) == ("WARNING", "NOT_FOUND", "There is no such contact")
    assert (entry["details"], entry["httpRequest"]["status"]) == ({"looked": "here"}, 404)
    assert "stack_trace" not in entry


def test_a_fault_that_was_foreseen_is_one_line_with_its_upstream_and_its_reason(tmp_path: Path) -> None:
    response, error, (entry,) = failed(Shed("every place is taken", retry_after=7, upstream="slack"), tmp_path)
    assert (response.status, error["code"], response.header(b"retry-after")) == (503, "SERVICE_UNAVAILABLE", b"7")
    assert (entry["severity"], entry["message"]) == ("ERROR", "SERVICE_UNAVAILABLE: slack: every place is taken")
    assert "stack_trace" not in entry


def test_a_fault_that_was_foreseen_needs_no_stack_of_what_it_came_from(tmp_path: Path) -> None:
    problem = Problem("BAD_GATEWAY", upstream="crm", reason="no connection")
    problem.__cause__ = ConnectionRefusedError(111, "Connect call failed")
    assert "stack_trace" not in failed(problem, tmp_path)[2][0]


class Attributed(Exception):
    """As the document's handler would have passed it on."""

    code, status, message = "ECONNREFUSED", 418, "connect 10.0.0.3:6379"


@pytest.mark.parametrize(
    "error", [Attributed("10.0.0.3"), KeyError("/srv/secret"), TimeoutError(), RuntimeError("a\r\nb")]
)
def test_what_is_not_ours_says_nothing(error: Exception, tmp_path: Path) -> None:
    response, found, entries = failed(error, tmp_path)
    assert response.status == 500
    assert (found["code"], found["message"]) == ("INTERNAL_ERROR", "An unexpected error occurred")
    assert isinstance(response.body, bytes)
    assert b"10.0.0.3" not in response.body
    assert type(error).__name__ in entries[0]["stack_trace"]
    assert "secret=1" not in json.dumps(entries)


@pytest.mark.parametrize("error", [Problem("NOT_FOUND"), Problem("BAD_GATEWAY", upstream="crm"), ValueError("inside")])
def test_full_detail_adds_stack_and_details_to_every_error(error: Exception, tmp_path: Path) -> None:
    _, found, _ = failed(error, tmp_path, full=True)
    assert "Traceback" in found["stack"]
    assert found["details"]["type"] == type(error).__name__


def recorded(tmp_path: Path, *, status: int, rate: float, level: str = "debug", count: int = 1) -> list[dict[str, Any]]:
    with (tmp_path / "log").open("wb") as sink:
        log = Log(level, fd=sink.fileno())
        for number in range(count):
            asked = request(raw_path=b"/p", query=b"token=hunter2", headers=((b"user-agent", b"a\r\nb"),))
            asked.trace = asked.id = f"{number:032x}"

            async def inner(seen: Any) -> Response:
                seen.note("one", a=1)
                seen.note("two")
                return Response(status)

            response = asyncio.run(AccessLog(inner, log, rate=rate)(asked))
            asked.status = response.status
            asked.finish()
        log.close()
    return [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]


def test_an_access_line_has_the_request_and_no_query_value(tmp_path: Path) -> None:
    *_, entry = recorded(tmp_path, status=200, rate=1)
    http = entry["httpRequest"]
    assert re.fullmatch(r"\d+\.\d{6}s", http.pop("latency"))
    assert http == {
        "requestMethod": "GET",
        "requestUrl": "/p",
        "status": 200,
        "responseSize": "0",
        "userAgent": "a\r\nb",
    }
    assert (entry["severity"], entry["sampleRate"], entry["requestId"]) == ("INFO", 1, "0" * 32)
    assert "hunter2" not in json.dumps(entry)


@pytest.mark.parametrize(
    ("status", "kept"), [(200, False), (304, False), (399, False), (400, True), (404, True), (503, True)]
)
def test_errors_are_kept_with_their_debug_lines_whatever_the_rate(status: int, kept: bool, tmp_path: Path) -> None:
    entries = recorded(tmp_path, status=status, rate=0)
    assert [entry["message"] for entry in entries] == (["one", "two", f"GET /p {status}"] if kept else [])


def test_a_story_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    entries = recorded(tmp_path, status=200, rate=0.3, count=300)
    stories: dict[str, int] = {}
    for entry in entries:
        stories[entry["requestId"]] = stories.get(entry["requestId"], 0) + 1
    assert set(stories.values()) == {3}
    assert 50 < len(stories) < 130


def test_debug_lines_are_not_even_collected_at_info(tmp_path: Path) -> None:
    assert [entry["message"] for entry in recorded(tmp_path, status=500, rate=1, level="info")] == ["GET /p 500"]
