"""The one kind of change that thirteen of the plan's eighteen steps are: a Cloud Run service with other values.

A service is changed without risk to who it serves:

    apply     new revision with a tag and 0 % of the traffic; the traffic stays where it was, by revision name
    promote   traffic to the new revision (by shares where asked), in the end back to the form it had: "latest"
    revert    traffic back to the old revision at once, then the old values, then the traffic's old form; by name, when
              "latest" would be what somebody else deployed meanwhile

Each of these looks first and sends only what is missing, so carrying one out again changes nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from xgw import faults
from xgw.changes.traffic import as_before, tags_of_others, unproven
from xgw.errors import Conflict, NotReady, Refused
from xgw.plan.model import Blocked, Delta, FieldChange
from xgw.resources import Revision, Service, Share, quantity, same
from xgw.target import Target

GEN2_FLOOR = "512Mi"
"""Cloud Run docs, memory limits: the second generation execution environment needs at least 512 MiB."""

_LETTERS = "bcdfghjklmnpqrstvwxz"


@dataclass(frozen=True)
class ServiceSpec:
    """The wished values of one service; what is not named stays as it is. See `xgw.resources` for the fields."""

    role: str
    memory: str | None = None
    execution_environment: str | None = None
    image: str | None = None
    vpc: str | None = None
    vpc_egress: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, str] = field(default_factory=dict)

    def wanted(self) -> dict[str, str]:
        """The wished fields, flat; what xgw.toml overrides for this step wins over the plan document's values."""
        names = ("memory", "execution_environment", "image", "vpc", "vpc_egress")
        plain = {name: getattr(self, name) for name in names}
        return {
            **{name: value for name, value in plain.items() if value is not None},
            **{f"env.{name}": value for name, value in self.env.items()},
            **self.overrides,
        }

    def inspect(self, target: Target) -> Delta | Blocked:
        """What is missing on the target, or why it cannot be made there. Reads only."""
        service = target.service(self.role)
        wanted = self.wanted()
        changed = tuple(
            FieldChange(name, service.fields.get(name), value)
            for name, value in wanted.items()
            if not same(name, service.fields.get(name), value)
        )
        if not changed:
            return Delta(self.role)
        return _blocked(self.role, service, wanted, self.overrides) or Delta(
            self.role,
            fields=changed,
            etag=service.etag,
            revision=new_revision_name(service),
            tag=f"xgw-{secrets.token_hex(3)}",
            old=service.latest_ready,
            traffic=tuple(Share(share.revision, share.percent, share.tag) for share in service.traffic),
        )

    def apply(self, target: Target, delta: Delta) -> None:
        """Make the new revision, tagged, without traffic. Raises NotReady when it does not start."""
        if delta.empty:
            return
        service = target.service(self.role)
        if _holds(service, delta, "after") and delta.revision in (service.latest_created, service.latest_ready):
            service = target.run.settled(service.name)
        else:
            held = (*service.holding, *_tags(service.traffic), Share(delta.revision, 0, delta.tag))
            service = target.run.update(
                service.name, fields=_side(delta, "after"), revision=delta.revision, traffic=held, etag=delta.etag
            )
        faults.reach("change-made")
        made = self._revision(target, delta.revision)  # not the latest: that may be somebody else's by now
        if made is None or not made.ready:
            raise NotReady(
                f"{service.name}: the new revision did not become ready, so it got no traffic",
                cause=(made and made.reason) or service.reason or f"{delta.revision} is not there",
                fix=f"read its log lines: xgw logs {self.role} --revision {delta.revision}",
            )

    def made(self, target: Target, delta: Delta) -> bool:
        """True when the target has, or had, what the delta writes: only then is there something to put back."""
        service = target.service(self.role)
        if delta.revision == service.latest_created or _holds(service, delta, "after"):
            return True
        return self._revision(target, delta.revision) is not None

    def _revision(self, target: Target, name: str) -> Revision | None:
        return next((revision for revision in target.revisions(self.role) if revision.name == name), None)

    def promote(self, target: Target, delta: Delta, percent: int = 100) -> None:
        """Move `percent` of the traffic to the new revision; at 100 the traffic gets its old form back, without our tag.

        Raises Conflict when somebody moved the traffic meanwhile, or deployed a revision that would get it unproven."""
        if delta.empty:
            return
        service = target.service(self.role)
        if meddled := _meddled(service, delta):
            raise Conflict(
                f"{service.name}: somebody changed it while {delta.revision} was being proven",
                cause=meddled,
                fix="undo it by hand, or put the step back (xgw rollback --run N; see xgw history) and apply again",
            )
        if percent < 100:
            shares: tuple[Share, ...] = (Share(delta.old, 100 - percent), Share(delta.revision, percent))
            shares += (Share(delta.revision, 0, delta.tag), *tags_of_others(service))
        else:
            shares = self._as_before(target, service, delta)
        target.run.update(service.name, traffic=shares)
        faults.reach("traffic-moved")

    def drifted(self, target: Target, delta: Delta) -> list[str]:
        """What is now neither as written nor as before, each in words: fields, and who gets the traffic."""
        service = target.service(self.role)
        moved = [] if _is_ours(service, delta) else [f"the traffic of {service.name} is now {_told(service.traffic)}"]
        return _drift(service, delta) + moved

    def revert(self, target: Target, delta: Delta, *, force: bool = False) -> str:
        """Write `delta.before` back. A field that is neither as written nor as before is drift: refused unless `force`.

        Returns what is left for a person to do, or nothing: the traffic stays by name when the latest revision has something
        that somebody else deployed meanwhile, because putting a step back proves nothing about that."""
        if delta.empty:
            return ""
        service = target.settled(self.role)
        if not force and (moved := _drift(service, delta)):
            raise Conflict(
                f"{service.name} drifted",
                cause="; ".join(moved),
                fix="put it back by hand, or overwrite it: --force",
            )
        service = _take_traffic_off(target, service, delta)
        if not _holds(service, delta, "before"):
            service = self._write_before(target, service, delta)
        held = unproven(target, self.role, service, _side(delta, "before"))
        traffic = (*service.holding, *tags_of_others(service)) if held else self._as_before(target, service, delta)
        target.run.update(service.name, traffic=traffic)
        faults.reach("put-back")
        if not held:
            return ""
        return (
            f"{service.name} stays on {service.main} by name: {held}. When it is proven: xgw rollback {self.role} "
            f"--to {service.latest_created}, then xgw rollback {self.role} --release"
        )

    def _write_before(self, target: Target, service: Service, delta: Delta) -> Service:
        """A revision with the old values, without traffic. Raises Refused when it does not become ready."""
        name, held = new_revision_name(service), (*service.holding, *tags_of_others(service))
        service = target.run.update(service.name, fields=_side(delta, "before"), revision=name, traffic=held)
        if service.latest_ready != service.latest_created:
            raise Refused(
                f"{service.name}: the revision with the old values did not become ready; traffic stays where it is",
                cause=service.reason,
                fix="look at its logs, then run the same command again",
            )
        return service

    def _as_before(self, target: Target, service: Service, delta: Delta) -> tuple[Share, ...]:
        return as_before(service, delta.traffic, {revision.name for revision in target.revisions(self.role)})


