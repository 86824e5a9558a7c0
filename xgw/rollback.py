"""Rollback: a whole service back to an earlier revision, at once. Not to be confused with revert (one step's values).

Traffic moves first, because that is what helps the users; it takes one call. Then the service's template gets the values of
that revision, so that the next deployment does not bring the bad ones back. The traffic is **pinned** by revision name from
then on: later deployments would get none of it, until `release` gives it back to "latest". The ledger says so, and every step
whose values are gone with it is marked undone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from xgw import faults
from xgw.changes.service import new_revision_name
from xgw.changes.traffic import OURS, tags_of_others, unproven
from xgw.errors import Conflict, ExitCode, NotFound, Refused
from xgw.ledger import OPEN, Attempt, Ledger, who
from xgw.load.generator import drive
from xgw.planning import deltas_of
from xgw.resources import LATEST, Revision, Service, Share, same
from xgw.target import Target


@dataclass(frozen=True)
class Rollback:
    """A rollback that is about to be made, or was: from which revision to which, and which steps go with it. `gone` served
    later than the one gone to, and cannot any more; `unready` is why the copy with the restored values is not ready."""

    role: str
    service: str
    origin: str
    to: Revision
    undoes: tuple[str, ...] = ()
    run: int = 0
    traffic_seconds: float = 0.0
    seconds: float = 0.0
    answered: int = 0
    asked: int = 0
    gone: tuple[str, ...] = ()
    unready: str = ""

    @property
    def faults(self) -> list[str]:
        """What is not as it should be after the rollback, in words."""
        silent = f"the service answers {self.answered} of {self.asked} requests"
        copy = f"the revision with the restored values did not become ready: {self.unready}"
        return [*([silent] if self.answered < self.asked else []), *([copy] if self.unready else [])]


def previous(target: Target, ledger: Ledger, role: str, to: str = "") -> Rollback:
    """The rollback that would be made. Without `to`: to the revision that served before the present one, by the ledger; with
    no such record, to the newest older ready revision. Raises NotFound or Refused with what could be meant. Reads only."""
    service = target.service(role)
    revisions = {revision.name: revision for revision in target.revisions(role)}
    serving = service.main
    if (begun := unfinished(ledger, target, role)) and to in ("", begun[1]):
        serving, to = begun
    wanted, gone = (to, ()) if to else _served_before(ledger, target, role, serving, revisions)
    if wanted not in revisions:
        near = ", ".join(sorted(revisions, reverse=True)[:5]) or "none"
        message = (
            f"{service.name} has no revision {wanted!r}"
            if wanted
            else f"{service.name} has no earlier revision that is ready"
        )
        raise NotFound(message, cause=f"its revisions: {near}", fix=f"xgw revisions {role}")
    if not revisions[wanted].ready:
        raise Refused(
            f"{wanted} is not ready and cannot serve",
            cause=revisions[wanted].reason,
            fix=f"choose another: xgw revisions {role}",
        )
    undone = tuple(dict.fromkeys(attempt.step for attempt in _gone(ledger, target, role, revisions[wanted])))
    return Rollback(role, service.name, serving, revisions[wanted], undone, gone=gone)


def done_already(target: Target, ledger: Ledger, planned: Rollback) -> bool:
    """True when the revision gets all of the traffic, the template has its values, and no rollback broke off before it had
    recorded so."""
    if unfinished(ledger, target, planned.role):
        return False
    service = target.service(planned.role)
    return {share.revision for share in service.holding} == {planned.to.name} and service.fields == planned.to.fields


def carry_out(target: Target, ledger: Ledger, planned: Rollback, *, command: str) -> Rollback:
    """Move the traffic, restore the template, record both. Carried out again after a crash it ends in the same state."""
    began = time.monotonic()
    to, service = planned.to.name, target.service(planned.role)
    tags, name = tags_of_others(service), _name_after_the_move(service)
    run = ledger.append("run", target=target.id, body={"command": command, "who": who()}).run
    body = {"role": planned.role, "from": planned.origin, "to": to, "revision": name}
    ledger.append("pin", target=target.id, run=run, body=body)
    faults.reach("run-recorded")
    target.run.update(planned.service, traffic=(Share(to, 100), *tags))
    faults.reach("traffic-moved")
    moved = time.monotonic() - began
    answered = _ask(target.service(planned.role).uri)
    pinned = (Share(to, 100), *tags)
    copy = target.run.restore(planned.service, to, as_name=name, traffic=pinned)  # everything that revision has
    faults.reach("put-back")
    _mark_undone(target, ledger, planned, run)
    seconds = round(time.monotonic() - began, 3)
    unready = "" if copy.latest_ready == copy.latest_created else copy.reason or f"{copy.latest_created} is not ready"
    done = replace(planned, run=run, traffic_seconds=moved, seconds=seconds, answered=answered, asked=ASKED)
    done = replace(done, unready=unready)
    code = ExitCode.MISSED if done.faults else ExitCode.OK
    end = {"exit": int(code), "seconds": seconds, "steps": [], "error": "; ".join(done.faults)}
    ledger.append("run-end", target=target.id, run=run, body=end)
    return done


ASKED, TRIES = 5, 3
"""Requests that show, right after the traffic moved, whether the service answers; and how often they are tried before it is
said that it does not: an instance may be starting."""


def _ask(url: str) -> int:
    """How many of ASKED requests to the service, 10 ms apart, got an answer that is no server error."""
    answered = 0
    for attempt in range(TRIES):
        load = drive([f"{url.rstrip('/')}/health"], rate=100, seconds=ASKED / 100, timeout=2)
        answered = load.sent - load.failed
        if answered == ASKED:
            break
        time.sleep(0.2 * (attempt + 1 < TRIES))
    return answered


def release(target: Target, ledger: Ledger, role: str, *, command: str) -> Service:
    """Give the traffic back to "latest". Raises Refused when the latest revision is not ready, and Conflict when nobody has
    proven it: it gets traffic when it is proven, or when somebody says so by its name."""
    service = target.settled(role)
    _refuse_own_candidate(target, ledger, role, service)
    if service.latest_ready != service.latest_created:
        raise Refused(
            f"the latest revision of {service.name} is not ready",
            cause=service.reason or f"{service.latest_created} never became ready",
            fix=f"xgw rollback {role}, or deploy a revision that starts",
        )
    _refuse_stranger(target, ledger, role, service)
    run = ledger.append("run", target=target.id, body={"command": command, "who": who()}).run
    ledger.append("pin", target=target.id, run=run, body={"role": role, "from": "", "to": ""})
    after = target.run.update(service.name, traffic=(*LATEST, *tags_of_others(service)))
    body = {"exit": 0, "seconds": 0, "steps": [], "serving": {role: after.main}}
    ledger.append("run-end", target=target.id, run=run, body=body)
    return after


def _refuse_own_candidate(target: Target, ledger: Ledger, role: str, service: Service) -> None:
    for attempt in ledger.latest(target.id).values():
        candidates = {delta.revision for delta in deltas_of(attempt) if delta.role == role}
        if attempt.state in OPEN and service.latest_created in candidates:
            raise Conflict(
                f"{service.latest_created} is not proven: run {attempt.run} left step {attempt.step} {attempt.state}",
                cause="to release the service would give it all the traffic",
                fix=f"finish the step: xgw phase{attempt.step[0]} apply   or put it back: xgw rollback --run {attempt.run}",
            )


def _refuse_stranger(target: Target, ledger: Ledger, role: str, service: Service) -> None:
    """Nothing that another ledger is proving, and nothing that never served, gets all the traffic by a release."""
    latest = service.latest_created
    marks = [share.tag for share in service.traffic if share.revision == latest and share.tag.startswith(OURS)]
    if marks:
        raise Conflict(
            f"{latest} is not proven: somebody's unfinished step holds it under the tag {marks[0]}",
            cause="to release the service would give it all the traffic, and this ledger has not begun that step",
            fix="finish the step, or put it back, from where it was begun",
        )
    served, _ = _serving_history(ledger, target, role)
    copies = {str(pin.body.get("revision")) for pin in ledger.records(target=target.id, kind="pin")}
    known = {*served, *copies, *(share.revision for share in service.holding)}
    if latest not in known and (why := unproven(target, role, service)):
        raise Conflict(
            f"{latest} never served, so a release is not what gives it all the traffic",
            cause=why,
            fix=f"when you know that it is good: xgw rollback {role} --to {latest}, then the same command",
        )


def forget(ledger: Ledger, target: str, why: str) -> int:
    """Mark everything that stands on `target` as gone, because the target itself was thrown away; returns how many attempts."""
    standing = [attempt for attempt in ledger.attempts(target) if attempt.state != "reverted"]
    for attempt in reversed(standing):
        place = {"target": target, "run": attempt.run, "attempt": attempt.id, "step": attempt.step}
        if attempt.state != "reverting":
            ledger.append("reverting", body={"why": why}, **place)  # type: ignore[arg-type]
        ledger.append("reverted", body={}, **place)  # type: ignore[arg-type]
    return len(standing)


def pins(ledger: Ledger, target: Target) -> dict[str, str]:
    """Role -> the revision its traffic was pinned to by a rollback, as the ledger has it; released ones are left out."""
    last = {str(record.body["role"]): str(record.body["to"]) for record in ledger.records(target=target.id, kind="pin")}
    return {role: to for role, to in last.items() if to}


def unfinished(ledger: Ledger, target: Target, role: str) -> tuple[str, str] | None:
    """(from, to) of a rollback of this service that was the last thing begun here and never ended: the same command again
    is to finish it, not to roll back from where it had got to."""
    runs = ledger.records(target=target.id, kind="run")
    if not runs or ledger.records(target=target.id, run=runs[-1].run, kind="run-end"):
        return None
    pins = ledger.records(target=target.id, run=runs[-1].run, kind="pin")
    return next(
        ((str(r.body["from"]), str(r.body["to"])) for r in pins if r.body["role"] == role and r.body["to"]), None
    )


def _served_before(
    ledger: Ledger, target: Target, role: str, serving: str, revisions: Mapping[str, Revision]
) -> tuple[str, tuple[str, ...]]:
    """The revision that served before `serving` by the record and still can, and those passed over because they are gone or
    not ready. A revision that only ever was a candidate never counts.

    Where the record knows nothing of it (deployed by other means): the newest older ready revision."""
    served, candidates = _serving_history(ledger, target, role)
    gone: list[str] = []
    if serving in served:
        before = [name for name in served[: len(served) - served[::-1].index(serving)] if name != serving]
        for name in dict.fromkeys(reversed(before)):
            if name in revisions and revisions[name].ready:
                return name, tuple(gone)
            gone.append(name)
    own = revisions.get(serving)
    older = [
        revision
        for revision in revisions.values()
        if own and revision.created < own.created and revision.ready and revision.name not in candidates - set(served)
    ]
    return max(older, key=lambda revision: revision.created).name if older else "", tuple(gone)


def _serving_history(ledger: Ledger, target: Target, role: str) -> tuple[list[str], set[str]]:
    """The revisions of a role in the order they came to serve, and all that were made as candidates."""
    served: list[str] = []
    candidates: set[str] = set()
    for record in ledger.records(target=target.id):
        body = record.body
        names = [str(body["serving"][role])] if role in body.get("serving", {}) else []
        if record.kind == "intended":
            own = [delta for delta in body["deltas"] if delta["role"] == role]
            candidates |= {str(delta["revision"]) for delta in own}
            names = [str(delta["old"]) for delta in own]
        elif record.kind == "pin" and body["role"] == role:
            names = [str(body["from"]), str(body["to"])]
        served += [name for name in names if name and served[-1:] != [name]]
    return served, candidates


def _gone(ledger: Ledger, target: Target, role: str, to: Revision) -> list[Attempt]:
    """The standing attempts that wrote something to this service that the revision does not have."""
    return [
        attempt
        for attempt in ledger.attempts(target.id)
        if attempt.state != "reverted"
        for delta in deltas_of(attempt)
        if delta.role == role
        and not all(same(change.field, to.fields.get(change.field), change.after) for change in delta.fields)
    ]


def _name_after_the_move(service: Service) -> str:
    """What the revision with the restored template will be called. Moving the traffic takes one generation before it."""
    return new_revision_name(replace(service, generation=service.generation + 1))


def _mark_undone(target: Target, ledger: Ledger, planned: Rollback, run: int) -> None:
    """The attempts whose values are gone lose them first: one that a crash then leaves as "reverting" has nothing to put back,
    and finishing it does not touch the pinned traffic."""
    for attempt in _gone(ledger, target, planned.role, planned.to):
        place = {"target": target.id, "run": run, "attempt": attempt.id, "step": attempt.step}
        ledger.append("undone", body={"roles": [planned.role]}, **place)  # type: ignore[arg-type]
        if {delta.role for delta in deltas_of(attempt)} != {planned.role}:
            continue
        if attempt.state != "reverting":
            ledger.append("reverting", body={"why": "service rolled back"}, **place)  # type: ignore[arg-type]
        ledger.append("reverted", body={}, **place)  # type: ignore[arg-type]
