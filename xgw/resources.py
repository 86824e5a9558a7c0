"""What a target holds, as frozen nouns: services, revisions, traffic, log lines. No I/O, no Google types.

`Service.fields` is the flat form of a service template that plans, deltas and drift checks speak:

    "memory"                  "512Mi"            resources.limits["memory"] of the container with the port
    "cpu"                     "1"                resources.limits["cpu"]
    "execution_environment"   "gen1" | "gen2"    absent: Cloud Run chooses
    "concurrency"             "80"               absent: Cloud Run's default
    "timeout"                 "300s"
    "image"                   "host/name@sha256:…"
    "vpc"                     "direct:NETWORK:SUBNETWORK[:TAGS]" | "connector:NAME"     vpc_access; absent: none
    "vpc_egress"              "private-ranges-only" | "all-traffic"
    "env.NAME"                "value"            a literal variable; "secret:NAME/VERSION" stands for a secret reference,
                                                 "masked:…" for a secret in clear (xgw.masking); a literal that begins
                                                 like these has "literal:" before it

A field that is not set is absent from the mapping.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import zip_longest


@dataclass(frozen=True)
class Share:
    """One traffic target. `revision` is a short revision name, or None for "latest ready"."""

    revision: str | None
    percent: int
    tag: str = ""
    uri: str = ""


LATEST = (Share(None, 100),)
"""All traffic to whatever revision is the latest ready one: Cloud Run's default."""

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "m": 1e-3}


def quantity(text: str) -> float:
    """A Kubernetes quantity as a number: "512Mi" is 536870912 (bytes), "500m" is 0.5. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kMGm]|[KMG]i)?", text)
    if not match:
        raise ValueError(f"not a quantity: {text!r}")
    return float(match[1]) * _UNITS[match[2] or ""]


def same(field: str, one: str | None, other: str | None) -> bool:
    """True when two values of `field` mean the same: quantities by size, networks also by their short names, everything else to
    the letter."""
    if one is None or other is None or field not in ("memory", "cpu", "vpc"):
        return one == other
    if field == "vpc":
        pairs = zip_longest(one.split(":"), other.split(":"), fillvalue="")
        return all(
            mine == theirs or _is_short_for(mine, theirs) or _is_short_for(theirs, mine) for mine, theirs in pairs
        )
    return quantity(one) == quantity(other)


def _is_short_for(name: str, full: str) -> bool:
    """Whether `full` is the resource name (projects/P/global/networks/N) of what `name` calls by its last part."""
    return bool(name) and "/" not in name and full.rpartition("/")[2] == name


@dataclass(frozen=True)
class Service:
    """One Cloud Run service as it was read: wanted state, observed state, and the etag that proves when."""

    name: str
    uri: str
    etag: str
    fields: Mapping[str, str]
    traffic: tuple[Share, ...]
    serving: tuple[Share, ...]
    generation: int
    latest_created: str
    latest_ready: str
    settled: bool
    ready: bool
    reason: str = ""

    @property
    def pinned(self) -> bool:
        """True when a new revision would get no traffic (domain-facts §1.5)."""
        return not any(share.revision is None and share.percent for share in self.traffic)

    @property
    def undivided(self) -> bool:
        """True when a new revision would get all the traffic."""
        return all(share.revision is None for share in self.traffic if share.percent)

    @property
    def holding(self) -> tuple[Share, ...]:
        """The shares that answer requests now, by revision name: what to write so that nothing moves."""
        return tuple(
            Share(share.revision or self.latest_ready, share.percent) for share in self.serving if share.percent
        )

    @property
    def main(self) -> str:
        """The revision that answers the largest share of the requests; empty when none does."""
        return max(self.holding, key=lambda share: share.percent).revision or "" if self.holding else ""

    @property
    def tags(self) -> dict[str, Share]:
        """The observed tag targets by tag; each one's `uri` is where that revision answers without traffic."""
        return {share.tag: share for share in self.serving if share.tag}


@dataclass(frozen=True)
class Revision:
    """One immutable revision of a service. `rest` is a digest of everything it runs with that is not in `fields`."""

    name: str
    service: str
    created: datetime
    ready: bool
    reason: str
    fields: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)
    rest: str = ""


@dataclass(frozen=True)
class LogLine:
    """One log entry. `payload` is a mapping for structured lines and a string for plain text ones; `status` is the HTTP
    status of the request it is about, 0 when it is about none; `log` is the log it is in: "stdout" and "stderr" are the
    program's, "requests" and "varlog/system" the platform's own."""

    at: datetime
    severity: str
    revision: str
    payload: Mapping[str, object] | str
    status: int = 0
    log: str = "stdout"