def new_revision_name(service: Service) -> str:
    """A name no revision of the service has: next generation and three letters, at most 63 characters."""
    suffix = f"-{service.generation + 1:05d}-{''.join(secrets.choice(_LETTERS) for _ in range(3))}"
    return service.name[: 63 - len(suffix)] + suffix


def _take_traffic_off(target: Target, service: Service, delta: Delta) -> Service:
    """Before anything else, when the revision to undo serves: its traffic to the one before it."""
    if not any(share.revision == delta.revision for share in service.holding):
        return service
    try:
        return target.run.update(service.name, traffic=(Share(delta.old, 100), *tags_of_others(service)))
    except Refused:  # the old revision is gone: the traffic moves with the revision that gets the old values
        return service


def _meddled(service: Service, delta: Delta) -> str:
    """What somebody did to the traffic, or would get with it, since `apply`; nothing when all is as this step left it."""
    if not _is_ours(service, delta):
        return f"its traffic is now {_told(service.traffic)}"
    if service.latest_created != delta.revision and _percents(service.traffic) != _percents(delta.traffic):
        return f"{service.latest_created} was deployed since, and would get the traffic unproven"
    return ""


def _is_ours(service: Service, delta: Delta) -> bool:
    """True when the traffic is as it was found, as `apply` holds it by name, or shared between the old and new revision."""
    now = _percents(service.traffic)
    held = _percents(tuple(Share(share.revision or delta.old, share.percent) for share in delta.traffic))
    return now in (held, _percents(delta.traffic)) or now.keys() <= {delta.old, delta.revision}


