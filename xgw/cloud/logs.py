"""The door to Cloud Logging: the log lines of a service's revisions.

Google's package is imported when a line is first asked for: it takes a third of a second, and most commands read no log.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from urllib.parse import unquote

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
        self._address = address
        self._project = project

    @cached_property
    def _client(self) -> Any:
        from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2Client

        return client(LoggingServiceV2Client, self._address, HOST)

    def lines(
        self,
        service: str,
        *,
        revision: str = "",
        since: datetime,
        contains: str = "",
        limit: int = 5000,
        newest: bool = False,
    ) -> list[LogLine]:
        """The lines of `service` written at or after `since`, oldest first; of more than `limit` the oldest, or the newest."""
        from google.cloud.logging_v2.types import ListLogEntriesRequest

        terms = [
            'resource.type="cloud_run_revision"',
            f'resource.labels.service_name="{service}"',
            f'timestamp>="{since.astimezone(UTC).isoformat()}"',
        ]
        terms += [f'resource.labels.revision_name="{revision}"'] if revision else []
        terms += [f'textPayload:"{contains}"'] if contains else []
        request = ListLogEntriesRequest(
            resource_names=[f"projects/{self._project}"],
            filter=" AND ".join(terms),
            order_by="timestamp desc" if newest else "timestamp asc",
            page_size=min(limit, 1000),
        )
        found: list[LogLine] = []
        with as_ours(f"read the logs of {service}"):
            for entry in self._client.list_log_entries(request=request, timeout=30):
                found.append(_line(entry))
                if len(found) == limit:
                    break
        return found[::-1] if newest else found


def _line(entry: Any) -> LogLine:
    raw = type(entry).pb(entry)
    structured = json_format.MessageToDict(raw.json_payload) if raw.HasField("json_payload") else None
    return LogLine(
        at=entry.timestamp,
        severity=LogSeverity.Name(int(entry.severity)),
        revision=entry.resource.labels.get("revision_name", ""),
        payload=str(entry.text_payload) if structured is None else structured,
        status=int(entry.http_request.status) if entry.http_request else 0,
        log=unquote(entry.log_name.rsplit("/", 1)[-1]).removeprefix("run.googleapis.com/"),
    )
