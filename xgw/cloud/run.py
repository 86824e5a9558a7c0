"""The door to Cloud Run Admin v2: services and revisions, read as nouns of `xgw.resources`, written field by field.

Rules of this file
1. GET the whole service, mutate that message, PATCH it with the etag just read. Nothing is rebuilt.
2. Every write is looked at before it is sent: when the service already is as wanted, nothing is sent. So a write may be
   carried out again after a crash or a lost answer, and the explicit revision name makes sure that it makes one revision.
3. A write that changes only traffic masks `traffic` and clears `template.revision`: an echoed old name is refused with
   409 "Revision named … with different configuration already exists" (google-cloud-python#14259).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any

from google.cloud import run_v2
from google.protobuf import field_mask_pb2

from xgw import faults
from xgw.cloud import fields as template_fields
from xgw.cloud.channel import Address, client
from xgw.cloud.faults import as_ours, patiently
from xgw.errors import Conflict, Refused, Unreachable
from xgw.masking import MARK
from xgw.resources import Revision, Service, Share, same

HOST = "run.googleapis.com"
RESTORED = (
    *("containers", "volumes", "scaling", "vpc_access", "timeout", "service_account", "execution_environment"),
    *("max_instance_request_concurrency", "session_affinity", "encryption_key", "service_mesh", "node_selector"),
    *("encryption_key_revocation_action", "encryption_key_shutdown_duration", "gpu_zonal_redundancy_disabled"),
)
"""What a revision and a template have in common and a rollback gives back (Cloud Run Admin API v2: Revision, RevisionTemplate).
Labels and annotations stay: the platform writes some of its own into a revision's."""
_SUCCEEDED = run_v2.Condition.State.CONDITION_SUCCEEDED
_LATEST, _NAMED = 1, 2


class RunDoor:
    """Cloud Run Admin v2 for one project and region. Raises only XgwError."""

    def __init__(self, address: Address, parent: str) -> None:
        """`parent` is "projects/P/locations/R"."""
        self._services = client(run_v2.ServicesClient, address, HOST)
        self._revisions = client(run_v2.RevisionsClient, address, HOST)
        self._parent = parent

    def get(self, name: str) -> Service:
        """The service called `name` (short). Raises NotFound."""
        return _service(patiently(lambda: self._fetch(name)))

    def names(self) -> list[str]:
        """The short names of every service in the region."""

        def look() -> list[str]:
            with as_ours("list services"):
                found = self._services.list_services(parent=self._parent, timeout=10)
                return [_short(service.name) for service in found]

        return patiently(look)

    def revisions(self, name: str) -> list[Revision]:
        """The revisions of a service, newest first. Raises NotFound when the service is not there."""

        def look() -> list[Revision]:
            self._fetch(name)
            with as_ours(f"list revisions of {name}"):
                found = self._revisions.list_revisions(parent=f"{self._parent}/services/{name}", timeout=10)
                return [_revision(item) for item in found]

        return sorted(patiently(look), key=lambda revision: revision.created, reverse=True)

    def update(
        self,
        name: str,
        *,
        fields: Mapping[str, str | None] | None = None,
        revision: str = "",
        traffic: tuple[Share, ...],
        etag: str = "",
    ) -> Service:
        """Make the service have `fields` and `traffic`, wait until it has settled, and return it.

        A template change makes a revision called `revision`. With `etag` a service that is not as wanted and has moved
        since is refused with Conflict. Whether the new revision is *ready* is for the caller to read from the answer.
        """
        wanted = fields or {}

        def look_then_write() -> None:
            message = self._fetch(name)
            service = _service(message)
            changed = {key: value for key, value in wanted.items() if not same(key, service.fields.get(key), value)}
            if not changed and _plain(service.traffic) == _plain(traffic):
                return
            if etag and service.etag != etag:
                raise Conflict(
                    f"{name} moved since it was planned",
                    cause="its etag is no longer the one the plan saw: somebody changed it in between",
                    fix="run the same command again to plan from what is there",
                )
            template_fields.write(message.template, self._revealed(name, changed))
            self._send(message, traffic, revision=revision if changed else "")

        patiently(look_then_write)
        return self.settled(name)

    def restore(self, name: str, revision: str, *, as_name: str, traffic: tuple[Share, ...]) -> Service:
        """Give the service's template everything that `revision` has (RESTORED), under `traffic`; wait until it has settled.

        Sent only when something differs; then the new revision is called `as_name`. Raises NotFound."""

        def look_then_write() -> None:
            with as_ours(f"read revision {revision}"):
                path = f"{self._parent}/services/{name}/revisions/{revision}"
                source = self._revisions.get_revision(name=path, timeout=10)
            message = self._fetch(name)
            differs = [part for part in RESTORED if getattr(message.template, part) != getattr(source, part)]
            if not differs and _plain(_service(message).traffic) == _plain(traffic):
                return
            for part in differs:
                setattr(message.template, part, getattr(source, part))
            self._send(message, traffic, revision=as_name if differs else "")

        patiently(look_then_write)
        return self.settled(name)

    def settled(self, name: str, *, within: float = 600) -> Service:
        """The service once it has no change in progress. Raises Unreachable after `within` seconds."""
        end, pause = time.monotonic() + within, 0.03
        while True:
            service = self.get(name)
            if service.settled:
                return service
            if time.monotonic() > end:
                raise Unreachable(
                    f"{name} is still reconciling after {within:.0f} s",
                    cause=service.reason or "the platform gives no reason",
                    fix="run the same command again: it goes on where this one stopped",
                )
            time.sleep(pause)
            pause = min(pause * 1.3, 2)

    def _revealed(self, name: str, wanted: Mapping[str, str | None]) -> dict[str, str | None]:
        """What is to be written, with secrets as they are. Raises Refused when no revision has one any more."""
        if not any((value or "").startswith(MARK) for value in wanted.values()):
            return dict(wanted)
        with as_ours(f"list revisions of {name}"):
            revisions = list(self._revisions.list_revisions(parent=f"{self._parent}/services/{name}", timeout=10))
        try:
            return template_fields.reveal(wanted, revisions)
        except LookupError as missing:
            raise Refused(
                f"{name}: the value that {missing.args[0]} had is gone",
                cause="it looks like a secret, so it was never recorded; and no revision has it any more",
                fix="set it by hand, then run the same command again",
            ) from None

    def _fetch(self, name: str) -> Any:
        with as_ours(f"read service {name}"):
            return self._services.get_service(name=f"{self._parent}/services/{name}", timeout=10)

    def _send(self, message: Any, traffic: tuple[Share, ...], *, revision: str) -> None:
        """PATCH the message: whole, making `revision`, when its template was changed; else its traffic alone."""
        mask = None if revision else field_mask_pb2.FieldMask(paths=["traffic"])
        message.template.revision = revision
        message.traffic = [_target(share) for share in traffic]
        what = f"update service {_short(message.name)}"
        faults.reach("update-sending")
        with as_ours(what):
            request = run_v2.UpdateServiceRequest(service=message, update_mask=mask)
            self._services.update_service(request=request, timeout=30)
        faults.reach("update-sent")


