"""The servers that are compared, and how each is started with the same features on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from benchmarks.gateway import build, issuer
from benchmarks.gateway.cases import ORIGIN, Kind
from benchmarks.gateway.processes import Launch, free_port

LIMIT = "999999999/60"
"""A rate that nobody reaches: the limiter does its whole work and refuses nothing."""


OPERATOR = "bench-reads-the-numbers"
"""Opens /metrics of ours, on loopback and for this run."""


@dataclass(frozen=True)
class Around:
    """What is there for every server: the upstream's port, Valkey's, the key file, the built things, a place."""

    upstream: int
    valkey: int
    keys: Path
    tools: build.Tools
    place: Path


Make = Callable[[Around, Kind, Path], Launch]


@dataclass(frozen=True)
class Target:
    """One server program. `apart`: it caches everything or nothing, so that the two kinds of case need a process each.

    `warms`: whether it becomes faster while it runs, as a compiler at run time does.
    """

    name: str
    needs: tuple[str, ...]
    make: Make
    apart: bool = False
    warms: bool = False


def _gateway(around: Around, _kind: Kind, _directory: Path) -> Launch:
    port = free_port()
    service = f"http://127.0.0.1:{around.upstream}"
    environment = {
        "PORT": str(port), "ROLE": "gateway", "CORS_ALLOWED_ORIGINS": f"{ORIGIN},https://*.xynergy.com",
        "UPSTREAM_CRM_URL": service, "UPSTREAM_SLACK_URL": service, "UPSTREAM_GMAIL_URL": service,
        "CACHE_ROUTES": "/api/v2/crm ttl=3600 scope=user",
        "RATE_LIMIT_ADDRESS": LIMIT, "RATE_LIMIT_USER": LIMIT,
        "REDIS_URL": f"redis://127.0.0.1:{around.valkey}/0",
        "OPERATOR_TOKEN": OPERATOR,
        **issuer.settings(around.keys),
    }  # fmt: skip
    return Launch((around.tools.paths["python"], "-m", "gateway_runtime"), port, environment, build.ROOT)


def _node(peer: str, database: int) -> Make:
    def make(around: Around, kind: Kind, _directory: Path) -> Launch:
        port = free_port()
        environment = {
            "PORT": str(port), "HOST": "127.0.0.1", "NODE_ENV": "production",
            "UPSTREAM_URL": f"http://127.0.0.1:{around.upstream}",
            "CACHE": "on" if kind == "caching" else "off", "CACHE_TTL": "3600",
            "REDIS_URL": f"redis://127.0.0.1:{around.valkey}/{database}",
        }  # fmt: skip
        directory = build.peer(peer, around.tools)
        return Launch((around.tools.paths["node"], "server.js"), port, environment, directory)

    return make


def _nginx(around: Around, _kind: Kind, directory: Path) -> Launch:
    user = "user root;" if os.geteuid() == 0 else ""
    path, port = _configured("nginx.conf", around, directory, user=user, log=str(directory / "out.log"))
    return Launch((around.tools.paths["nginx"], "-p", str(directory), "-c", str(path)), port)


def _haproxy(around: Around, _kind: Kind, directory: Path) -> Launch:
    path, port = _configured("haproxy.cfg", around, directory)
    return Launch((around.tools.paths["haproxy"], "-db", "-f", str(path)), port)


def _configured(name: str, around: Around, directory: Path, **more: str) -> tuple[Path, int]:
    port = free_port()
    template = Template((build.HERE / name).read_text(encoding="utf-8"))
    path = directory / name
    path.write_text(
        template.substitute(port=port, upstream=around.upstream, origin=ORIGIN, directory=directory, **more),
        encoding="utf-8",
    )
    return path, port


TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target("gateway", (), _gateway),
        Target("express", ("node", "npm"), _node("express-peer", 1), apart=True, warms=True),
        Target("fastify", ("node", "npm"), _node("fastify-peer", 2), apart=True, warms=True),
        Target("nginx", ("nginx",), _nginx),
        Target("haproxy", ("haproxy",), _haproxy),
    )
}
