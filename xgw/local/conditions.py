"""Conditions: how the state of services and revisions is told (google.cloud.run.v2 condition.proto)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from google.cloud import run_v2

from xgw.local import instances
from xgw.local.instances import StartResult
from xgw.local.messages import Condition, Message, now

_STATE = run_v2.Condition.State
_COMMON = run_v2.Condition.CommonReason
_REVISION = run_v2.Condition.RevisionReason
RECONCILING, FAILED, SUCCEEDED = (
    int(_STATE.CONDITION_RECONCILING),
    int(_STATE.CONDITION_FAILED),
    int(_STATE.CONDITION_SUCCEEDED),
)
SEVERITY_ERROR, SEVERITY_INFO = 1, 3
GRPC_FAILED_PRECONDITION, GRPC_INTERNAL = 9, 13

Readiness = Literal["pending", "ready", "failed"]


@dataclass(frozen=True)
class Fault:
    """Why an accepted update did not come about: the error of its operation (a google.rpc code and a sentence), and
    the reason its revision's condition carries, if a revision is to blame."""

    message: str
    code: int = GRPC_FAILED_PRECONDITION
    reason: int = 0
    revision_reason: int = 0


def start_fault(revision: Message, result: StartResult) -> Fault:
    """Cloud Run's words for an instance that did not start."""
    container = revision.containers[0]
    reasons = {"reason": _COMMON.CONTAINER_MISSING}
    usual = f"Image '{container.image}' not found."
    if result.reason != instances.CONTAINER_MISSING:
        reasons = {"revision_reason": _REVISION.HEALTH_CHECK_CONTAINER_ERROR}
        usual = (
            "The user-provided container failed to start and listen on the port defined provided by the "
            f"PORT={container.ports[0].container_port} environment variable within the allocated timeout. This can "
            "happen when the container port is misconfigured or if the timeout is too short. The health check timeout "
            "can be extended. Logs for this revision might contain more information."
        )
    head = f"Revision '{revision.name.rpartition('/')[2]}' is not ready and cannot serve traffic. "
    text = result.message or usual
    return Fault(text if text.startswith(head) else head + text, **reasons)


def secret_fault(revision: Message) -> Fault:
    """A variable that takes its value from Secret Manager, which is not embedded."""
    name = revision.name.rpartition("/")[2]
    return Fault(
        f"Revision '{name}' is not ready and cannot serve traffic. A secret it refers to cannot be read: the embedded "
        "cloud has no Secret Manager.",
        reason=_COMMON.SECRETS_ACCESS_CHECK_FAILED,
    )


def network_fault(revision: Message) -> Fault | None:
    """VPC access that leads nowhere: here is one network, "default", with one subnetwork of that name, and no connector."""
    access = revision.vpc_access
    wanted = [name for one in access.network_interfaces for name in (one.network, one.subnetwork)] + [access.connector]
    unknown = next((name for name in wanted if name.rpartition("/")[2] not in ("", "default")), "")
    if not unknown:
        return None
    name = revision.name.rpartition("/")[2]
    return Fault(
        f"Revision '{name}' is not ready and cannot serve traffic. VPC network, subnetwork or connector '{unknown}' not found: "
        "the embedded cloud has the network 'default' with the subnetwork 'default'.",
        reason=_COMMON.VPC_NETWORK_NOT_FOUND,
    )


def internal_fault(error: BaseException) -> Fault:
    """A defect of the embedded cloud itself, told rather than left to a client's polling deadline."""
    return Fault(f"Internal error: {type(error).__name__}: {error}", GRPC_INTERNAL, _COMMON.INTERNAL)


def _condition(type_: str, state: int, fault: Fault | None = None, *, reason: int = 0) -> Message:
    condition = Condition(type_=type_, state=state)
    condition.last_transition_time.FromDatetime(now())
    if fault is not None:
        condition.message = fault.message
        condition.severity = SEVERITY_ERROR
        if reason or fault.reason:
            condition.reason = reason or fault.reason
        else:
            condition.revision_reason = fault.revision_reason
    return condition


def set_revision_pending(revision: Message) -> None:
    """A revision that was accepted and not yet tried."""
    del revision.conditions[:]
    revision.conditions.append(_condition("Ready", RECONCILING))
    revision.reconciling = True


def set_revision_outcome(revision: Message, fault: Fault | None) -> None:
    """What trying to start it showed."""
    missing = fault is not None and fault.reason == _COMMON.CONTAINER_MISSING
    del revision.conditions[:]
    if fault is None:
        revision.conditions.extend(_condition(t, SUCCEEDED) for t in ("Ready", "ContainerReady", "ContainerHealthy"))
    else:
        broken = "ContainerReady" if missing or fault.reason else "ContainerHealthy"
        revision.conditions.extend([_condition("Ready", FAILED, fault), _condition(broken, FAILED, fault)])
    revision.reconciling = False
    revision.observed_generation = revision.generation


def with_activity(revision: Message, routed: bool) -> Message:
    """The revision with the condition that says whether it serves; told when read, because traffic decides it."""
    if readiness(revision) == "ready":
        active = _condition("Active", SUCCEEDED if routed else FAILED)
        if not routed:
            active.revision_reason = _REVISION.RETIRED
            active.severity = SEVERITY_INFO
            active.message = "Revision retired."
        revision.conditions.append(active)
    return revision


def readiness(revision: Message) -> Readiness:
    """Where a revision stands, from its Ready condition."""
    for condition in revision.conditions:
        if condition.type_ == "Ready":
            return "ready" if condition.state == SUCCEEDED else "failed" if condition.state == FAILED else "pending"
    return "pending"


def fault_of(revision: Message) -> Fault:
    """The fault a failed revision's Ready condition tells."""
    ready = next(condition for condition in revision.conditions if condition.type_ == "Ready")
    return Fault(ready.message, reason=ready.reason, revision_reason=ready.revision_reason)


def set_service_reconciling(service: Message) -> None:
    """A service whose update was accepted and not yet carried out."""
    service.reconciling = True
    service.terminal_condition.CopyFrom(_condition("Ready", RECONCILING))
    del service.conditions[:]
    service.conditions.extend(_condition(t, RECONCILING) for t in ("RoutesReady", "ConfigurationsReady"))


def set_service_outcome(service: Message, configuration: Fault | None, routes: Fault | None) -> None:
    """What became of it: `configuration` is why the latest created revision is not ready, `routes` why the wished
    traffic is not in force. Either one fails the service; the revision that served before still does."""
    service.reconciling = False
    del service.conditions[:]
    for type_, fault in (("RoutesReady", routes), ("ConfigurationsReady", configuration)):
        service.conditions.append(_verdict(type_, fault))
    service.terminal_condition.CopyFrom(_verdict("Ready", configuration or routes))


def _verdict(type_: str, fault: Fault | None) -> Message:
    if fault is None:
        return _condition(type_, SUCCEEDED)
    reason = _COMMON.INTERNAL if fault.code == GRPC_INTERNAL else _COMMON.REVISION_FAILED
    return _condition(type_, FAILED, fault, reason=int(reason))
