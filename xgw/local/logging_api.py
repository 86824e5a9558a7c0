"""google.logging.v2 on the wire: ListLogEntries over the lines of the revisions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal

from google.cloud.logging_v2 import types
from google.protobuf import json_format

from xgw.local.filters import log_filter
from xgw.local.messages import Message
from xgw.local.naming import Place
from xgw.local.refusal import invalid
from xgw.local.rpc import Method, generic_handler, page_limit, page_position, page_token
from xgw.local.stores import SEVERITIES, LogRecord, LogStore

_LogEntry: Any = types.LogEntry.pb()
_Response: Any = types.ListLogEntriesResponse.pb()
_ORDERS: Mapping[str, Literal["asc", "desc"]] = {
    "": "asc",
    "timestamp": "asc",
    "timestamp asc": "asc",
    "timestamp desc": "desc",
}


def logging_handlers(logs: LogStore, home: Place) -> list[Any]:
    """The handler of the service."""

    async def list_entries(request: Message) -> Message:
        if request.order_by not in _ORDERS:
            invalid(f"order_by: {request.order_by!r} is not supported; use 'timestamp asc' or 'timestamp desc'.")
        if not request.resource_names:
            invalid("resource_names: at least one is required.")
        wanted = log_filter(request.filter)
        if wanted is None or f"projects/{home.project}" not in request.resource_names:
            return _Response()
        limit = page_limit(request.page_size, default=50)
        after = _position(request.page_token)
        found = list(logs.query(wanted, _ORDERS[request.order_by], limit + 1, after))
        response = _Response(entries=[entry(record, home) for record in found[:limit]])
        if len(found) > limit:
            last = found[limit - 1]
            response.next_page_token = page_token(f"{last.at.isoformat()} {last.id}")
        return response

    request = types.ListLogEntriesRequest.pb()
    return [
        generic_handler(
            "google.logging.v2.LoggingServiceV2", {"ListLogEntries": Method(request, _Response, list_entries)}
        )
    ]


def _position(token: str) -> tuple[datetime, int] | None:
    if not token:
        return None
    try:
        at, number = page_position(token).split(" ")
        return datetime.fromisoformat(at), int(number)
    except (ValueError, json_format.ParseError):
        invalid(f"page_token: {token!r} was not given out by this server.")


def entry(record: LogRecord, home: Place) -> Message:
    """A stored line as Cloud Logging tells it."""
    message = _LogEntry(
        log_name=f"projects/{home.project}/logs/run.googleapis.com%2Fstdout",
        insert_id=f"{record.id:016x}",
        severity=SEVERITIES.get(record.severity, 0),
    )
    message.resource.type = "cloud_run_revision"
    message.resource.labels.update(revision_labels(home, record.service, record.revision))
    message.timestamp.FromDatetime(record.at)
    message.receive_timestamp.FromDatetime(record.at)
    if isinstance(record.payload, str):
        # A lone surrogate, written as \ud800 by a program, cannot travel as UTF-8.
        message.text_payload = record.payload.encode(errors="replace").decode()
    else:
        _fill(message, record.payload)
    return message


def _fill(message: Message, payload: Mapping[str, object]) -> None:
    """The special fields into the entry, the rest into jsonPayload. A program may print anything: a special field of the
    wrong shape stays in jsonPayload, and what is not JSON (NaN) is told as text."""
    fields = dict(payload)
    for name, (attribute, shape) in _LIFTED.items():
        if isinstance(fields.get(name), shape):
            with suppress(ValueError, json_format.ParseError):
                lifted = json_format.ParseDict({attribute: fields[name]}, _LogEntry(), ignore_unknown_fields=True)
                message.MergeFrom(lifted)
                del fields[name]
    try:
        json.dumps(fields, allow_nan=False)  # A Struct takes NaN, and then no client can turn it into JSON.
        json_format.ParseDict(fields, message.json_payload)
    except (ValueError, json_format.ParseError):
        message.text_payload = json.dumps(fields)


_LIFTED: Mapping[str, tuple[str, type]] = {
    "httpRequest": ("httpRequest", Mapping),
    "logging.googleapis.com/trace": ("trace", str),
    "logging.googleapis.com/spanId": ("spanId", str),
    "logging.googleapis.com/trace_sampled": ("traceSampled", bool),
}
"""Fields of a structured line that Cloud Logging takes out of jsonPayload into the entry (Cloud Logging docs: structured
logging, special fields). `severity` and `time` are read where the line is captured."""


def revision_labels(home: Place, service: str, revision: str) -> dict[str, str]:
    """The labels of the monitored resource cloud_run_revision."""
    return {
        "project_id": home.project,
        "location": home.region,
        "service_name": service,
        "revision_name": revision,
        "configuration_name": service,
    }
