"""Opening what a command works on: the target that the flags name, its ledger, and its lock when something is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from xgw.cli.options import Invocation, talk
from xgw.errors import Conflict, NotFound, UsageFault
from xgw.report import safe

if TYPE_CHECKING:
    from xgw.ledger import Ledger
    from xgw.settings import Settings
    from xgw.target import Target, Tokens


@dataclass(frozen=True)
class Opened:
    """A target and its ledger. `careful` is the question to ask before changing it, empty for the local target."""

    target: Target
    ledger: Ledger
    careful: str = ""


@contextmanager
def opened(invocation: Invocation, *, writing: str = "") -> Iterator[Opened]:
    """The target and its ledger. `writing` says what is about to be done; then the target's lock is held. Without it the
    connection refuses every RPC that could change something."""
    from xgw import lock
    from xgw.ledger import Ledger

    found = (
        _cloud(invocation.settings, bool(writing)) if invocation.settings.project else _local(invocation, bool(writing))
    )
    ledger = Ledger(invocation.settings.home / "ledger.db")
    try:
        if not writing:
            yield replace(found, ledger=ledger)
            return
        with lock.held(invocation.settings.home, found.target.id, writing) as stale:
            if stale:
                body = {"taken_from": stale.who, "pid": stale.pid, "since": stale.since, "doing": stale.doing}
                ledger.append("lock", target=found.target.id, body=body)
                talk(invocation, safe(f"took over the lock of {stale.who} (pid {stale.pid} is gone): {stale.doing}"))
            ledger.guard = still_held(invocation.settings.home, found.target.id)
            yield replace(found, ledger=ledger)
    finally:
        ledger.close()


def still_held(home: Path, target: str) -> Callable[[], None]:
    """Raises Conflict, when called, if the lock is not as it is now: somebody broke it (`xgw unlock --force`), and another run
    may be at work."""
    from xgw import lock

    mine = lock.holder(home, target)

    def check() -> None:
        if (found := lock.holder(home, target)) != mine:
            raise Conflict(
                "the lock of this target was taken away while this run was at work",
                cause=f"{found.who} (pid {found.pid}) holds it now: {found.doing}" if found else "xgw unlock --force",
                fix="see xgw status; when nobody else is at work, run the same command again: it goes on from here",
            )

    return check


def role_of(settings: Settings, name: str) -> str:
    """The role for what was typed: a role or a service name. Raises NotFound with the nearest."""
    by_name: Mapping[str, str] = {service: role for role, service in settings.services.items()}
    if name in settings.services:
        return name
    if name in by_name:
        return by_name[name]
    from xgw.words import nearest

    near = nearest(name, [*settings.services, *by_name])
    raise NotFound(
        f"there is no service {name!r}",
        cause=f"services: {', '.join(f'{role} ({service})' for role, service in settings.services.items())}",
        fix=f"did you mean {near}?" if near else "name one of them; xgw.toml may name others",
    )


def _cloud(settings: Settings, writable: bool) -> Opened:
    from xgw.target import connect

    if os.environ.get("XGW_FAULT"):
        raise UsageFault(
            "XGW_FAULT is for the local target only", cause=f"--project {settings.project} is given", fix="unset it"
        )
    project, endpoint = settings.project or "", os.environ.get("XGW_ENDPOINT", "")
    label = f"{project} {settings.region}"
    target = connect(
        settings,
        project=project,
        label=label,
        endpoint=endpoint,
        writable=writable,
        token=_told_token,
        rehearsal=bool(endpoint),
    )
    return Opened(target, None, f"This changes project {project}, region {settings.region}.")  # type: ignore[arg-type]


def _local(invocation: Invocation, writable: bool) -> Opened:
    from xgw import faults
    from xgw.local import lifecycle
    from xgw.target import connect

    settings = invocation.settings
    faults.arm(os.environ.get("XGW_FAULT", ""))
    if lifecycle.status(settings.home) is None:
        talk(invocation, "starting the local target (once; stop it with: xgw local down) ...")
    endpoint = lifecycle.ensure_up(settings.home)
    here = replace(settings, region=endpoint.region)
    return Opened(
        connect(
            here,
            project=endpoint.project,
            label="local",
            endpoint=endpoint.grpc,
            writable=writable,
            redis=endpoint.redis,
            token=_local_tokens(settings),
        ),
        None,  # type: ignore[arg-type]
    )


def _told_token(*, tenant: str = "", user: str = "") -> str:
    """The token that the probes are to show, from XGW_TOKEN; it is of one user, and stands for nobody else."""
    return "" if tenant or user else os.environ.get("XGW_TOKEN", "")


def _local_tokens(settings: Settings) -> Tokens:
    """The local target's own issuer signs for anybody. A token that was told counts for the usual tenant and user."""
    from xgw.local import files, issuer

    def token(*, tenant: str = "", user: str = "") -> str:
        return _told_token(tenant=tenant, user=user) or issuer.token(
            files.data(settings.home), tenant=tenant or issuer.TENANT, user=user or issuer.USER
        )

    return token
