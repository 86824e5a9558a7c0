"""Which program stands behind an image name on this machine. A table: there is no registry here and nothing is pulled.

An image is named as on Cloud Run: `host/name`, `host/name:tag` or `host/name@sha256:<64 hex>`. A tag always means the
installed version; a digest must be one that this or an earlier version of xgw handed out, or there is no such image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from xgw import __version__

EARLIER_VERSIONS: tuple[str, ...] = ()
"""Versions whose digests still resolve: state written by them must start after an upgrade. Extend at each release."""


@dataclass(frozen=True)
class Program:
    """A module to run as `__main__` in a fresh interpreter, with its arguments."""

    module: str
    arguments: tuple[str, ...] = ()


Resolve = Callable[[str], Program | None]


def _fault(kind: str) -> Program:
    return Program("xgw.local.faults", (kind,))


PROGRAMS: Mapping[str, Program] = MappingProxyType(
    {
        "xgw.local/gateway-runtime": Program("gateway_runtime"),
        "xgw.local/fault-crash": _fault("crash"),
        "xgw.local/fault-silent": _fault("silent"),
        "xgw.local/fault-memory-at-start": _fault("memory-at-start"),
        "xgw.local/fault-memory-under-load": _fault("memory-under-load"),
        "xgw.local/fault-errors": _fault("errors"),
        "xgw.local/fault-slow-stop": _fault("slow-stop"),
    }
)
"""Image name without tag and digest -> what runs."""


def digest(name: str, version: str = __version__) -> str:
    """The digest of one image in one version of xgw: constant for that pair, 64 lower-case hex digits."""
    return hashlib.sha256(f"{name}\n{version}".encode()).hexdigest()


def pinned(name: str) -> str:
    """The image of this version by digest: what a revision should name, so that it never changes under it."""
    return f"{name}@sha256:{digest(name)}"


def split(image: str) -> tuple[str, str, str]:
    """(name, tag, digest) of an image reference; what is absent is empty. A port in the host is not a tag."""
    rest, _, sha = image.partition("@")
    slash = rest.rfind("/")
    colon = rest.find(":", slash + 1)
    if colon < 0:
        return rest, "", sha
    return rest[:colon], rest[colon + 1 :], sha


def resolve(image: str) -> Program | None:
    """The program behind an image, or None when there is no such image."""
    name, _, sha = split(image)
    program = PROGRAMS.get(name)
    if program is None or not sha:
        return program
    known = {f"sha256:{digest(name, version)}" for version in (__version__, *EARLIER_VERSIONS)}
    return program if sha in known else None


GATEWAY_RUNTIME = pinned("xgw.local/gateway-runtime")
FAULT_CRASH = pinned("xgw.local/fault-crash")
FAULT_SILENT = pinned("xgw.local/fault-silent")
FAULT_MEMORY_AT_START = pinned("xgw.local/fault-memory-at-start")
FAULT_MEMORY_UNDER_LOAD = pinned("xgw.local/fault-memory-under-load")
FAULT_ERRORS = pinned("xgw.local/fault-errors")
FAULT_SLOW_STOP = pinned("xgw.local/fault-slow-stop")