def _plain(shares: tuple[Share, ...]) -> list[tuple[str | None, int, str]]:
    """Traffic without addresses and order, as it is compared. No traffic at all means 100 % to the latest."""
    return sorted(((s.revision, s.percent, s.tag) for s in shares), key=str) or [(None, 100, "")]


def _target(share: Share) -> run_v2.TrafficTarget:
    kind = _NAMED if share.revision else _LATEST
    return run_v2.TrafficTarget(type_=kind, revision=share.revision or "", percent=share.percent, tag=share.tag)


def _short(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _share(target: Any) -> Share:
    named = str(target.revision) if int(target.type_) != _LATEST else ""
    return Share(named or None, int(target.percent), str(target.tag), str(getattr(target, "uri", "")))


def _service(message: Any) -> Service:
    condition = message.terminal_condition
    return Service(
        name=_short(message.name),
        uri=str(message.uri),
        etag=str(message.etag),
        fields=template_fields.read(message.template),
        traffic=tuple(_share(target) for target in message.traffic) or (Share(None, 100),),
        serving=tuple(_share(target) for target in message.traffic_statuses),
        generation=int(message.generation),
        latest_created=_short(message.latest_created_revision),
        latest_ready=_short(message.latest_ready_revision),
        # A change that failed leaves observed_generation behind for good: only `reconciling` says whether one is under way.
        settled=not message.reconciling,
        ready=condition.state == _SUCCEEDED,
        reason=str(condition.message),
    )


def _revision(message: Any) -> Revision:
    ready = next((condition for condition in message.conditions if condition.type_ == "Ready"), None)
    return Revision(
        name=_short(message.name),
        service=_short(message.service),
        created=message.create_time,
        ready=ready is not None and ready.state == _SUCCEEDED,
        reason=str(ready.message) if ready else "",
        fields=template_fields.read(message),
        labels=dict(message.labels),
        rest=_rest(message),
    )


def _rest(message: Any) -> str:
    """A digest of what a revision has besides its flat fields, to tell whether two run the same."""
    bare = run_v2.RevisionTemplate()
    for part in RESTORED:
        setattr(bare, part, getattr(message, part))
    template_fields.clear(bare)
    return hashlib.sha256(run_v2.RevisionTemplate.pb(bare).SerializeToString(deterministic=True)).hexdigest()
