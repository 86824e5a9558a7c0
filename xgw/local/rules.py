"""What Cloud Run fills in and what it refuses in a service's template (Cloud Run docs: cpu, memory limits, execution
environments, environment variables). Pure: messages in, messages or a Refusal out.

Texts marked "seen" are Cloud Run's own, from public reports; the others say the same rule in our words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal

from xgw.local.messages import Message
from xgw.local.quantities import GIB, MIB, cpus, memory_bytes, show_memory
from xgw.local.refusal import Refusal, invalid

GEN2 = 2  # google.cloud.run.v2.ExecutionEnvironment
INGRESS_ALL = 1
LAUNCH_GA = 4
DEFAULT_TIMEOUT_S = 300
MAX_TIMEOUT_S = 3600
MAX_CONCURRENCY = 1000
DEFAULT_CONCURRENCY = 80
DEFAULT_MAX_INSTANCES = 100
DEFAULT_PORT = 8080

RESERVED_PREFIXES = ("run.googleapis.com", "cloud.googleapis.com", "serving.knative.dev", "autoscaling.knative.dev")
RESERVED_ENV = frozenset({"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"})
_ENV_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")

_WHOLE_CPUS: Mapping[Decimal, tuple[int, int]] = {
    Decimal(1): (128 * MIB, 4 * GIB),
    Decimal(2): (128 * MIB, 8 * GIB),
    Decimal(4): (2 * GIB, 16 * GIB),
    Decimal(6): (4 * GIB, 24 * GIB),
    Decimal(8): (4 * GIB, 32 * GIB),
}
"""Whole CPUs -> least and most memory."""


def populate_service(service: Message) -> None:
    """Fill in the defaults Cloud Run fills in."""
    service.ingress = service.ingress or INGRESS_ALL
    service.launch_stage = service.launch_stage or LAUNCH_GA
    populate_template(service.template)


def populate_template(template: Message) -> None:
    """Defaults of a template. The execution environment stays unset: Cloud Run then chooses per instance."""
    if not template.containers:
        invalid("template.containers: at least one container is required.")
    container = template.containers[0]
    if not container.HasField("resources"):
        # True by default; a caller who sets resources has to set it too (google.cloud.run.v2 ResourceRequirements).
        container.resources.cpu_idle = True
    limits = container.resources.limits
    limits["cpu"] = limits.get("cpu", "") or "1"
    limits["memory"] = limits.get("memory", "") or "512Mi"
    if not container.ports:
        container.ports.add(name="http1", container_port=DEFAULT_PORT)
    if not template.max_instance_request_concurrency:
        template.max_instance_request_concurrency = 1 if cpus(limits["cpu"]) < 1 else DEFAULT_CONCURRENCY
    if not template.HasField("timeout"):
        template.timeout.seconds = DEFAULT_TIMEOUT_S
    if not template.scaling.max_instance_count:
        template.scaling.max_instance_count = max(DEFAULT_MAX_INSTANCES, template.scaling.min_instance_count)


def check_service(service: Message) -> None:
    """Refuse what Cloud Run refuses in a service whose defaults are filled in."""
    for where, keys in (
        ("labels", service.labels),
        ("annotations", service.annotations),
        ("template.labels", service.template.labels),
        ("template.annotations", service.template.annotations),
    ):
        _check_prefixes(where, keys)
    check_template(service.template)


def check_template(template: Message) -> None:
    """Refuse an illegal template."""
    if len(template.containers) > 1:
        raise Refusal("UNIMPLEMENTED", "template.containers: the embedded Cloud Run runs one container per instance.")
    container = template.containers[0]
    if not container.image:
        invalid("template.containers[0].image: required.")
    if len(container.ports) > 1:
        invalid("template.containers[0].ports: only one port can be specified.")
    port = container.ports[0].container_port
    if not 1 <= port <= 65535:
        invalid(f"template.containers[0].ports[0].container_port: {port} is not between 1 and 65535.")
    _check_env(container.env)
    _check_limits(template)
    _check_bounds(template)


def _check_prefixes(where: str, keys: Iterable[str]) -> None:
    for key in keys:
        namespace = key.split("/")[0]
        if any(namespace == reserved or namespace.endswith(f".{reserved}") for reserved in RESERVED_PREFIXES):
            invalid(f"{where}: {key!r} uses a reserved namespace; system keys cannot be set through the v2 API.")


def _check_env(env: Iterable[Message]) -> None:
    seen: set[str] = set()
    for variable in env:
        if not _ENV_NAME.fullmatch(variable.name):
            invalid(f"template.containers[0].env: {variable.name!r} is not a legal variable name.")
        if variable.name in seen:
            invalid(f"template.containers[0].env: {variable.name!r} is given twice.")
        seen.add(variable.name)
    reserved = sorted(name for name in seen if name in RESERVED_ENV or name.startswith("X_GOOGLE_"))
    if reserved:
        invalid(  # seen
            f"template.containers[0].env: The following reserved env names were provided: {', '.join(reserved)}. "
            "These values are automatically set by the system."
        )


def _memory_range(cpu: Decimal, gen2: bool) -> tuple[int, int]:
    if cpu < 1:
        low, high = 128 * MIB, GIB if cpu >= Decimal("0.5") else 512 * MIB
    else:
        low, high = _WHOLE_CPUS[cpu]
    return (max(low, 512 * MIB) if gen2 else low), high


def needs_gen2(template: Message) -> bool:
    """True when the second generation was asked for, or a volume exists that only it can mount."""
    return bool(
        template.execution_environment == GEN2
        or any(volume.HasField("gcs") or volume.HasField("nfs") for volume in template.volumes)
    )


def _check_limits(template: Message) -> None:
    resources = template.containers[0].resources
    cpu, memory = cpus(resources.limits["cpu"]), memory_bytes(resources.limits["memory"])
    fraction = Decimal("0.08") <= cpu < 1 and cpu % Decimal("0.001") == 0
    if not fraction and cpu not in _WHOLE_CPUS:
        invalid(
            f"Invalid value specified for cpu: {resources.limits['cpu']!r}. Must be 1, 2, 4, 6 or 8, or between 0.08 "
            "and 1 in steps of 0.001."
        )
    gen2 = needs_gen2(template)
    if cpu < 1:
        _check_small_cpu(template, gen2)
    low, high = _memory_range(cpu, gen2)
    if not low <= memory <= high:
        where = " with gen2 execution environment" if gen2 else ""
        shown = f"{cpu.normalize():f}"
        invalid(  # seen
            f"Invalid value specified for memory{where}. For {shown if '.' in shown else shown + '.0'} CPU, memory "
            f"must be between {show_memory(low)} and {show_memory(high)} inclusive."
        )


def _check_small_cpu(template: Message, gen2: bool) -> None:
    if template.max_instance_request_concurrency > 1:
        invalid("Invalid value specified for cpu. Total cpu < 1 is not supported with concurrency > 1.")  # seen
    if not template.containers[0].resources.cpu_idle:
        invalid("Invalid value specified for cpu. Total cpu < 1 is not supported with cpu always allocated.")
    if gen2:
        invalid("Invalid value specified for cpu. Total cpu < 1 is not supported with gen2 execution environment.")


def _check_bounds(template: Message) -> None:
    concurrency = template.max_instance_request_concurrency
    if not 1 <= concurrency <= MAX_CONCURRENCY:
        invalid(f"template.max_instance_request_concurrency: {concurrency} is not between 1 and {MAX_CONCURRENCY}.")
    timeout = template.timeout.seconds + template.timeout.nanos / 1e9
    if not 0 < timeout <= MAX_TIMEOUT_S:
        invalid(f"template.timeout: {timeout:g}s must be more than 0 and at most {MAX_TIMEOUT_S} seconds.")
    least, most = template.scaling.min_instance_count, template.scaling.max_instance_count
    if least < 0 or most < 1 or least > most:
        invalid(f"template.scaling: min_instance_count {least} and max_instance_count {most} must be 0 <= min <= max.")
    _check_network(template.vpc_access)


def _check_network(access: Message) -> None:
    if access.connector and access.network_interfaces:
        invalid("template.vpc_access: connector and network_interfaces cannot both be set.")
    if len(access.network_interfaces) > 1:
        invalid("template.vpc_access.network_interfaces: exactly one interface can be given.")
    if access.network_interfaces and not (
        access.network_interfaces[0].network or access.network_interfaces[0].subnetwork
    ):
        invalid("template.vpc_access.network_interfaces[0]: a network or a subnetwork is required.")
