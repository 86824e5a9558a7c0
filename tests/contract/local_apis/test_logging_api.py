from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from google.api_core import exceptions
from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2Client
from google.cloud.logging_v2.types import ListLogEntriesRequest, LogEntry
from google.protobuf import json_format

from tests.helpers.local_cloud import LocalCloud

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SHOP = 'resource.type="cloud_run_revision" AND resource.labels.service_name="shop"'


@pytest.fixture
def filled(cloud: LocalCloud) -> LocalCloud:
    def fill() -> None:
        for n in range(5):
            cloud.logs.append("shop", "shop-1", "INFO", f"line {n}", AT + timedelta(seconds=n))
        cloud.logs.append("shop", "shop-2", "ERROR", {"message": "bad", "code": 500}, AT + timedelta(seconds=9))
        cloud.logs.append("other", "other-1", "INFO", "elsewhere", AT)

    cloud.call(fill)
    return cloud


def entries(cloud: LocalCloud, filter: str, **request) -> list[LogEntry]:
    wish = ListLogEntriesRequest(**{"resource_names": ["projects/xgw-local"], "filter": filter, **request})
    return list(cloud.client(LoggingServiceV2Client).list_log_entries(request=wish))


def test_the_lines_of_a_service_come_in_order_of_time(filled: LocalCloud):
    found = entries(filled, SHOP)
    assert [entry.text_payload for entry in found[:5]] == [f"line {n}" for n in range(5)]
    assert [entry.timestamp for entry in found] == sorted(entry.timestamp for entry in found)
    newest = entries(filled, SHOP, order_by="timestamp desc")
    assert [entry.insert_id for entry in newest] == [entry.insert_id for entry in found][::-1]


def test_a_structured_line_keeps_its_fields_and_severity(filled: LocalCloud):
    (entry,) = entries(filled, SHOP + " AND severity>=ERROR")
    assert dict(entry.json_payload) == {"message": "bad", "code": 500}
    assert entry.severity == 500
    assert entry.resource.type == "cloud_run_revision"
    assert dict(entry.resource.labels) == {
        "project_id": "xgw-local",
        "location": "us-central1",
        "service_name": "shop",
        "revision_name": "shop-2",
        "configuration_name": "shop",
    }


@pytest.mark.parametrize(
    ("line", "status", "kept"),
    [
        ({"httpRequest": {"status": 204}, "a": "b"}, 204, {"a": "b"}),
        ({"httpRequest": {"status": 204, "colour": "blue"}}, 204, None),
        ({"httpRequest": "nonsense"}, 0, {"httpRequest": "nonsense"}),
        ({"httpRequest": {"status": "many"}, "a": "b"}, 0, {"httpRequest": {"status": "many"}, "a": "b"}),
    ],
)
def test_special_fields_are_lifted_out_when_they_have_their_shape(cloud: LocalCloud, line, status, kept):
    cloud.call(lambda: cloud.logs.append("shop", "shop-1", "INFO", line, AT))
    (entry,) = entries(cloud, SHOP)
    assert entry.http_request.status == status
    struct = LogEntry.pb(entry).json_payload
    assert json_format.MessageToDict(struct) == (kept or {})


DEEP: dict = {}
for _ in range(150):
    DEEP = {"a": DEEP}


@pytest.mark.parametrize("line", [{"ratio": float("nan")}, {"text": "\ud800"}, DEEP])
def test_a_line_no_struct_can_hold_is_told_as_text(cloud: LocalCloud, line):
    cloud.call(lambda: cloud.logs.append("shop", "shop-1", "INFO", line, AT))
    (entry,) = entries(cloud, SHOP)
    assert entry.text_payload == json.dumps(line)


@pytest.mark.parametrize("order", ["timestamp asc", "timestamp desc"])
def test_pages_neither_skip_nor_repeat(filled: LocalCloud, order):
    paged = [entry.insert_id for entry in entries(filled, SHOP, order_by=order, page_size=2)]
    assert paged == [entry.insert_id for entry in entries(filled, SHOP, order_by=order)]
    assert len(set(paged)) == 6


def test_a_window_and_a_text_choose_lines(filled: LocalCloud):
    window = SHOP + f' AND timestamp>="{(AT + timedelta(seconds=2)).isoformat()}" AND textPayload:"LINE"'
    assert [entry.text_payload for entry in entries(filled, window)] == ["line 2", "line 3", "line 4"]


def test_another_project_or_resource_has_no_lines(filled: LocalCloud):
    assert entries(filled, SHOP, resource_names=["projects/other"]) == []
    assert entries(filled, 'resource.type="gce_instance"') == []


@pytest.mark.parametrize(
    "request_",
    [
        {"filter": "severity=ERROR OR severity=INFO"},
        {"order_by": "severity"},
        {"page_token": "made-up"},
        {"resource_names": []},
        {"page_size": -1},
    ],
)
def test_what_is_not_supported_is_refused(filled: LocalCloud, request_):
    with pytest.raises(exceptions.InvalidArgument):
        entries(filled, request_.pop("filter", SHOP), **request_)
