"""Where each field of `xgw.resources` lives on a Cloud Run template: one table, read and written from the same rows.

Writing mutates the fetched message and never rebuilds it: a fresh ResourceRequirements would switch the service to
instance-based billing (its `cpu_idle` is false), and a partial body would wipe the template.

A secret that stands in clear in a variable is read masked (xgw.masking), so it reaches no screen and no record. To write it
back, `reveal` finds it on a revision that still has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from google.cloud import run_v2
from google.protobuf import duration_pb2

from xgw import masking

SECRET, LITERAL = "secret:", "literal:"
_GENERATION = {"gen1": 1, "gen2": 2}
_GENERATION_NAME = {number: name for name, number in _GENERATION.items()}


def read(template: Any) -> dict[str, str]:
    """The flat fields of a ServiceTemplate or a Revision. A field that is not set is absent."""
    fields = {name: value for name, (get, _) in _PLAIN.items() if (value := get(template))}
    for variable in _main(template).env if template.containers else ():
        fields[f"env.{variable.name}"] = _value(variable)
    return fields


def write(template: Any, wanted: Mapping[str, str | None]) -> None:
    """Set each wanted field on `template` in place; None clears it. Raises KeyError for an unknown field."""
    for name, value in wanted.items():
        if name.startswith("env."):
            _set_variable(_main(template), name.removeprefix("env."), value)
        else:
            _PLAIN[name][1](template, value)


def reveal(wanted: Mapping[str, str | None], templates: Iterable[Any]) -> dict[str, str | None]:
    """`wanted` with every masked value as it stands on one of the templates. Raises LookupError, naming the field."""
    there = {
        (f"env.{variable.name}", _value(variable)): _literal(str(variable.value))
        for template in templates
        for variable in (_main(template).env if template.containers else ())
    }
    hidden = {name: value for name, value in wanted.items() if value and value.startswith(masking.MARK)}
    if missing := next((name for name, value in hidden.items() if (name, value) not in there), ""):
        raise LookupError(missing)
    return {**wanted, **{name: there[name, value] for name, value in hidden.items()}}


def _main(template: Any) -> Any:
    """The container that gets the requests: of several, the one with a port (Cloud Run docs: sidecars have none)."""
    return next((container for container in template.containers if container.ports), template.containers[0])


def _value(variable: Any) -> str:
    source = variable.value_source
    if source and source.secret_key_ref and source.secret_key_ref.secret:
        return f"secret:{source.secret_key_ref.secret}/{source.secret_key_ref.version}"
    shown = masking.masked(str(variable.name), str(variable.value))
    return shown if shown != variable.value else _literal(shown)


def _literal(value: str) -> str:
    """A plain value that looks like one of our own notations, escaped."""
    return f"{LITERAL}{value}" if value.startswith((SECRET, masking.MARK, LITERAL)) else value


def _set_variable(container: Any, name: str, value: str | None) -> None:
    """Merge one variable by name; the others, and the order, stay as they are."""
    here = [index for index, variable in enumerate(container.env) if variable.name == name]
    if value is None:
        for index in reversed(here):
            del container.env[index]
        return
    if value.startswith(masking.MARK):
        raise LookupError(f"env.{name}")  # a mask is no value: `reveal` comes first
    new = run_v2.EnvVar(name=name)
    if value.startswith(SECRET):
        secret, _, version = value.removeprefix(SECRET).rpartition("/")
        new.value_source = run_v2.EnvVarSource(secret_key_ref=run_v2.SecretKeySelector(secret=secret, version=version))
    else:
        new.value = value.removeprefix(LITERAL)
    if here:
        container.env[here[0]] = new
    else:
        container.env.append(new)


def _limit(name: str) -> tuple[Callable[[Any], str], Callable[[Any, str | None], None]]:
    def get(template: Any) -> str:
        return str(_main(template).resources.limits.get(name, "")) if template.containers else ""

    def put(template: Any, value: str | None) -> None:
        limits = _main(template).resources.limits
        if value is None:
            limits.pop(name, None)
        else:
            limits[name] = value

    return get, put


def _put_generation(template: Any, value: str | None) -> None:
    template.execution_environment = _GENERATION[value] if value else 0


def _put_concurrency(template: Any, value: str | None) -> None:
    template.max_instance_request_concurrency = int(value or 0)


def _get_timeout(template: Any) -> str:
    seconds = int(template.timeout.total_seconds()) if template.timeout else 0
    return f"{seconds}s" if seconds else ""


def _put_timeout(template: Any, value: str | None) -> None:
    template.timeout = duration_pb2.Duration(seconds=int((value or "0s").removesuffix("s")))


_DIRECT, _CONNECTOR = "direct:", "connector:"
_EGRESS = {"all-traffic": 1, "private-ranges-only": 2}
_EGRESS_NAME = {number: name for name, number in _EGRESS.items()}


def _get_vpc(template: Any) -> str:
    access = template.vpc_access
    if access.connector:
        return f"{_CONNECTOR}{access.connector}"
    if access.network_interfaces:
        one = access.network_interfaces[0]  # Cloud Run takes exactly one
        return f"{_DIRECT}{':'.join((one.network, one.subnetwork, *([','.join(one.tags)] if one.tags else [])))}"
    return ""


def _put_vpc(template: Any, value: str | None) -> None:
    access = template.vpc_access
    access.connector, access.network_interfaces = "", []
    if value and value.startswith(_CONNECTOR):
        access.connector = value.removeprefix(_CONNECTOR)
    elif value:
        network, subnetwork, tags = [*value.removeprefix(_DIRECT).split(":"), "", ""][:3]
        named = {"network": network, "subnetwork": subnetwork, "tags": [tag for tag in tags.split(",") if tag]}
        access.network_interfaces.append(run_v2.VpcAccess.NetworkInterface(named))
    _leave_nothing_empty(template)


def _put_egress(template: Any, value: str | None) -> None:
    template.vpc_access.egress = _EGRESS[value] if value else 0
    _leave_nothing_empty(template)


def _leave_nothing_empty(template: Any) -> None:
    """A message without a field set is another thing than none: whoever compares would see a change."""
    if not run_v2.VpcAccess.serialize(template.vpc_access):
        del template.vpc_access


def _get_image(template: Any) -> str:
    return str(_main(template).image) if template.containers else ""


def _put_image(template: Any, value: str | None) -> None:
    _main(template).image = value or ""


_PLAIN: Mapping[str, tuple[Callable[[Any], str], Callable[[Any, str | None], None]]] = {
    "memory": _limit("memory"),
    "cpu": _limit("cpu"),
    "execution_environment": (lambda t: _GENERATION_NAME.get(int(t.execution_environment), ""), _put_generation),
    "concurrency": (lambda t: str(t.max_instance_request_concurrency or ""), _put_concurrency),
    "timeout": (_get_timeout, _put_timeout),
    "image": (_get_image, _put_image),
    "vpc": (_get_vpc, _put_vpc),
    "vpc_egress": (lambda t: _EGRESS_NAME.get(int(t.vpc_access.egress), ""), _put_egress),
}


def clear(template: Any) -> None:
    """Take every field that `read` knows off `template`, in place."""
    if template.containers:
        write(template, dict.fromkeys((*_PLAIN, *read(template))))
