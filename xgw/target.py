"""Where a plan is carried out: names, and the doors to the APIs behind them. Chosen once per command.

Google Cloud and the embedded target differ only in the address and the credentials (xgw.cloud.channel).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from xgw.errors import NotFound

if TYPE_CHECKING:
    from xgw.cloud.logs import LogDoor
    from xgw.cloud.metrics import MetricDoor
    from xgw.cloud.redis import RedisDoor
    from xgw.cloud.run import RunDoor
    from xgw.resources import Revision, Service
    from xgw.settings import Settings


class Tokens(Protocol):
    """Makes a token that the services of a target believe: for a tenant and a user of the probe's own when they are named,
    else for the usual ones. Empty when nobody can make one: what is protected will answer 401."""

    def __call__(self, *, tenant: str = "", user: str = "") -> str: ...


def no_token(*, tenant: str = "", user: str = "") -> str:
    """For whom no token was given."""
    return ""


@dataclass(frozen=True)
class Target:
    """One project and region, with the services of the plan by role. `id` names it in the ledger and in locks.

    `token` gives the probes a token that the services there believe; empty when there is none.
    """

    id: str
    label: str
    settings: Settings
    run: RunDoor
    logs: LogDoor
    metrics: MetricDoor
    redis: RedisDoor
    token: Tokens = no_token

    @property
    def names(self) -> Mapping[str, str]:
        """Role -> service name."""
        return self.settings.services

    def service(self, role: str) -> Service:
        """The service of a role, as it is now. Raises NotFound with what is there instead."""
        try:
            return self.run.get(self.names[role])
        except NotFound as error:
            found = ", ".join(self.run.names()) or "none"
            raise NotFound(
                f"there is no service {self.names[role]!r} ({role}) on {self.label}",
                cause=f"services there: {found}",
                fix="name the services of your deployment in xgw.toml: xgw init",
            ) from error

    def settled(self, role: str) -> Service:
        """The service of a role once no change of it is under way: a run that died may have sent for what is still starting.
        Raises NotFound, and Unreachable when it takes too long."""
        return self.run.settled(self.service(role).name)

    def revisions(self, role: str) -> list[Revision]:
        """The revisions of a role's service, newest first."""
        return self.run.revisions(self.names[role])


def connect(
    settings: Settings,
    *,
    project: str,
    label: str,
    endpoint: str = "",
    writable: bool = False,
    redis: str = "",
    token: Tokens = no_token,
    rehearsal: bool = False,
) -> Target:
    """The target for `project` in the settings' region; `endpoint` is a loopback "host:port" or empty for Google Cloud.

    `redis` is the shared Redis' "host:port" when the caller knows better than the settings. The settings' default is an
    address of Google Cloud's: a loopback endpoint has none there.

    A `rehearsal` has the project's name but not its services: its id says so, and its records are never taken for the real
    project's. Raises NotSignedIn without credentials. Nothing is called yet.
    """
    from xgw.cloud.channel import Address
    from xgw.cloud.logs import LogDoor
    from xgw.cloud.metrics import MetricDoor
    from xgw.cloud.redis import RedisDoor
    from xgw.cloud.run import RunDoor

    if not redis and (not endpoint or settings.redis_address != type(settings).redis_address):
        redis = settings.redis_address
    address = Address(endpoint, writable)
    parent = f"projects/{project}/locations/{settings.region}"
    return Target(
        f"{parent}@loopback" if rehearsal else parent,
        label,
        settings,
        RunDoor(address, parent),
        LogDoor(address, project),
        MetricDoor(address, project),
        RedisDoor(redis),
        token=token,
    )
