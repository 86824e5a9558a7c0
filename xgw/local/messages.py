"""The messages of the APIs served here, as raw protobuf classes, and generic work on their fields.

Raw because proto-plus costs twenty times as much per field and because a served message must keep unset fields unset.
The Google packages carry no types for these classes, so a message is `Any` to the type checker.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from google.cloud import run_v2
from google.protobuf.field_mask_pb2 import FieldMask

from xgw.local.refusal import invalid

Message = Any

Service: Any = run_v2.Service.pb()
Revision: Any = run_v2.Revision.pb()
RevisionTemplate: Any = run_v2.RevisionTemplate.pb()
TrafficTarget: Any = run_v2.TrafficTarget.pb()
TrafficTargetStatus: Any = run_v2.TrafficTargetStatus.pb()
Condition: Any = run_v2.Condition.pb()

MUTABLE = (
    "description",
    "labels",
    "annotations",
    "client",
    "client_version",
    "ingress",
    "launch_stage",
    "binary_authorization",
    "template",
    "traffic",
    "scaling",
    "invoker_iam_disabled",
    "default_uri_disabled",
    "iap_enabled",
    "multi_region_settings",
    "custom_audiences",
    "build_config",
)
"""The fields of a Service that an update without a mask replaces, all of them (google.cloud.run.v2 service.proto)."""


def copy_field(source: Message, target: Message, name: str) -> None:
    """Make `target.name` what `source.name` is, set or unset; the two may be different message types."""
    field = source.DESCRIPTOR.fields_by_name[name]
    target.ClearField(name)
    if field.is_repeated:
        getattr(target, name).MergeFrom(getattr(source, name))
    elif field.message_type is not None:
        if source.HasField(name):
            getattr(target, name).CopyFrom(getattr(source, name))
    elif not field.has_presence or source.HasField(name):
        setattr(target, name, getattr(source, name))


def copy_shared_fields(source: Message, target: Message) -> None:
    """Copy every field that both message types have under one name."""
    for name in set(source.DESCRIPTOR.fields_by_name) & set(target.DESCRIPTOR.fields_by_name):
        copy_field(source, target, name)


def clone(message: Message) -> Message:
    """An independent copy."""
    copied = type(message)()
    copied.CopyFrom(message)
    return copied


def merge(stored: Message, wanted: Message, paths: Iterable[str]) -> Message:
    """`stored` with the masked fields of `wanted`; with no mask, with all mutable ones. Paths are snake_case.

    A masked field that is unset in `wanted` is cleared. Output-only fields in a mask are ignored (AIP-203).
    """
    result = clone(stored)
    listed = list(paths)
    if not listed or "*" in listed:
        for name in MUTABLE:
            copy_field(wanted, result, name)
        return result
    for path in listed:
        if not FieldMask(paths=[path]).IsValidForDescriptor(Service.DESCRIPTOR):
            invalid(f"update_mask: {path!r} is not a field of google.cloud.run.v2.Service (paths are snake_case).")
    mask = FieldMask(paths=[path for path in listed if path.split(".")[0] in MUTABLE])
    mask.MergeMessage(wanted, result, True, True)
    return result


def same_wish(one: Message, other: Message) -> bool:
    """True when two Services ask for the same thing in every mutable field."""
    left, right = Service(), Service()
    for name in MUTABLE:
        copy_field(one, left, name)
        copy_field(other, right, name)
    return bool(left == right)


def configuration(template: Message) -> bytes:
    """What makes a revision: the template without the name it asks for, in a form that can be compared."""
    bare = clone(template)
    bare.revision = ""
    return bytes(bare.SerializeToString(deterministic=True))


def now() -> datetime:
    """The present moment, aware."""
    return datetime.now(UTC)
