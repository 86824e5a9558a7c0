"""google.cloud.run.v2 Services and Revisions on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.cloud import run_v2
from google.longrunning import operations_pb2

from xgw.local.cloud_run import CloudRun
from xgw.local.messages import Message, Revision, Service
from xgw.local.rpc import Method, generic_handler, page_limit, page_number, page_token

_ListServicesResponse: Any = run_v2.ListServicesResponse.pb()
_ListRevisionsResponse: Any = run_v2.ListRevisionsResponse.pb()


def run_handlers(cloud: CloudRun) -> list[Any]:
    """The handlers of both services."""
    return [_services(cloud), _revisions(cloud)]


def _services(cloud: CloudRun) -> Any:
    async def get(request: Message) -> Message:
        return cloud.service(request.name)

    async def list_(request: Message) -> Message:
        limit = page_limit(request.page_size)
        page = cloud.services(request.parent, page_number(request.page_token), limit + 1)
        return _ListServicesResponse(services=_items(page, limit), next_page_token=_next(page, limit))

    async def create(request: Message) -> Message:
        return cloud.create(request.parent, request.service_id, request.service, validate_only=request.validate_only)

    async def update(request: Message) -> Message:
        return cloud.update(
            request.service,
            list(request.update_mask.paths),
            validate_only=request.validate_only,
            allow_missing=request.allow_missing,
        )

    async def delete(request: Message) -> Message:
        return cloud.delete(request.name, request.etag, validate_only=request.validate_only)

    operation = operations_pb2.Operation
    return generic_handler(
        "google.cloud.run.v2.Services",
        {
            "GetService": Method(run_v2.GetServiceRequest.pb(), Service, get),
            "ListServices": Method(run_v2.ListServicesRequest.pb(), _ListServicesResponse, list_),
            "CreateService": Method(run_v2.CreateServiceRequest.pb(), operation, create),
            "UpdateService": Method(run_v2.UpdateServiceRequest.pb(), operation, update),
            "DeleteService": Method(run_v2.DeleteServiceRequest.pb(), operation, delete),
        },
    )


def _revisions(cloud: CloudRun) -> Any:
    async def get(request: Message) -> Message:
        return cloud.revision(request.name)

    async def list_(request: Message) -> Message:
        limit = page_limit(request.page_size)
        page = cloud.revisions(request.parent, page_number(request.page_token), limit + 1)
        return _ListRevisionsResponse(revisions=_items(page, limit), next_page_token=_next(page, limit))

    async def delete(request: Message) -> Message:
        return cloud.delete_revision(request.name, request.etag, validate_only=request.validate_only)

    return generic_handler(
        "google.cloud.run.v2.Revisions",
        {
            "GetRevision": Method(run_v2.GetRevisionRequest.pb(), Revision, get),
            "ListRevisions": Method(run_v2.ListRevisionsRequest.pb(), _ListRevisionsResponse, list_),
            "DeleteRevision": Method(run_v2.DeleteRevisionRequest.pb(), operations_pb2.Operation, delete),
        },
    )


def _items(page: Sequence[tuple[int, Message]], limit: int) -> list[Message]:
    return [item for _, item in page[:limit]]


def _next(page: Sequence[tuple[int, Message]], limit: int) -> str:
    return page_token(str(page[limit - 1][0])) if len(page) > limit else ""
