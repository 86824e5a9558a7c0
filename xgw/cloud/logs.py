"""The door to Cloud Logging: the log lines of a service's revisions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from google.cloud.logging_v2 import types
from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2Client
from google.logging.type.log_severity_pb2 import LogSeverity
from google.protobuf import json_format

from xgw.cloud.channel import Address, client
from xgw.cloud.faults import as_ours
from xgw.resources import LogLine

HOST = "logging.googleapis.com"


class LogDoor:
    """Log lines of one project. Raises only XgwError."""

    def __init__(self, address: Address, project: str) -> None:
        """`project` is the project id."""
        self._client = client(LoggingServiceV2Client, address, HOST)
        self._project = project

    def lines(
        self, service: str, *, revision: str = "", since: datetime, contains: str = "", limit: int = 5000
    ) -> list[LogLine]:
        """The lines of `service` written at or after `since`, oldest first, at most `limit`."""
        terms = [
            'resource.type="cloud_run_revision"',
            f'resource.labels.service_name="{service}"',
            f'timestamp>="{since.astimezone(UTC).isoformat()}"',
        ]
        terms += [f'resource.labels.revision_name="{revision}"'] if revision else []
        terms += [f'textPayload:"{contains}"'] if contains else []
        request = types.ListLogEntriesRequest(
            resource_names=[f"projects/{self._project}"],
            filter=" AND ".join(terms),
            order_by="timestamp asc",
            page_size=min(limit, 1000),
        )
        found: list[LogLine] = []
        with as_ours(f"read the logs of {service}"):
            for entry in self._client.list_log_entries(request=request, timeout=30):
                found.append(_line(entry))
                if len(found) == limit:
                    break
        return found


def _line(entry: Any) -> LogLine:
    raw = types.LogEntry.pb(entry)
    structured = json_format.MessageToDict(raw.json_payload) if raw.HasField("json_payload") else None
    return LogLine(
        at=entry.timestamp,
        severity=LogSeverity.Name(int(entry.severity)),
        revision=entry.resource.labels.get("revision_name", ""),
        payload=str(entry.text_payload) if structured is None else structured,
        status=int(entry.http_request.status) if entry.http_request else 0,
        log=unquote(entry.log_name.rsplit("/", 1)[-1]).removeprefix("run.googleapis.com/"),
    )