def _percents(shares: tuple[Share, ...]) -> dict[str | None, int]:
    found: dict[str | None, int] = {}
    for share in shares:
        if share.percent:
            found[share.revision] = found.get(share.revision, 0) + share.percent
    return found


def _told(shares: tuple[Share, ...]) -> str:
    return ", ".join(f"{share.revision or 'latest'} {share.percent}%" for share in shares if share.percent)


def _drift(service: Service, delta: Delta) -> list[str]:
    return [
        f"{service.name} {change.field} is {service.fields.get(change.field)!r}, the ledger wrote {change.after!r}"
        for change in delta.fields
        if not any(
            same(change.field, service.fields.get(change.field), ours)
            for ours in (change.after, change.before, *change.also)
        )
    ]


def _side(delta: Delta, side: str) -> dict[str, str | None]:
    return {change.field: getattr(change, side) for change in delta.fields}


def _holds(service: Service, delta: Delta, side: str) -> bool:
    return all(same(name, service.fields.get(name), value) for name, value in _side(delta, side).items())


def _tags(shares: tuple[Share, ...]) -> tuple[Share, ...]:
    return tuple(Share(share.revision, 0, share.tag) for share in shares if share.tag)


def _blocked(role: str, service: Service, wanted: Mapping[str, str], told: Mapping[str, str]) -> Blocked | None:
    """Why Cloud Run would refuse, or do something else than wished. Facts: Cloud Run docs, memory limits; gcloud's own
    handling of images by tag. `told` are the values that xgw.toml names for this step."""
    generation = wanted.get("execution_environment", service.fields.get("execution_environment"))
    memory = wanted.get("memory")
    if memory and generation == "gen2" and quantity(memory) < quantity(GEN2_FLOOR):
        return Blocked(
            role,
            f"{memory} is below the {GEN2_FLOOR} that execution environment gen2 needs",
            'skip it, or accept gen1 for this step in xgw.toml: [overrides."{step}"] execution_environment = "gen1"',
        )
    there = service.fields.get("vpc")
    if there and "vpc" in wanted and "vpc" not in told and not same("vpc", there, wanted["vpc"]):
        return Blocked(
            role,
            f"it has VPC access already: {there}",
            f'name it in xgw.toml, then the step only measures: [overrides."{{step}}"] vpc = "{there}"',
        )
    if service.settled and service.latest_created != service.latest_ready:  # what is still starting blocks nothing yet
        return Blocked(
            role,
            f"its latest revision {service.latest_created} is not ready, and a change would build on it: {service.reason}",
            f"deploy a revision that starts, or give it the values of the one that serves: xgw rollback {role} --to "
            + service.latest_ready,
        )
    image = wanted.get("image", service.fields.get("image", ""))
    if "@sha256:" not in image:
        return Blocked(
            role,
            f"its image {image} is a tag: a new revision could run other code than the one serving now",
            "deploy the service once by digest (IMAGE@sha256:...)",
        )
    return None
