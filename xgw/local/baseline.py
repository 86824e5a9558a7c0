"""The plan document's "current" state, deployed once on an empty embedded cloud."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from google.longrunning import operations_pb2

from xgw.errors import Refused
from xgw.local import issuer
from xgw.local.images import GATEWAY_RUNTIME
from xgw.local.messages import Message, Service
from xgw.local.server import ApiServer
from xgw.plan.baseline import BASELINE, DEFAULT_NAMES
from xgw.plan.model import CRM, GATEWAY, GMAIL, SLACK

_MARK = "baseline"
_LIMITS = ("cpu", "memory")


async def deploy_baseline(server: ApiServer, *, home: Path, names: Mapping[str, str] = DEFAULT_NAMES) -> bool:
    """Create the four services as the document describes them today and wait until they are ready; true when there was
    something to do. It is done once in the life of a state: a service deleted later stays deleted, and a start that was
    interrupted or failed half-way is taken up by the next call. Raises Refused when a service does not become ready.

    `names` maps role to service name. Under `home`, which exists, are the contacts of the CRM and the key pair of the issuer
    whose tokens the services believe.
    """
    cloud = server.cloud
    if cloud.state.marked(_MARK):
        return False
    waiting: list[str] = []
    for role, name in names.items():
        waiting += _begin(server, name, _wish(server, role, home, names))
    for operation in waiting:
        await cloud.reconciler.wait(operation)
        outcome: operations_pb2.Operation = cloud.operation(operation)
        if outcome.HasField("error"):
            raise Refused(
                "the baseline did not become ready",
                cause=outcome.error.message,
                fix="see the daemon's log, then run the same command again",
            )
    cloud.state.mark(_MARK)
    return True


def _begin(server: ApiServer, name: str, wish: Message) -> list[str]:
    """Set one service going unless it is there; the operations to wait for."""
    cloud = server.cloud
    parent = cloud.state.home.parent
    full_name = f"{parent}/services/{name}"
    under_way = [operation.name for operation in cloud.state.unfinished() if operation.service == full_name]
    stored = cloud.state.service(full_name)
    if under_way or (stored is not None and stored.latest_ready_revision):
        return under_way
    # One that never became ready is made anew: the same wish again would only tell the old outcome.
    deleted = [cloud.delete(full_name, "").name] if stored is not None else []
    return [*deleted, cloud.create(parent, name, wish).name]


def _wish(server: ApiServer, role: str, home: Path, names: Mapping[str, str]) -> Message:
    service = Service()
    container = service.template.containers.add(image=GATEWAY_RUNTIME)
    container.resources.cpu_idle = True
    fields = BASELINE[role]
    for limit in _LIMITS:
        container.resources.limits[limit] = fields[limit]
    literal = {field.removeprefix("env."): value for field, value in fields.items() if field.startswith("env.")}
    for variable, value in {"ROLE": role, **literal, **_wiring(server, role, home, names)}.items():
        container.env.add(name=variable, value=value)
    return service


def _wiring(server: ApiServer, role: str, home: Path, names: Mapping[str, str]) -> dict[str, str]:
    """What connects the services on this machine; on Cloud Run somebody set the same variables."""
    found = dict(issuer.settings(home))
    if role == GATEWAY:
        url = server.cloud.front_door.service_url
        found |= {f"UPSTREAM_{other.upper()}_URL": url(names[other]) for other in (CRM, SLACK, GMAIL)}
    if role == CRM:
        found["CONTACTS_STORE"] = f"sqlite://{(home / 'contacts.sqlite').resolve()}"
    return found
