"""Reading xgw.toml: every value with the line it stands on, so that a fault can point at it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xgw.errors import UsageFault
from xgw.words import nearest

LARGEST = 1 << 20
"""Bytes; a configuration larger than this is somebody else's file."""


@dataclass(frozen=True)
class Entry:
    """One value of the file. `where` is "xgw.toml:12", or the file's name when the line could not be told."""

    value: object
    where: str


def read_entries(path: Path) -> dict[tuple[str, ...], Entry]:
    """Every leaf of the file by its key path. UsageFault when the file cannot be read or is no TOML."""
    import tomllib

    try:
        raw = path.read_bytes()
        if len(raw) > LARGEST:
            raise UsageFault(f"{path} is too large to be a configuration file", cause=f"{len(raw)} bytes")
        text = raw.decode("utf-8-sig")
        tree = tomllib.loads(text)
    except OSError as error:
        raise UsageFault(
            f"{path} cannot be read", cause=error.strerror or str(error), fix=f"chmod u+r {path}"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageFault(f"{path} is not UTF-8", cause=str(error), fix="save it as UTF-8") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageFault(
            f"{path} is not valid TOML", cause=str(error) or "nested too deeply", fix="see xgw help config"
        ) from error
    lines = _lines(text)
    return {key: Entry(value, _where(path, lines, key)) for key, value in _leaves(tree, ())}


def fault_at(entry: Entry, message: str, *, near: tuple[str, Sequence[str]] | None = None, fix: str = "") -> UsageFault:
    """The fault for one entry of the file; `near` is the name used and the names it may have meant."""
    if near:
        name, known = near
        close = nearest(name, known) or next((k for k in known if k.split(".")[-1] == name), "")
        fix = f"did you mean {close}?" if close else f"known: {', '.join(known)}"
    return UsageFault(f"{entry.where}: {message}", cause="xgw.toml is checked before anything is done", fix=fix)


def _leaves(tree: Mapping[str, object], prefix: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*prefix, name))
        else:
            yield (*prefix, name), value


_HEADER = re.compile(r"^\s*\[\[?([^\[\]]+)\]\]?\s*(#.*)?$")
_KEY = re.compile(r"^\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'))*)\s*=")
_PART = re.compile(r"\"([^\"]*)\"|'([^']*)'|([A-Za-z0-9_-]+)")


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(next(part for part in found if part) for found in _PART.findall(dotted) if any(found))


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """Key path -> line, read by eye: tomllib tells no lines. A key inside an inline table has its table's line."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _parts(header[1])
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, *_parts(key[1])), number)
    return lines


def _where(path: Path, lines: Mapping[tuple[str, ...], int], key: tuple[str, ...]) -> str:
    for length in range(len(key), 0, -1):
        if key[:length] in lines:
            return f"{path.name}:{lines[key[:length]]}"
    return path.name
