"""Cloud Run's verbs on the stored state: what each request checks, stores and sets going. No wire in here."""

from __future__ import annotations

from google.longrunning import operations_pb2

from xgw.local import conditions
from xgw.local.admission import Admission, admit, check_etag
from xgw.local.instances import FrontDoor, Instances
from xgw.local.messages import Message, Service, clone, merge, now
from xgw.local.models import Kind, State, StoredOperation, StoredRevision
from xgw.local.naming import (
    Place,
    check_service_id,
    new_operation_name,
    parse_parent,
    parse_revision,
    parse_service,
    short,
)
from xgw.local.reconcile import Reconciler, operation_message, routes_in_force, set_urls
from xgw.local.refusal import Refusal
from xgw.local.residents import Residents

LINGER_S = 2.0
"""How long a revision keeps its instance after it lost its last route."""


class CloudRun:
    """The services of one project and region. Requests that are refused raise Refusal and change nothing; accepted ones
    are stored before they are answered."""

    def __init__(
        self, state: State, instances: Instances, front_door: FrontDoor, *, linger_s: float = LINGER_S
    ) -> None:
        self.state = state
        self.front_door = front_door
        self.reconciler = Reconciler(state, Residents(instances, linger_s), front_door)

    # --- reading

    def service(self, name: str) -> Message:
        """One service."""
        place = parse_service(name)
        service = self.state.service(name)
        if service is None:
            raise Refusal("NOT_FOUND", place.missing)
        return service

    def services(self, parent: str, before: int, limit: int) -> list[tuple[int, Message]]:
        """Services of a location, newest first."""
        return self.state.services(parse_parent(parent).parent, before=before, limit=limit)

    def revision(self, name: str) -> Message:
        """One revision, with the condition that says whether it serves."""
        return self._told(self._stored_revision(name))

    def revisions(self, parent: str, before: int, limit: int) -> list[tuple[int, Message]]:
        """Revisions of a service, or of all services for "services/-", newest first."""
        place = parse_service(parent)
        if place.service == "-":
            found = self.state.revisions(before=before, limit=limit) if self._at_home(place) else []
        else:
            self.service(parent)
            found = self.state.revisions(parent, before=before, limit=limit)
        return [(stored.seq, self._told(stored)) for stored in found]

    # --- writing

    def create(self, parent: str, service_id: str, service: Message, *, validate_only: bool = False) -> Message:
        """CreateService."""
        location = parse_parent(parent)
        check_service_id(service_id)
        place = Place(location.project, location.region, service_id)
        self._require_home(place)
        if self.state.service(place.service_name) is not None:
            raise Refusal("ALREADY_EXISTS", f"Resource '{service_id}' already exists.")
        wish = merge(Service(), service, ())
        return self._accept("create", place, None, wish, validate_only)

    def update(
        self, service: Message, paths: list[str], *, validate_only: bool = False, allow_missing: bool = False
    ) -> Message:
        """UpdateService."""
        place = parse_service(service.name)
        stored = self.state.service(service.name)
        if stored is None:
            if allow_missing:
                return self.create(place.parent, place.service, service, validate_only=validate_only)
            raise Refusal("NOT_FOUND", place.missing)
        check_etag(service.etag, stored)
        return self._accept("update", place, stored, merge(stored, service, paths), validate_only)

    def delete(self, name: str, etag: str, *, validate_only: bool = False) -> Message:
        """DeleteService."""
        service = self.service(name)
        check_etag(etag, service)
        if validate_only:
            return self._dry(service)
        names = " ".join(short(stored.body.name) for stored in self.state.revisions(name))
        with self.state.transaction():
            self.state.drop_service(name)
            operation = self._operation("delete", parse_service(name), service, names)
        self.reconciler.submit(operation)
        return operation_message(operation, self.state)

    def delete_revision(self, name: str, etag: str, *, validate_only: bool = False) -> Message:
        """DeleteRevision: refused while it serves, has a tag, is wished for, or is the latest."""
        stored = self._stored_revision(name)
        check_etag(etag, stored.body)
        self._require_unused(name, self.service(stored.service))
        if validate_only:
            return self._dry(stored.body)
        with self.state.transaction():
            self.state.drop_revision(short(name))
            operation = self._operation("delete-revision", parse_service(stored.service), stored.body, short(name))
        self.reconciler.submit(operation)
        return operation_message(operation, self.state)

    # --- operations

    def operation(self, name: str) -> Message:
        """GetOperation."""
        stored = self.state.operation(name)
        if stored is None:
            raise Refusal("NOT_FOUND", f"Operation '{name}' does not exist.")
        return operation_message(stored, self.state)

    def forget_operation(self, name: str) -> None:
        """DeleteOperation: nobody will ask for its result again. One in progress is refused: it is not cancelled."""
        if not self.operation(name).done:
            raise Refusal("FAILED_PRECONDITION", f"Operation '{name}' is in progress.")
        self.state.drop_operation(name)

    # --- their parts

    def _accept(self, kind: Kind, place: Place, stored: Message | None, wish: Message, validate_only: bool) -> Message:
        admission = admit(place, stored, wish, self.state.revision)
        if validate_only:
            return self._dry(_as_validated(admission, stored))
        if admission.changed:
            set_urls(admission.service, self.front_door.service_url(place.service))
        with self.state.transaction():
            self.state.put_service(admission.service)
            if admission.revision is not None:
                self.state.add_revision(place.service_name, admission.revision, admission.configuration)
            operation = self._operation(kind, place, admission.service, admission.awaits)
        self.reconciler.submit(operation)
        return operation_message(operation, self.state)

    def _operation(self, kind: Kind, place: Place, wanted: Message, revision: str) -> StoredOperation:
        name = new_operation_name(place.parent)
        return self.state.add_operation(name, place.service_name, kind, wanted, revision)

    def _dry(self, outcome: Message) -> Message:
        """The answer to validate_only: done at once, never stored."""
        message = operations_pb2.Operation(name=new_operation_name(self.state.home.parent), done=True)
        message.metadata.Pack(outcome)
        message.response.Pack(outcome)
        return message

    def _stored_revision(self, name: str) -> StoredRevision:
        place = parse_revision(name)
        stored = self.state.revision(place.revision)
        if stored is None or stored.body.name != name:
            raise Refusal("NOT_FOUND", place.missing)
        return stored

    def _told(self, stored: StoredRevision) -> Message:
        service = self.state.service(stored.service)
        routed = {route.revision for route in routes_in_force(service)} if service is not None else set()
        return conditions.with_activity(stored.body, short(stored.body.name) in routed)

    def _require_unused(self, name: str, service: Message) -> None:
        revision = short(name)
        if name in (service.latest_created_revision, service.latest_ready_revision):
            raise Refusal("FAILED_PRECONDITION", f"Revision '{revision}' is the latest of its service.")
        wished = {target.revision for target in service.traffic}
        if revision in wished | {route.revision for route in routes_in_force(service)}:
            raise Refusal("FAILED_PRECONDITION", f"Revision '{revision}' has traffic or a tag.")

    def _at_home(self, place: Place) -> bool:
        return place.parent == self.state.home.parent

    def _require_home(self, place: Place) -> None:
        if not self._at_home(place):
            raise Refusal(
                "PERMISSION_DENIED",
                f"The embedded Cloud Run makes services in {self.state.home.parent} only, not in {place.parent}.",
            )


def _as_validated(admission: Admission, stored: Message | None) -> Message:
    """The service as it would be, defaults filled in, with nothing in it that only storing it would have given it."""
    service = clone(admission.service)
    kept = stored if stored is not None else Service()
    for name in ("uid", "etag", "latest_created_revision", "last_modifier"):
        setattr(service, name, getattr(kept, name))
    service.generation = kept.generation
    service.reconciling = kept.reconciling
    service.terminal_condition.CopyFrom(kept.terminal_condition)
    del service.conditions[:]
    service.conditions.extend(kept.conditions)
    if stored is None:
        service.ClearField("create_time")
        service.ClearField("update_time")
        service.ClearField("terminal_condition")
        service.update_time.FromDatetime(now())
    else:
        service.update_time.CopyFrom(stored.update_time)
    return service
