"""Commands that an import suggests: to go on with it, to import its mended rejects. They can be typed as they stand."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xgw.cli.contacts_plan import Planned


def to_go_on(planned: Planned, *, how: str = "--resume") -> str:
    """The same import once more. Limits of rejects are left out: the one that stopped it would stop it again."""
    asked = planned.asked
    words = [*_named(asked.file), *_alike(planned)]
    words += _one("--encoding", asked.encoding)
    words += _one("--batch-size", str(asked.batch_size or ""))
    words += _one("--rejects", str(asked.rejects or ""))
    words += _one("--shard", asked.shard)
    return _line([*words, how] if how else words)


def for_rejects(planned: Planned, rejects: Path) -> str:
    """The import of the mended rejects. Their file has the encoding of the one they came from: it is repeated where nothing
    in the file says it. What is no UTF-8 in a file of UTF-8 stands there in escaped form, so that needs no word."""
    code = planned.sheet.dialect.encoding
    encoding = "" if code.bom or code.name == "utf-8" else code.name
    return _line([*_named(str(rejects)), *_alike(planned), *_one("--encoding", encoding)])


def _alike(planned: Planned) -> list[str]:
    """What decides where rows go and what becomes of them."""
    asked = planned.asked
    words = ["--tenant", planned.wished.tenant]
    words += _one("--store", planned.place.url if asked.store or planned.place.firestore else "")
    words += _one("--mapping", str(asked.mapping or ""))
    words += [word for one in asked.map for word in ("--map", one)]
    words += _one("--unmapped", asked.unmapped)
    words += _one("--delimiter", asked.delimiter)
    words += _one("--key", "" if asked.key == "email" else asked.key)
    words += _one("--on-duplicate", "" if asked.on_duplicate == "skip" else asked.on_duplicate)
    words += [word for one in asked.rule for word in ("--rule", one)]
    return words + _one("--ramp", asked.ramp)


def _one(name: str, value: str) -> list[str]:
    return [name, value] if value else []


def _named(file: str) -> list[str]:
    return [f"./{file}" if file.startswith("-") and file != "-" else file]


def _line(words: list[str]) -> str:
    return shlex.join(["xgw", "contacts", "import", *words])
