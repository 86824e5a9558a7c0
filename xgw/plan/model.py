"""The nouns of a plan. No I/O.

A **phase** has steps. A **step** is a value: the changes it wishes, the probes that measure whether its requirement holds,
the requirement's name, and what the document claims it saves. A **change** is the wished state of one resource; a
**delta** is what would have to be written to get there, with what stood there before, so that putting it back needs
nothing but the delta. A **probe** measures and returns **evidence**; evidence carries one of four **verdicts**:

    passed        the limit was measured and holds
    failed        the limit was measured and does not hold
    inconclusive  too little data, or the window is not over: never a pass
    errored       the measurement itself could not be made

A step ends in one of four **outcomes**: validated, rejected (undone), unproven (nothing promoted, nothing undone), or
skipped with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from xgw.resources import Share
    from xgw.target import Target

GATEWAY, SLACK, GMAIL, CRM = "gateway", "slack", "gmail", "crm"
ROLES = (GATEWAY, SLACK, GMAIL, CRM)


class Verdict(StrEnum):
    """What one measurement says about its limit."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    ERRORED = "errored"


class Outcome(StrEnum):
    """How a step ended."""

    VALIDATED = "validated"
    REJECTED = "rejected"
    UNPROVEN = "unproven"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class FieldChange:
    """One field of one resource, before and after; None means "not set". `also` are values in between that are ours too."""

    field: str
    before: str | None
    after: str | None
    also: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Delta:
    """What one change would write to one resource, and what stood there before.

    `revision` is the name the new revision will get: chosen before acting and recorded with the intent, so that after a
    crash or a lost answer the target can be asked whether the change was made. `old` is the revision that served before,
    `traffic` the traffic to go back to.
    """

    role: str
    fields: tuple[FieldChange, ...] = ()
    etag: str = ""
    revision: str = ""
    tag: str = ""
    old: str = ""
    traffic: tuple[Share, ...] = ()

    @property
    def empty(self) -> bool:
        """True when the resource already is as wished."""
        return not self.fields

    def to_json(self) -> dict[str, Any]:
        """The delta as the ledger and a saved plan keep it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Delta:
        """The delta back from `to_json`."""
        from xgw.resources import Share

        return cls(
            **{
                **data,
                "fields": tuple(
                    FieldChange(**{**change, "also": tuple(change.get("also", ()))}) for change in data["fields"]
                ),
                "traffic": tuple(Share(**share) for share in data["traffic"]),
            }
        )


@dataclass(frozen=True)
class Blocked:
    """Why a change cannot be made as wished on this target, and what would allow it."""

    role: str
    reason: str
    fix: str = ""


class Change(Protocol):
    """The wished state of one resource. `inspect` only reads; `revert` needs only the recorded delta.

    `apply` makes the change without letting it take traffic, `promote` lets it; `made` tells whether the target ever got
    it; `drifted` names what is neither as written nor as before; `revert` returns what it leaves to a person, or nothing.
    All three writing verbs are idempotent:
    carried out again after a crash at any point they end in the same state and make nothing twice.
    """

    @property
    def role(self) -> str: ...

    def wanted(self) -> Mapping[str, str]: ...
    def inspect(self, target: Target) -> Delta | Blocked: ...
    def apply(self, target: Target, delta: Delta) -> None: ...
    def made(self, target: Target, delta: Delta) -> bool: ...
    def promote(self, target: Target, delta: Delta, percent: int = 100) -> None: ...
    def drifted(self, target: Target, delta: Delta) -> list[str]: ...
    def revert(self, target: Target, delta: Delta, *, force: bool = False) -> str: ...


@dataclass(frozen=True)
class Subject:
    """What a probe looks at: the candidate by its tag URL (no traffic yet), or the live service.

    `urls`, `revisions` and `wanted` are by role; `wanted` holds the step's wished fields, so that a probe holds the
    measured value against the same value that was written.
    """

    target: Target
    where: Literal["candidate", "live"]
    urls: Mapping[str, str]
    revisions: Mapping[str, str]
    wanted: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Reading:
    """What a probe saw: the limit and the measured value in words, the verdict, and numbers for machines."""

    expected: str
    measured: str
    verdict: Verdict
    numbers: Mapping[str, float | int | str] | None = None


@dataclass(frozen=True)
class Probe:
    """A read-only measurement of one limit."""

    name: str
    measure: Callable[[Subject], Reading]


@dataclass(frozen=True)
class Evidence:
    """A reading that was made: by which probe, where, when, and what it said."""

    probe: str
    expected: str
    measured: str
    verdict: Verdict
    where: str
    at: str
    numbers: Mapping[str, float | int | str] | None = None

    def to_json(self) -> dict[str, Any]:
        """The evidence as the ledger and `-o json` show it."""
        return asdict(self)


@dataclass(frozen=True)
class Claim:
    """What the plan document says a step saves. Printed as a claim, never as a result."""

    text: str = ""


NO_SAVING = Claim()


@dataclass(frozen=True)
class Need:
    """A step that has to be there first: what it writes, without which there is nothing to measure."""

    step: str
    role: str
    field: str


@dataclass(frozen=True)
class Step:
    """One numbered step of the plan document. `after` is what it waits for, when the document's own order does not work."""

    id: str
    title: str
    changes: tuple[Change, ...]
    probes: tuple[Probe, ...]
    requirements: tuple[str, ...]
    claim: Claim = NO_SAVING
    high_risk: bool = False
    why: str = ""
    after: Need | None = None


@dataclass(frozen=True)
class Phase:
    """One phase of the plan document, its steps in order. `left_out` are those of the document that nothing here carries out."""

    number: int
    title: str
    steps: tuple[Step, ...]
    left_out: tuple[str, ...] = ()


def now() -> str:
    """The present moment as the ledger writes it: ISO 8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
