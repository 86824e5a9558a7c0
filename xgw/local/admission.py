"""From a request to the state it asks for: pure but for looking revisions up. Nothing is stored here.

A template change makes a revision, an unchanged template none, traffic and service-level fields none. An explicit
template.revision names the new revision and has to be new, or mean exactly the configuration that already bears the
name: an old name echoed with a changed template is refused, which clients that read, change and write back meet.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from xgw.local import rules, traffic
from xgw.local.conditions import Readiness, readiness, set_revision_pending, set_service_reconciling
from xgw.local.messages import (
    Message,
    Revision,
    clone,
    configuration,
    copy_field,
    copy_shared_fields,
    now,
    same_wish,
)
from xgw.local.models import StoredRevision
from xgw.local.naming import Place, check_revision_name, etag, new_revision_name, short
from xgw.local.refusal import Refusal

Find = Callable[[str], StoredRevision | None]


@dataclass(frozen=True)
class Admission:
    """What an accepted request comes to. `service` is complete with its new generation and etag; `revision` is to be
    created, or None; `awaits` is the short name of the revision that must prove itself, or empty; `changed` is false
    when everything is as wished already."""

    service: Message
    revision: Message | None
    awaits: str
    changed: bool

    @property
    def configuration(self) -> bytes:
        """What the service's template asks for."""
        return configuration(self.service.template)


def check_etag(sent: str, stored: Message) -> None:
    """An etag that is sent has to be the current one (AIP-154)."""
    if sent and sent != stored.etag:
        raise Refusal(
            "ABORTED",
            f"Conflict for resource '{short(stored.name)}': version '{sent}' was specified but current version is "
            f"'{stored.etag}'.",
        )


def admit(place: Place, stored: Message | None, wish: Message, find: Find) -> Admission:
    """`wish` is the whole wished service; `stored` is what is there now, if anything is."""
    service = clone(wish)
    rules.populate_service(service)
    rules.check_service(service)
    traffic.populate(service)
    awaits, create = _settle_revision(place, stored, service, find)
    upcoming = awaits if create else ""
    traffic.check(service.traffic, lambda name: _look(place, name, find), upcoming)
    changed = stored is None or create or not same_wish(stored, service)
    if changed:
        _stamp(place, stored, service)
    revision = None
    if create:
        name = upcoming or new_revision_name(place.service, service.generation)
        while not upcoming and find(name) is not None:
            name = new_revision_name(place.service, service.generation)
        awaits, revision = name, _make_revision(place, service, name)
    if not changed and stored is not None:
        # Nothing to do but to say how it stands: the same request again waits for, and tells, the same outcome.
        awaits = short(stored.latest_created_revision)
    if awaits:
        service.latest_created_revision = f"{place.service_name}/revisions/{awaits}"
    return Admission(service, revision, awaits, changed)


def _settle_revision(place: Place, stored: Message | None, service: Message, find: Find) -> tuple[str, bool]:
    """The explicit or current name to await (empty: none, or to be generated) and whether a revision is to be made."""
    explicit = service.template.revision
    wanted = configuration(service.template)
    same = stored is not None and configuration(stored.template) == wanted
    if not explicit:
        return "", not same
    if same and stored is not None and explicit == stored.template.revision:
        return "", False
    check_revision_name(explicit, place.service)
    existing = find(explicit)
    if existing is None:
        return explicit, True
    if existing.service != place.service_name or existing.configuration != wanted:
        raise Refusal("ALREADY_EXISTS", f"Revision named '{explicit}' with different configuration already exists.")
    return explicit, False


def _look(place: Place, name: str, find: Find) -> Readiness | None:
    found = find(name)
    return readiness(found.body) if found and found.service == place.service_name else None


def _stamp(place: Place, stored: Message | None, service: Message) -> None:
    moment = now()
    if stored is None:
        service.name = place.service_name
        service.uid = str(uuid.uuid4())
        service.create_time.FromDatetime(moment)
        service.creator = service.creator or "xgw-local"
    service.generation = (stored.generation if stored is not None else 0) + 1
    service.update_time.FromDatetime(moment)
    service.last_modifier = "xgw-local"
    service.etag = etag(service.uid, service.generation)
    set_service_reconciling(service)


def _make_revision(place: Place, service: Message, name: str) -> Message:
    revision = Revision(name=f"{place.service_name}/revisions/{name}", service=place.service, generation=1)
    copy_shared_fields(service.template, revision)
    copy_field(service, revision, "launch_stage")
    revision.uid = str(uuid.uuid4())
    revision.etag = etag(revision.uid, 1)
    revision.create_time.CopyFrom(service.update_time)
    revision.update_time.CopyFrom(service.update_time)
    revision.creator = service.last_modifier
    set_revision_pending(revision)
    return revision
