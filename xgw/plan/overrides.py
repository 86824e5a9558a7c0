"""Whether xgw.toml overrides what there is: a step, a service of that step, a field that is nobody else's, a value of its kind.

An override that changes nothing would be taken for one that holds; one that takes another step's field would make the two
drift from each other for good; one of another kind would end in the middle of a measurement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from xgw.errors import UsageFault
from xgw.plan.model import Step
from xgw.settings import ANY_ROLE, Settings
from xgw.words import nearest

KINDS = (
    (r"[1-9][0-9]{0,8}", r"[1-9][0-9]{0,8}", "a whole number above 0"),
    (r"0\.[0-9]+", r"0|1|0\.[0-9]{1,9}", "a share from 0 to 1, as in 0.1"),
    (r"on|off", r"on|off", "on or off"),
    (r"(?s:.*)", r"(?s:.+)", "a value: to leave the step out, use --skip"),
)
"""What the plan's value looks like, what then is allowed, and that in words. The probes read the value as that kind."""


def check(settings: Settings, steps: Mapping[str, Step]) -> None:
    """Raises UsageFault, with its line, for the first override that cannot be carried out. `steps` are the plan's own."""
    owners = {(role, name): step.id for step in steps.values() for role, name, _ in _fields(step)}
    for step_id, role, name, value in _told(settings):
        if step_id not in steps:
            near = nearest(step_id, steps)
            fix = f"did you mean {near}?" if near else "see what there is: xgw plan"
            raise _fault(settings, step_id, role, name, f"there is no step {step_id}", fix)
        touched = [change.role for change in steps[step_id].changes]
        if role not in (ANY_ROLE, *touched):
            fix = f"its services: {', '.join(touched)}"
            raise _fault(settings, step_id, role, name, f"step {step_id} does not touch {role}", fix)
        for one in touched if role == ANY_ROLE else [role]:
            owner = owners.setdefault((one, name), step_id)
            if owner != step_id:
                message = f"{name} of {one} belongs to step {owner}: two steps cannot set it"
                raise _fault(settings, step_id, role, name, message, f'write it under [overrides."{owner}"]')
        for one, field, planned in _fields(steps[step_id]):
            if field == name and role in (ANY_ROLE, one) and name.startswith("env."):
                _check_kind(settings, (step_id, role, name), value, planned)


def _check_kind(settings: Settings, key: tuple[str, str, str], value: str, planned: str) -> None:
    if value.startswith("secret:"):
        message = f"{key[2]} is a reference to a secret, and the step's checks measure against the value"
        raise _fault(settings, *key, message, "write the value itself")
    allowed, wanted = next((allowed, told) for like, allowed, told in KINDS if re.fullmatch(like, planned, re.ASCII))
    if not re.fullmatch(allowed, value, re.ASCII):
        message = f"{key[2]} is {value!r}, and wants {wanted}"
        raise _fault(settings, *key, message, f"the plan's value is {planned!r}")


def _fields(step: Step) -> Iterator[tuple[str, str, str]]:
    """(role, field, value) as the plan has them."""
    for change in step.changes:
        for name, value in change.wanted().items():
            yield change.role, name, value


def _told(settings: Settings) -> Iterator[tuple[str, str, str, str]]:
    """(step, role, field, value) as xgw.toml has them."""
    for step, roles in settings.overrides.items():
        for role, fields in roles.items():
            for name, value in fields.items():
                yield step, role, name, value


def _fault(settings: Settings, step: str, role: str, name: str, message: str, fix: str) -> UsageFault:
    key = ".".join(part for part in ("overrides", step, "" if role == ANY_ROLE else role, name) if part)
    where = settings.origins.get(key, key)
    return UsageFault(f"{where}: {message}", cause="xgw.toml is checked before anything is done", fix=fix)
