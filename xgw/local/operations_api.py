"""google.longrunning.Operations on the wire: how the clients of Run wait."""

from __future__ import annotations

from typing import Any

from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from xgw.local.cloud_run import CloudRun
from xgw.local.messages import Message
from xgw.local.naming import parse_parent
from xgw.local.reconcile import operation_message
from xgw.local.refusal import invalid
from xgw.local.rpc import Method, generic_handler, page_limit, page_number, page_token

MAX_WAIT_S = 60.0
"""WaitOperation answers with the operation as it stands after at most this long; its caller asks again."""


def operations_handlers(cloud: CloudRun) -> list[Any]:
    """The handler of the service. Cloud Run has no CancelOperation."""

    async def get(request: Message) -> Message:
        return cloud.operation(request.name)

    async def list_(request: Message) -> Message:
        if request.filter:
            invalid(f"filter: {request.filter!r} is not supported for operations.")
        limit = page_limit(request.page_size)
        home = cloud.state.home.parent
        if parse_parent(request.name.removesuffix("/operations")).parent != home:
            return operations_pb2.ListOperationsResponse()
        page = cloud.state.operations(before=page_number(request.page_token), limit=limit + 1)
        return operations_pb2.ListOperationsResponse(
            operations=[operation_message(stored, cloud.state) for stored in page[:limit]],
            next_page_token=page_token(str(page[limit - 1].seq)) if len(page) > limit else "",
        )

    async def wait(request: Message) -> Message:
        cloud.operation(request.name)
        asked = request.timeout.seconds + request.timeout.nanos / 1e9 if request.HasField("timeout") else MAX_WAIT_S
        await cloud.reconciler.wait(request.name, max(0.0, min(asked, MAX_WAIT_S)))
        return cloud.operation(request.name)

    async def delete(request: Message) -> Message:
        cloud.forget_operation(request.name)
        return empty_pb2.Empty()

    return [
        generic_handler(
            "google.longrunning.Operations",
            {
                "GetOperation": Method(operations_pb2.GetOperationRequest, operations_pb2.Operation, get),
                "ListOperations": Method(
                    operations_pb2.ListOperationsRequest, operations_pb2.ListOperationsResponse, list_
                ),
                "WaitOperation": Method(operations_pb2.WaitOperationRequest, operations_pb2.Operation, wait),
                "DeleteOperation": Method(operations_pb2.DeleteOperationRequest, empty_pb2.Empty, delete),
            },
        )
    ]
