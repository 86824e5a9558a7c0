"""The seam between Cloud Run's rules and the processes behind them: nouns and protocols, no behaviour.

The rules (`reconcile.py`) say which revisions must run and where requests go; whoever implements these two protocols
does it. Service and revision names here are short names, unique on one machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

HEALTH_CHECK_CONTAINER_ERROR = "HEALTH_CHECK_CONTAINER_ERROR"
CONTAINER_MISSING = "CONTAINER_MISSING"


@dataclass(frozen=True)
class RevisionSpec:
    """What a process needs to know to be an instance of a revision.

    `env` holds the template's literal variables only; PORT, K_SERVICE, K_REVISION and K_CONFIGURATION are added by
    whoever starts the process. `port` is the template's container port (8080 when unset): the number that messages
    name. The process itself is given a free loopback port as PORT, because many revisions share one machine.
    """

    name: str
    service: str
    image: str
    env: Mapping[str, str]
    memory_bytes: int
    timeout_s: float
    concurrency: int
    port: int
    private: bool = False
    """Whether it reaches private addresses: it has VPC access."""


@dataclass(frozen=True)
class StartResult:
    """How a start ended. When `ready` is false, `reason` is one of the two constants above (another value is shown as
    HEALTH_CHECK_CONTAINER_ERROR); `message` is told instead of Cloud Run's usual text, which an empty one keeps; it
    need not begin with "Revision 'X' is not ready": that is put in front when it is not there."""

    ready: bool
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class Route:
    """One share of a service's requests: `percent` of those that come to the service's own URL, and all of those that
    come to the tag's URL when `tag` is not empty. `percent` may be 0. One revision can appear in several routes."""

    revision: str
    percent: int
    tag: str = ""


class Instances(Protocol):
    """Processes by revision name."""

    async def start(self, revision: RevisionSpec) -> StartResult:
        """Start an instance and wait until it listens, or until the startup deadline. Starting a revision that already
        runs is no second process and answers ready. Raises nothing for what the program does wrong."""

    async def stop(self, revision: str) -> None:
        """SIGTERM, 10 s, SIGKILL. Requests in flight have the 10 s. Idempotent; an unknown name is no error."""

    def running(self) -> Mapping[str, object]:
        """The names of the revisions that have an instance now; the values belong to the implementation."""


class FrontDoor(Protocol):
    """One loopback HTTP port per service and one per tag."""

    async def set_routes(self, service: str, routes: Sequence[Route]) -> None:
        """Replace all routes of a service at once; requests in flight finish where they are. Opens the ports a new
        service or tag needs before it returns and closes those of tags that are gone. No routes: the service answers
        404 on its port."""

    async def remove(self, service: str) -> None:
        """Close all ports of a deleted service."""

    def service_url(self, service: str) -> str:
        """`http://127.0.0.1:PORT`, allocated on first use, the same after a restart, no slash at the end."""

    def tag_url(self, service: str, tag: str) -> str:
        """The same for one tag."""
